package dialect

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// openAIError is what matters of an error in OpenAI's format, or one of its relatives.
type openAIError struct{ code, kind, param, inner string }

// readOpenAIError reads {"error": {message, type, code, param, innererror}} and the flat form of it that Mistral and older
// vLLM answer with. What is not there is "".
func readOpenAIError(body []byte) openAIError {
	object := body
	if inner := member(body, "error"); kindOf(inner) == '{' {
		object = inner
	}

	return openAIError{
		code: wordOf(member(object, "code")), kind: wordOf(member(object, "type")), param: textOf(member(object, "param")),
		inner: wordOf(member(member(object, "innererror"), "code")),
	}
}

// wordOf is a text, or a number as text.
func wordOf(value []byte) string {
	if kindOf(value) == '"' {
		return textOf(value)
	}

	if len(value) > 0 && isNumber(value) {
		return string(value)
	}

	return ""
}

// saysError tells an error object from an answer. body is valid JSON.
func saysError(body []byte) bool {
	return given(member(body, "error")) || textOf(member(body, "object")) == "error"
}

// failure judges by status and by the words of the error, of which some say more than their status.
func (openAICodec) failure(attempt Attempt, status int, header http.Header, body []byte) *Failure {
	said := openAIError{}
	if json.Valid(body) {
		said = readOpenAIError(body)
	}

	known := knownCodes()
	code := said.code

	if !slices.Contains(known, code) {
		code = said.kind
	}

	failure := judge(attempt, status, header, body, code, known...)

	if status < http.StatusMultipleChoices { // within a stream, or under a status that lies
		failure.Trigger = triggerOf(saidStatus(said))
		if !slices.Contains(known, code) {
			failure.Code = codeOfTrigger(failure.Trigger)
		}
	}

	failure.refine(said)

	return failure
}

func (f *Failure) refine(said openAIError) {
	words := []string{said.code, said.kind}

	switch {
	case said.inner == "ResponsibleAIPolicyViolation",
		slices.Contains(words, "content_filter"), slices.Contains(words, "content_policy_violation"):
		f.Trigger, f.Code = ContentPolicy, finishContentFilter
	case slices.Contains(words, "insufficient_quota"), slices.Contains(words, "billing_hard_limit_reached"),
		slices.Contains(words, "billing_not_active"), slices.Contains(words, "invalid_api_key"):
		f.Trigger = Dead
	}

	if isPath(said.param) && (f.Trigger == BadRequest || f.Trigger == ContentPolicy) {
		f.Param = said.param
	}
}

// saidStatus is the status that an error under another status would have had.
func saidStatus(said openAIError) int {
	if status, err := strconv.Atoi(said.code); err == nil && status >= http.StatusBadRequest && status <= 599 {
		return status
	}

	for _, word := range []string{said.code, said.kind} {
		switch strings.ToLower(word) {
		case "rate_limit_exceeded", "rate_limit_error", "tokens", "requests":
			return http.StatusTooManyRequests
		case "authentication_error", "permission_error":
			return http.StatusUnauthorized
		case "invalid_request_error", "badrequesterror", "context_length_exceeded":
			return http.StatusBadRequest
		}
	}

	return http.StatusInternalServerError
}

// isPath tells a field's name from whatever else a provider may put there.
func isPath(param string) bool {
	const longest = 128

	return param != "" && len(param) <= longest && !strings.ContainsFunc(param, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.[]", r)
	})
}

// knownCodes are the codes and types that OpenAI documents; they may be shown as they are.
func knownCodes() []string {
	return []string{
		"invalid_api_key", "insufficient_quota", "rate_limit_exceeded", "context_length_exceeded", "model_not_found",
		"content_policy_violation", finishContentFilter, "billing_hard_limit_reached", "billing_not_active",
		"unsupported_parameter", "unsupported_value", codeInvalidValue, codeInvalidType, codeMissing,
		"string_above_max_length", "invalid_image_url", "unsupported_country_region_territory",
		"DeploymentNotFound", "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
		"rate_limit_error", "server_error", "tokens", "requests",
	}
}
