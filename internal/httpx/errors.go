package httpx

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Codes of failures that this package finds itself.
const (
	CodeMalformedBody        = "malformed_body"
	CodeMissingBody          = "missing_body"
	CodeUnexpectedBody       = "unexpected_body"
	CodeInvalidParameter     = "invalid_parameter"
	CodeInvalidHeader        = "invalid_header"
	CodeInvalidCursor        = "invalid_cursor"
	CodeBadRequest           = "bad_request"
	CodeUnauthenticated      = "unauthenticated"
	CodeForbidden            = "forbidden"
	CodeNotFound             = "not_found"
	CodeMethodNotAllowed     = "method_not_allowed"
	CodeNotAcceptable        = "not_acceptable"
	CodeRequestTimeout       = "request_timeout"
	CodeConflict             = "conflict"
	CodeBodyTooLarge         = "body_too_large"
	CodeUnsupportedMediaType = "unsupported_media_type"
	CodeValidationFailed     = "validation_failed"
	CodeTooManyRequests      = "too_many_requests"
	CodeInternalError        = "internal_error"
	CodeUnavailable          = "unavailable"
	CodeOutcomeUnknown       = "outcome_unknown"
	CodeTimeout              = "timeout"
)

// Names of headers.
const (
	HeaderCorrelationID  = "X-Correlation-ID"
	HeaderEventPosition  = "X-Event-Position"
	HeaderProjectionLag  = "X-Projection-Lag"
	HeaderMinPosition    = "X-Min-Position"
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderReplayed       = "Idempotent-Replayed"
	HeaderIfMatch        = "If-Match"
	HeaderPrefer         = "Prefer"
	HeaderRetryAfter     = "Retry-After"
	HeaderETag           = "ETag"

	headerAllow        = "Allow"
	headerChallenge    = "WWW-Authenticate"
	headerContentType  = "Content-Type"
	headerCacheControl = "Cache-Control"
)

const mediaTypeJSON = "application/json"

// Error is a failure as the client gets it. Return it from a handler where no domain refusal fits.
type Error struct {
	// Status is the HTTP status, 400 or more.
	Status int
	// Code is stable snake_case for programs.
	Code string
	// Message is a sentence for a person. It never holds a value that the client sent, nor the cause of a fault.
	Message string
	// Details says more for programs; where fields don't fit, field to reason.
	Details map[string]any
	// Header is added to the answer, for example Retry-After.
	Header http.Header

	// cause is logged, never shown.
	cause error
	// challenge labels the metric of requests without a valid token.
	challenge string
}

// Error returns code and message, and the cause where there is one: it is for logs.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%d %s: %v", e.Status, e.Code, e.cause)
	}
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Answer renders the error in its envelope.
func (e *Error) Answer() Answer {
	details := e.Details
	if details == nil {
		details = map[string]any{}
	}
	body, err := json.Marshal(errorEnvelope{Error: errorBody{Code: e.Code, Message: e.Message, Details: details}})
	if err != nil { // details of a kind that JSON doesn't know, a mistake in our code
		body, _ = json.Marshal(errorEnvelope{Error: errorBody{Code: e.Code, Message: e.Message, Details: map[string]any{}}}) //nolint:errchkjson // strings
	}
	answer := Answer{Status: e.Status, Body: body}
	for name := range e.Header {
		answer = answer.With(name, e.Header.Get(name))
	}
	return answer
}

type errorEnvelope struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"` // always there, so that clients need not ask
}

// withHeader returns a copy with one header more.
func (e *Error) withHeader(name, value string) *Error {
	changed := *e
	changed.Header = maps.Clone(e.Header)
	if changed.Header == nil {
		changed.Header = http.Header{}
	}
	changed.Header.Set(name, value)
	return &changed
}

// withDetail returns a copy that says one thing more.
func (e *Error) withDetail(key string, value any) *Error {
	changed := *e
	changed.Details = maps.Clone(e.Details)
	if changed.Details == nil {
		changed.Details = map[string]any{}
	}
	changed.Details[key] = value
	return &changed
}

// Invalid is a 422 validation_failed; details are field to reason, never the value.
func Invalid(details map[string]any) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: CodeValidationFailed, Message: "Some fields do not fit.", Details: details}
}

// InvalidParameters is a 400 invalid_parameter; details are parameter to reason, never the value.
func InvalidParameters(details map[string]any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidParameter, Message: "The request has parameters that do not fit.", Details: details}
}

// NotFound is a 404 not_found, the same for what never was and for what is another tenant's.
func NotFound() *Error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: "There is no such resource."}
}

// TooManyRequests is a 429 with Retry-After, rounded up to whole seconds.
func TooManyRequests(code, message string, retryAfter time.Duration) *Error {
	return (&Error{Status: http.StatusTooManyRequests, Code: code, Message: message}).WithRetryAfter(retryAfter)
}

// Unavailable is a 503 unavailable with Retry-After; the cause is logged.
func Unavailable(cause error) *Error {
	return (&Error{
		Status: http.StatusServiceUnavailable, Code: CodeUnavailable,
		Message: "A component is away; nothing was changed. Try again shortly.", cause: cause,
	}).WithRetryAfter(defaultRetryAfter)
}

// defaultRetryAfter is how long a client is asked to wait where nothing is known: embedded PostgreSQL restarts in less.
const defaultRetryAfter = time.Second

// WithRetryAfter returns a copy that says when to try again, in whole seconds, rounded up.
func (e *Error) WithRetryAfter(wait time.Duration) *Error {
	seconds := max(int64((wait+time.Second-1)/time.Second), 1)
	return e.withHeader(HeaderRetryAfter, strconv.FormatInt(seconds, 10))
}

// invalidHeaders is a 400; details are header to reason.
func invalidHeaders(details map[string]any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidHeader, Message: "The request has headers that do not fit.", Details: details}
}

// malformedBody is a 400 whose reason continues "The body …".
func malformedBody(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeMalformedBody, Message: "The body " + reason + "."}
}
