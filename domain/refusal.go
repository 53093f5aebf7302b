package domain

import "maps"

// Kind says what sort of "no" a refusal is; the HTTP layer maps it to a status.
type Kind int

// The kinds of refusal.
const (
	// Invalid is a command that makes no sense whatever the state: 422.
	Invalid Kind = iota + 1
	// NotFound is a command about something that is not there, or not the tenant's: 404.
	NotFound
	// Conflict is a command that the present state does not allow: 409.
	Conflict
	// Stale is a command that expected another version than the present one: 412.
	Stale
	// Forbidden is a command that the caller's role does not allow: 403.
	Forbidden
)

// Refusal is a domain "no" that the caller can act on. It is recorded in the log; none of its texts may hold a secret or
// a value that the client sent.
type Refusal struct {
	Kind Kind
	// Code is stable snake_case for programs.
	Code string
	// Message is a sentence for a person.
	Message string
	// Details says more for programs: for Invalid, field to reason.
	Details map[string]any
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// InvalidFields is the refusal of a command some fields of which do not fit, details being field to reason; nil where there
// are none.
func InvalidFields(message string, details map[string]any) error {
	if len(details) == 0 {
		return nil
	}
	return &Refusal{Kind: Invalid, Code: "validation_failed", Message: message, Details: details}
}

// With returns a copy that says one thing more.
func (r *Refusal) With(key string, value any) *Refusal {
	details := maps.Clone(r.Details)
	if details == nil {
		details = map[string]any{}
	}
	details[key] = value
	return &Refusal{Kind: r.Kind, Code: r.Code, Message: r.Message, Details: details}
}
