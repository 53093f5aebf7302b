package dialect

import (
	"net/http"
)

// verdict judges a status as all types mean it; the codecs correct it where theirs means something else. code is the
// provider's word, "" where it has none that is known.
func verdict(attempt Attempt, status int, header http.Header, body []byte, code string) *Failure {
	failure := &Failure{
		Trigger: triggerOf(status),
		Status:  status,
		Code:    code,
		Message: attempt.Target.FailureText(status, header, body),
	}

	return failure
}

func triggerOf(status int) Trigger {
	switch {
	case status == http.StatusRequestTimeout || status == http.StatusGatewayTimeout:
		return Timeout
	case status == http.StatusTooManyRequests:
		return RateLimit
	case status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden:
		return Dead
	case status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		return BadRequest
	default:
		return ServerError
	}
}
