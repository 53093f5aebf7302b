package plane

import (
	"cmp"
	"encoding/json"
	"net/http"
	"time"

	"github.com/archonhq/archon/gateway/dialect"
)

// Problem is why a call was not answered, as the client gets it: OpenAI's error format, with a status that OpenAI's
// clients understand. It holds nothing that the client sent.
type Problem struct { //nolint:errname // it is what the client gets, and only then an error
	Status int
	// Type and Code are OpenAI's words where it has one for the case.
	Type, Code, Message string
	// Param is the field at fault, mostly empty.
	Param string
	// RetryAfter is when it is worth to try again; 0 where that is not known. Lasting says that it is in vain until somebody
	// has changed something.
	RetryAfter time.Duration
	Lasting    bool
	// CallID is the call's, where it has been recorded.
	CallID string
	// Budget is the budget that a call does not fit into; nil where there is none.
	Budget *BudgetProblem
}

// BudgetProblem is how it stands with a budget that a call does not fit into.
type BudgetProblem struct {
	// Level and ID say whose spending it bounds; Period is monthly, quarterly or total.
	Level  string `json:"level"`
	ID     string `json:"id"`
	Period string `json:"period"`
	// SpentUSD is spent, ReservedUSD set aside for calls under way, and LimitUSD what may be spent.
	SpentUSD    json.Number `json:"spent_usd"`
	ReservedUSD json.Number `json:"reserved_usd"`
	LimitUSD    json.Number `json:"limit_usd"`
	// ResetsAt is when the next period begins; nil where there is none.
	ResetsAt *time.Time `json:"resets_at"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Message }

// OpenAI's types of error.
const (
	typeInvalid    = "invalid_request_error"
	typePermission = "permission_error"
	typeRateLimit  = "rate_limit_error"
	typeQuota      = "insufficient_quota"
	typeServer     = "server_error"
)

// Body is the problem as OpenAI writes errors, with a field more where a budget is the problem.
func (p *Problem) Body() []byte {
	type problem struct {
		Message string         `json:"message"`
		Type    string         `json:"type"`
		Param   *string        `json:"param"`
		Code    *string        `json:"code"`
		Budget  *BudgetProblem `json:"budget,omitempty"`
	}
	shown := problem{Message: p.Message, Type: p.Type, Budget: p.Budget}
	if p.Param != "" {
		shown.Param = &p.Param
	}
	if p.Code != "" {
		shown.Code = &p.Code
	}
	encoded, _ := json.Marshal(map[string]problem{"error": shown}) //nolint:errchkjson // strings, numbers that are some, and a time
	return encoded
}

// modelNotAllowed is a model that the key is not for.
func modelNotAllowed() *Problem {
	return &Problem{
		Status: http.StatusForbidden, Type: typePermission, Code: "model_not_allowed", Param: "model",
		Message: "This API key may not be used for this model; ask for one of the key's models, or for a key with this one.",
	}
}

// noProvider is a request that none of the tenant's providers could serve even if all were well.
func noProvider() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "no_provider", Lasting: true,
		Message: "No enabled provider supports this request; register one with this model and these capabilities, or change the request.",
	}
}

// notNow is a request whose providers are all out of the question for the moment: breakers, rate limits, dead credentials.
func notNow(retryAfter time.Duration) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "providers_unavailable",
		Message: "Every provider for this request is unavailable at the moment.", RetryAfter: cmp.Or(retryAfter, time.Second),
	}
}

// unavailable is a part of Archon that is away.
func unavailable() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "unavailable",
		Message: "A component of the gateway is away. Try again shortly.", RetryAfter: time.Second,
	}
}

// problemOf is what the client gets for the failure of the last attempt. A provider's refusal of our credentials is no
// refusal of the client's.
func problemOf(failure *dialect.Failure) *Problem {
	p := &Problem{Type: typeServer, Code: failure.Code, Message: failure.Message, Param: failure.Param, RetryAfter: failure.RetryAfter}
	switch failure.Trigger {
	case dialect.BadRequest:
		p.Status, p.Type = badRequestStatus(failure.Status), typeInvalid
	case dialect.ContentPolicy:
		p.Status, p.Type, p.Code = http.StatusBadRequest, typeInvalid, "content_filter"
	case dialect.RateLimit:
		p.Status, p.Type, p.Code = http.StatusTooManyRequests, typeRateLimit, "rate_limit_exceeded"
		p.RetryAfter = cmp.Or(p.RetryAfter, time.Second)
	case dialect.Timeout:
		p.Status, p.Code = http.StatusGatewayTimeout, cmp.Or(p.Code, "timeout")
	case dialect.Dead:
		p.Status, p.Code, p.Lasting = http.StatusBadGateway, "provider_refused", true
		p.Message = "The provider does not accept the gateway's account or credentials; an operator has to mend it."
	case dialect.ServerError, dialect.Cancelled:
		p.Status, p.Code = http.StatusBadGateway, cmp.Or(p.Code, "provider_error")
	}
	return p
}

// badRequestStatus passes a provider's judgement of the request on where it is one.
func badRequestStatus(status int) int {
	switch status {
	case http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return status
	}
	return http.StatusBadRequest
}
