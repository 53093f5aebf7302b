package costs

import (
	"encoding/json"
	"time"

	"github.com/archonhq/archon/domain"
)

// RepricingRequested says that somebody wants calls to be priced again, with the price book as it was at that moment: the
// calls that are recorded before this event and began from From until before Until.
type RepricingRequested struct {
	RepricingID string    `json:"repricing_id"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	// ProviderType and Model, where set, leave calls alone none of whose attempts is of them. Model is the one that was
	// called, or the one that its price is listed under.
	ProviderType string `json:"provider_type,omitempty"`
	Model        string `json:"model,omitempty"`
	// DryRun finds out what would be booked, and books nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// BookVersion is the version of the tenant's price book.
	BookVersion int64 `json:"book_version"`
}

// RepricingProgressed says how far a repricing is: all calls up to one of them, in the order in which they began, are done.
// It is appended with the differences of those calls, so that both are there or neither.
type RepricingProgressed struct {
	RepricingID string `json:"repricing_id"`
	Place       Place  `json:"place"`
	Found       Found  `json:"found"`
}

// RepricingCompleted says that a repricing has been through all of its calls.
type RepricingCompleted struct {
	RepricingID string `json:"repricing_id"`
	Found       Found  `json:"found"`
}

// Place is a call in the order in which calls began: by time, those of the same moment by position.
type Place struct {
	StartedAt time.Time `json:"started_at"`
	Position  int64     `json:"position"`
}

// Found is what a repricing has come to so far.
type Found struct {
	// Examined are the calls that were looked at, Repriced those that cost something else now, NewlyPriced those among them
	// of which all is known now and was not before, Unpriced those of which something is still not known.
	Examined    int64 `json:"examined"`
	Repriced    int64 `json:"repriced"`
	NewlyPriced int64 `json:"newly_priced"`
	Unpriced    int64 `json:"unpriced"`
	// Difference is the sum of the differences; what is beyond an Amount is the largest, or the smallest.
	Difference domain.Amount `json:"difference_usd"`
}

// CallRepriced says that a call costs something else than was booked for it until now. It has everything that a sum of costs
// is made by, so that whoever adds up calls adds this up likewise. It stands in the call's own stream.
type CallRepriced struct {
	RepricingID string `json:"repricing_id"`
	// BookVersion is that of the price book that was used. A repricing with an older book changes nothing any more.
	BookVersion int64 `json:"book_version"`

	CallID string `json:"call_id"`
	// Position is that of the call's usage event, StartedAt when it began: the day that the difference belongs to.
	Position     int64     `json:"position"`
	StartedAt    time.Time `json:"started_at"`
	KeyID        string    `json:"key_id,omitempty"`
	UserID       string    `json:"user_id,omitempty"`
	DepartmentID string    `json:"department_id,omitempty"`
	AgentID      string    `json:"agent_id,omitempty"`

	// OldCost and NewCost are what was and is known of the call's cost, all attempts together, Difference is the new one less
	// the old one.
	OldCost    domain.Amount `json:"old_cost_usd"`
	NewCost    domain.Amount `json:"new_cost_usd"`
	Difference domain.Amount `json:"difference_usd"`
	// WasPriced and Priced tell whether that was, and is, all of it.
	WasPriced bool `json:"was_priced,omitempty"`
	Priced    bool `json:"priced,omitempty"`
	// Parts are the attempts that consumed something, the one that answered last.
	Parts []Part `json:"parts"`
	// Price is the price of the attempt that answered (package prices: Price); absent where there is none.
	Price json.RawMessage `json:"price,omitempty"`
}

// Part is what one attempt of a call cost and costs.
type Part struct {
	ProviderID string `json:"provider_id,omitempty"`
	Model      string `json:"model,omitempty"`
	// OldCost and NewCost are absent where they are not known.
	OldCost *domain.Amount `json:"old_cost_usd,omitempty"`
	NewCost *domain.Amount `json:"new_cost_usd,omitempty"`
}

// Difference is what the part costs more than was booked for it; unknown counts as nothing, as in every sum.
func (p Part) Difference() domain.Amount { return known(p.NewCost) - known(p.OldCost) }

// NewlyPriced tells whether the part has a cost now and had none.
func (p Part) NewlyPriced() bool { return p.OldCost == nil && p.NewCost != nil }

func known(cost *domain.Amount) domain.Amount {
	if cost == nil {
		return 0
	}
	return *cost
}

// EventType implements domain.Event.
func (RepricingRequested) EventType() string { return "costs.repricing_requested.v1" }

// EventType implements domain.Event.
func (RepricingProgressed) EventType() string { return "costs.repricing_progressed.v1" }

// EventType implements domain.Event.
func (RepricingCompleted) EventType() string { return "costs.repricing_completed.v1" }

// EventType implements domain.Event.
func (CallRepriced) EventType() string { return "costs.call_repriced.v1" }

// RepricingStream is the stream of a repricing. The differences that it books are in the streams of the calls.
func RepricingStream(id string) string { return "repricing-" + id }

// Events lists every event of this context by its zero value.
func Events() []domain.Event {
	return []domain.Event{RepricingRequested{}, RepricingProgressed{}, RepricingCompleted{}, CallRepriced{}}
}
