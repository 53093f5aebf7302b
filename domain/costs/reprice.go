package costs

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/archonhq/archon/domain"
)

// Call is a call as its usage event has it: what it consumed, and on whose account.
type Call struct {
	ID                                   string
	Position                             int64
	StartedAt                            time.Time
	KeyID, UserID, DepartmentID, AgentID string
	// Attempts are those that consumed something, the one that answered last. Answered tells whether the last one did.
	Attempts []Attempt
	Answered bool
}

// Attempt is what an attempt consumed, and what was recorded for it: nil where that was not known.
type Attempt struct {
	ProviderID, ProviderType, Model string
	Tokens                          domain.Tokens
	Cost                            *domain.Amount
}

// Priced is a price, as usage events store it, and what tokens cost by it.
type Priced struct {
	// Model is the one that the price is listed under.
	Model string
	Price json.RawMessage
	Cost  domain.Amount
}

// PriceBook finds what tokens of a model cost at a moment; found is false where it has no price.
type PriceBook func(providerType, model string, at time.Time, tokens domain.Tokens) (priced Priced, found bool)

// Booked is what is booked for a call: what was recorded, and what was booked anew since.
type Booked struct {
	// Parts are the costs of the call's attempts, in their order, nil where they are not known.
	Parts []*domain.Amount
	// BookVersion is that of the price book of the last repricing; 0 where there was none.
	BookVersion int64
}

// Recorded is what is booked for a call that was never priced again.
func (c *Call) Recorded() Booked {
	booked := Booked{Parts: make([]*domain.Amount, len(c.Attempts))}
	for i := range c.Attempts {
		booked.Parts[i] = c.Attempts[i].Cost
	}
	return booked
}

// After is what is booked for the call after it was priced again. An event about another call changes nothing.
func (b Booked) After(call *Call, event CallRepriced) Booked {
	if event.Position != call.Position || len(event.Parts) != len(b.Parts) {
		return b
	}
	after := Booked{Parts: slices.Clone(b.Parts), BookVersion: event.BookVersion}
	for i, part := range event.Parts {
		after.Parts[i] = part.NewCost
	}
	return after
}

// known is the sum of what is known, and whether that is all.
func (b Booked) known() (sum domain.Amount, all bool) {
	all = true
	for _, cost := range b.Parts {
		if cost == nil {
			all = false
			continue
		}
		sum = sumOf(sum, *cost)
	}
	return sum, all
}

// Reprice prices a call again. The event is what has to be booked; books is false where nothing has, because the call costs
// what is booked, is not meant, or was priced again with a younger book already. What has been priced keeps its price where
// the book has none for it any more.
func (r RepricingRequested) Reprice(call *Call, booked Booked, book PriceBook) (event CallRepriced, found Found, books bool) {
	after := Booked{Parts: slices.Clone(booked.Parts), BookVersion: r.BookVersion}
	meant, changed := false, false
	event = CallRepriced{
		RepricingID: r.RepricingID, BookVersion: r.BookVersion, CallID: call.ID, Position: call.Position, StartedAt: call.StartedAt,
		KeyID: call.KeyID, UserID: call.UserID, DepartmentID: call.DepartmentID, AgentID: call.AgentID, Parts: make([]Part, len(call.Attempts)),
	}
	for i, attempt := range call.Attempts {
		priced, has := book(attempt.ProviderType, attempt.Model, call.StartedAt, attempt.Tokens)
		meant = meant || r.means(attempt, priced)
		if has {
			after.Parts[i] = &priced.Cost
			if call.Answered && i == len(call.Attempts)-1 {
				event.Price = priced.Price
			}
		}
		part := Part{ProviderID: attempt.ProviderID, Model: attempt.Model, OldCost: booked.Parts[i], NewCost: after.Parts[i]}
		event.Parts[i] = part
		changed = changed || part.Difference() != 0 || part.NewlyPriced()
	}
	if !meant || booked.BookVersion > r.BookVersion {
		return CallRepriced{}, Found{}, false
	}
	event.OldCost, event.WasPriced = booked.known()
	event.NewCost, event.Priced = after.known()
	event.Difference = event.NewCost - event.OldCost
	found.Examined = 1
	if !event.Priced {
		found.Unpriced = 1
	}
	if !changed {
		return CallRepriced{}, found, false
	}
	found.Repriced, found.Difference = 1, event.Difference
	if event.Priced && !event.WasPriced {
		found.NewlyPriced = 1
	}
	return event, found, true
}

// means tells whether the repricing is about an attempt of a call.
func (r RepricingRequested) means(attempt Attempt, priced Priced) bool {
	return (r.ProviderType == "" || r.ProviderType == attempt.ProviderType) &&
		(r.Model == "" || r.Model == attempt.Model || r.Model == priced.Model)
}

// Plus is what two parts of a repricing have come to together.
func (f Found) Plus(other Found) Found {
	return Found{
		Examined: f.Examined + other.Examined, Repriced: f.Repriced + other.Repriced, NewlyPriced: f.NewlyPriced + other.NewlyPriced,
		Unpriced: f.Unpriced + other.Unpriced, Difference: sumOf(f.Difference, other.Difference),
	}
}

// sumOf is a sum that ends at the bounds of an Amount.
func sumOf(a, b domain.Amount) domain.Amount {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}
