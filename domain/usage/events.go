// Package usage is the context of what calls through the data plane came to: one event a call, which is the ledger's
// source, the evidence of the routing decision, and the audit entry of the call.
//
// Prompts and answers never enter it. There is nothing to decide: a call that was made is a fact.
package usage

import (
	"encoding/json"
	"time"

	"github.com/archonhq/archon/domain"
)

// Kind is what was called.
type Kind string

// The kinds of call.
const (
	Chat       Kind = "chat"
	Embeddings Kind = "embeddings"
)

// Outcome is how a call ended for the client.
type Outcome string

// The outcomes of a call.
const (
	// Succeeded: the client has had the whole answer.
	Succeeded Outcome = "succeeded"
	// Failed: no provider answered; the client has had an error.
	Failed Outcome = "failed"
	// Incomplete: the answer broke off after its first byte had gone out.
	Incomplete Outcome = "incomplete"
	// Cancelled: the client went away; what the provider sent until then, or until the drain's bound, is counted.
	Cancelled Outcome = "cancelled"
	// Refused: what the caller may do, its rate limit or its budget forbade the call, or the budget could not be asked. No
	// provider was.
	Refused Outcome = "refused"
)

// Attempt is one try of one provider.
type Attempt struct {
	ProviderID string `json:"provider_id"`
	Model      string `json:"model"`
	// Outcome is "succeeded", a failover trigger, or why the provider was not even asked: "breaker_open", "rate_limited".
	Outcome string `json:"outcome"`
	// Status is the provider's HTTP status, 0 where there was none.
	Status int `json:"status,omitempty"`
	// LatencyUS and FirstByteUS are microseconds from the attempt's start; FirstByteUS is 0 where none came.
	LatencyUS   int64 `json:"latency_us"`
	FirstByteUS int64 `json:"first_byte_us,omitempty"`
	// Error is what went wrong, with key-like parts removed.
	Error string `json:"error,omitempty"`
	// Tokens are what an attempt consumed that did not end in an answer, Source who counted, and CostUSD what it cost: the
	// provider withheld what it wrote, or was given up while it was working. Absent where that is nothing.
	Tokens  domain.Tokens `json:"tokens,omitzero"`
	Source  string        `json:"usage_source,omitempty"`
	CostUSD string        `json:"cost_usd,omitempty"`
}

// Recorded says what a call came to.
type Recorded struct {
	CallID    string    `json:"call_id"`
	Kind      Kind      `json:"kind"`
	Streamed  bool      `json:"streamed,omitempty"`
	StartedAt time.Time `json:"started_at"`

	// Who: the API key, or the user of a token; and on whose account.
	KeyID        string `json:"key_id,omitempty"`
	UserID       string `json:"user_id,omitempty"`
	DepartmentID string `json:"department_id,omitempty"`
	AgentID      string `json:"agent_id,omitempty"`
	ExecutionID  string `json:"execution_id,omitempty"`

	// RequestedModel is what the client asked for. Provider and Model are those of the attempt that answered, or of the
	// last one; empty where there was none.
	RequestedModel string `json:"requested_model,omitempty"`
	ProviderID     string `json:"provider_id,omitempty"`
	ProviderType   string `json:"provider_type,omitempty"`
	Model          string `json:"model,omitempty"`

	Outcome Outcome `json:"outcome"`
	// Status is the HTTP status that went out, Code the error's, empty where there was none.
	Status   int       `json:"status"`
	Code     string    `json:"code,omitempty"`
	Attempts []Attempt `json:"attempts"`
	// Decision is the routing decision with everything it rested on (package routing: Record).
	Decision json.RawMessage `json:"decision,omitempty"`

	// Tokens are what the attempt that answered has consumed; others have their own.
	Tokens domain.Tokens `json:"tokens"`
	// Source says who counted: "provider", "estimated" or "none". RawUsage is the provider's own usage object.
	Source   string          `json:"usage_source"`
	RawUsage json.RawMessage `json:"usage_raw,omitempty"`
	// Price is the price that was used (package prices: Price); absent where the model has none, then CostUSD is empty too
	// and Unpriced is set, if anything was consumed.
	Price json.RawMessage `json:"price,omitempty"`
	// CostUSD is what the call has cost, all attempts together: a decimal with ten places.
	CostUSD  string `json:"cost_usd,omitempty"`
	Unpriced bool   `json:"unpriced,omitempty"`

	// LatencyUS is from the request's arrival to the end of the answer, FirstTokenUS to the first byte of content;
	// microseconds, 0 where there was none.
	LatencyUS    int64 `json:"latency_us"`
	FirstTokenUS int64 `json:"first_token_us,omitempty"`

	// RefusedBy is the budget that refused the call, such as department/research; BudgetUnchecked says that the budgets which the call
	// counts in could not be asked, and were none that would have refused it.
	RefusedBy       string `json:"refused_by,omitempty"`
	BudgetUnchecked bool   `json:"budget_unchecked,omitempty"`

	// Suppressed is how many refused calls of the tenant before this one are not in the log, because there were too many.
	Suppressed int64 `json:"suppressed,omitempty"`
}

// EventType implements domain.Event.
func (Recorded) EventType() string { return "usage.recorded.v1" }

// Stream is where a call is recorded: a stream of its own.
func Stream(callID string) string { return "usage-" + callID }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Recorded{}} }
