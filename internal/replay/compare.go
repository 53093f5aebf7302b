package replay

import (
	"cmp"
	"slices"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
)

// Comparison is what a draft would have changed.
type Comparison struct {
	// Calls is how many were decided on with the draft.
	Calls int64 `json:"calls"`
	// Moved is how many would first have gone to another provider or model, Moves how many of them by providers.
	Moved int64  `json:"moved"`
	Moves []Move `json:"moves"`
	// Refused is how many went somewhere and would not have.
	Refused int64 `json:"refused"`
	// Failed is how many calls no provider answered, Elsewhere how many of them would first have gone to a provider that was
	// not tried.
	Failed    int64 `json:"failed"`
	Elsewhere int64 `json:"failed_would_go_elsewhere"`
	// Cost compares what the moved calls cost with what the same tokens would have cost, where both are known; Unknown is for
	// how many they are not.
	Cost Cost `json:"cost_of_moved"`

	moves map[[2]string]*Move
}

// Move is how many calls would have gone from one provider to another. Both are the same where only the model differs; From
// is empty where they went nowhere, To where they would have.
type Move struct {
	From     string `json:"from"`
	FromName string `json:"from_name"`
	To       string `json:"to"`
	ToName   string `json:"to_name"`
	Calls    int64  `json:"calls"`
}

// Cost is money in USD, as decimals with ten places.
type Cost struct {
	Known   int64         `json:"known_calls"`
	Unknown int64         `json:"unknown_calls"`
	Was     domain.Amount `json:"was_usd"`
	WouldBe domain.Amount `json:"would_be_usd"`
}

// Difference is what the draft would have added.
func (c Cost) Difference() domain.Amount { return c.WouldBe - c.Was }

func newComparison() *Comparison { return &Comparison{Moves: []Move{}, moves: map[[2]string]*Move{}} }

// compare decides a call on the draft.
func (r *replayer) compare(call *usage.Recorded, record *routing.Record, fallback routing.Fallback, providers routing.Providers) {
	in, err := record.Input(*r.options.Draft, fallback, providers)
	if err != nil {
		return // it has been told as a disagreement
	}
	decision := routing.Decide(in, func(providerType, model string) (input, output int64, ok bool) {
		if price, asked := record.Price(providerType, model); asked {
			return price.Input, price.Output, price.Known
		}
		price, known := r.prices[priceKey{providerType, model}]
		return int64(price.Input), int64(price.Output), known
	})
	report := r.report.Draft
	report.Calls++
	was, wentSomewhere := routing.Decision{Plan: record.Result.Plan}.Chosen()
	would, goesSomewhere := decision.Chosen()
	if call.Outcome == usage.Failed {
		report.Failed++
		tried := slices.ContainsFunc(call.Attempts, func(a usage.Attempt) bool { return a.ProviderID == would.ProviderID })
		if goesSomewhere && !tried {
			report.Elsewhere++
		}
	}
	if was.ProviderID == would.ProviderID && was.Model == would.Model {
		return
	}
	report.Moved++
	if wentSomewhere && !goesSomewhere {
		report.Refused++
	}
	report.move(in, was.ProviderID, would.ProviderID)
	r.cost(call, in, would, goesSomewhere)
}

// move counts a call that would have gone elsewhere.
func (c *Comparison) move(in routing.Input, from, to string) {
	one, found := c.moves[[2]string{from, to}]
	if !found {
		one = &Move{From: from, To: to}
		c.moves[[2]string{from, to}] = one
	}
	one.Calls++
	for _, candidate := range in.Candidates { // the newest names
		if candidate.ProviderID == from {
			one.FromName = candidate.Name
		}
		if candidate.ProviderID == to {
			one.ToName = candidate.Name
		}
	}
}

// finish puts the moves in order: most calls first.
func (c *Comparison) finish() {
	c.Moves = make([]Move, 0, len(c.moves))
	for _, move := range c.moves {
		c.Moves = append(c.Moves, *move)
	}
	slices.SortFunc(c.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
}

// cost compares the costs of a moved call.
func (r *replayer) cost(call *usage.Recorded, in routing.Input, would routing.Choice, goesSomewhere bool) {
	cost := &r.report.Draft.Cost
	was, known := costOf(call)
	var wouldBe domain.Amount
	if goesSomewhere && known {
		at := slices.IndexFunc(in.Candidates, func(c routing.Candidate) bool { return c.ProviderID == would.ProviderID })
		var price prices.Price
		price, known = r.prices[priceKey{in.Candidates[at].Type, would.Model}]
		wouldBe = price.Cost(call.Tokens)
	}
	if !known {
		cost.Unknown++
		return
	}
	cost.Known++
	cost.Was, cost.WouldBe = cost.Was+was, cost.WouldBe+wouldBe
}
