package dialect

import (
	"net/http"
	"slices"
)

// CodeBadAnswer is the code of a success in name whose body is not what the provider documents.
const CodeBadAnswer = "bad_answer"

// Our own codes of failures that several places report.
const (
	codeConfiguration = "provider_configuration"

	statusOverloaded = 529 // Anthropic's and others', in no RFC
)

// judge is what an answer that is not a success amounts to by its status alone, with the provider's message and
// how long it wants to be left alone. code is the provider's own word, used where it is one of known. Codecs refine the
// result by what their provider says.
func judge(attempt Attempt, status int, header http.Header, body []byte, code string, known ...string) *Failure {
	failure := &Failure{
		Status: status, Trigger: triggerOf(status), RetryAfter: retryAfter(header),
		Message: attempt.Target.FailureText(status, header, body),
	}

	failure.Code = codeOfTrigger(failure.Trigger)
	if code != "" && slices.Contains(known, code) {
		failure.Code = code
	}

	if failure.Message == "" {
		failure.Message = "the provider refused for a reason that can't be shown"
	}

	return failure
}

// triggerOf is the part of the table that holds for every type.
func triggerOf(status int) Trigger {
	switch status {
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return Timeout
	case http.StatusTooManyRequests:
		return RateLimit
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden:
		return Dead
	case http.StatusConflict, http.StatusTooEarly, statusOverloaded: // "try again"
		return ServerError
	}

	if status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return BadRequest
	}

	return ServerError // 5xx; and a redirect or an error under status 200, which no working provider answers with
}

func codeOfTrigger(trigger Trigger) string {
	switch trigger {
	case Timeout:
		return "provider_timeout"
	case RateLimit:
		return "rate_limited"
	case ContentPolicy:
		return finishContentFilter
	case Dead:
		return "provider_unusable"
	case BadRequest:
		return "provider_refused"
	case ServerError, Cancelled:
	}

	return "provider_error"
}

// badAnswer is a success in name whose body is not what the provider documents.
func badAnswer() *Failure {
	return &Failure{
		Trigger: ServerError, Status: http.StatusOK, Code: CodeBadAnswer,
		Message: "the provider answered with something that can't be read",
	}
}

func tooLarge() *Failure {
	return &Failure{Trigger: ServerError, Status: http.StatusOK, Code: CodeBadAnswer, Message: "the provider's answer is too large"}
}

// streamCut is a stream that ended in the middle of its answer.
func streamCut() *Failure {
	return &Failure{
		Trigger: ServerError, Status: http.StatusOK, Code: "stream_cut",
		Message: "the provider's answer ended before it was complete",
	}
}

// withheld is an answer that the provider's filter kept back.
func withheld() *Failure {
	return &Failure{
		Trigger: ContentPolicy, Status: http.StatusOK, Code: finishContentFilter,
		Message: "the provider's content filter withheld the answer",
	}
}
