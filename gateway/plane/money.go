package plane

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
)

// reserve sets aside what an attempt may cost at most under the budgets that the call counts in, and, where one of them blocks,
// bounds its output so that it can't cost more: the bound is what goes upstream.
func (r *run) reserve(ctx context.Context) *Problem {
	list := r.countsIn(r.snapshot)
	if len(list) == 0 || len(r.decision.Plan) == 0 {
		return nil
	}
	var upperBound budget.Amount
	if r.bounded = blocks(list); r.bounded {
		var problem *Problem
		if upperBound, problem = r.upperBound(); problem != nil {
			return problem
		}
	}
	reservation, err := r.Budgets.Reserve(ctx, r.caller.Tenant, levelsOf(list), upperBound)
	var exceeded *budget.Exceeded
	switch {
	case errors.As(err, &exceeded):
		return r.refusal(ctx, list, exceeded)
	case errors.Is(err, budget.ErrAmount):
		return budgetExceeded("This request may cost more than any budget allows. Ask for less with max_tokens.")
	case err != nil: // a budget that can't be held is not spent from
		return r.fault(ctx, "reserve from a budget", err)
	}
	if reservation.Unchecked {
		r.recorded.BudgetUnchecked, list = true, nil
	}
	r.reserved, r.counted = append(r.reserved, reservation), list
	return nil
}

func budgetExceeded(message string) *Problem {
	return &Problem{Status: http.StatusTooManyRequests, Type: typeQuota, Code: "budget_exceeded", Lasting: true, Message: message}
}

// upperBound is what an attempt costs at most, with the dearest of the plan's targets. Where one of them has no price there
// is no bound, so the call is refused: a budget that counted it as nothing would not hold.
func (r *run) upperBound() (budget.Amount, *Problem) {
	r.clamp = cmp.Or(r.maxOutput, r.DefaultMaxTokens)
	var dearest domain.Amount
	for _, choice := range r.decision.Plan {
		price, found := r.snapshot.Prices.At(string(r.snapshot.Provider(choice.ProviderID).Config.Type), choice.Model, r.recorded.StartedAt)
		if !found {
			problem := budgetExceeded("This request counts in a budget, and a model that would serve it has no price, so that the budget could not be kept. Set a price for the model, or ask for another one.")
			problem.Param = "model"
			return 0, problem
		}
		dearest = max(dearest, price.UpperBound(r.promptTokens, r.clamp*r.choices))
	}
	return budget.FromE10(int64(dearest)), nil
}

// lose books what an attempt has consumed that did not end in an answer. Where a budget has to hold, what is not known counts
// in full: else whoever leaves early would call for nothing.
func (r *run) lose(ctx context.Context, attempt *usage.Attempt, consumed dialect.Usage) {
	tokens := consumed.Tokens
	if tokens.Total() == 0 {
		return
	}
	if consumed.Source == dialect.Estimated && r.bounded {
		tokens.Output = max(tokens.Output, r.clamp*r.choices)
	}
	attempt.Tokens, attempt.Source = tokens, string(consumed.Source)
	if _, cost, found := r.price(ctx, tokens); found {
		attempt.CostUSD = cost.String()
		r.spent += cost
		r.owing = r.bounded
	}
}

// affords tells whether another attempt can be made. Where the one before has cost something, what is set aside is for that,
// and the next one takes as much again.
func (r *run) affords(ctx context.Context) bool {
	if !r.owing {
		return true
	}
	r.owing = false
	return r.reserve(ctx) == nil
}

// price is that of the model under way, and what tokens cost by it. Where it has none, the call is unpriced and somebody is
// told.
func (r *run) price(ctx context.Context, tokens domain.Tokens) (price prices.Price, cost domain.Amount, found bool) {
	price, cost, found = r.snapshot.Prices.Charge(r.recorded.ProviderType, r.recorded.Model, r.recorded.StartedAt, tokens)
	if !found {
		r.recorded.Unpriced = true
		providerType, model := r.recorded.ProviderType, r.recorded.Model
		r.after(ctx, func(ctx context.Context) { r.Unpriced(ctx, r.caller.Tenant, providerType, model) })
	}
	return price, cost, found
}

// charge puts price and cost of what was consumed into the record.
func (r *run) charge(ctx context.Context, tokens domain.Tokens) (cost domain.Amount) {
	r.recorded.Tokens = tokens
	cost = r.spent
	if tokens.Total() > 0 {
		if price, charged, found := r.price(ctx, tokens); found {
			cost += charged
			r.recorded.CostUSD = cost.String() // also where it is nothing, which is known then
			if encoded, err := json.Marshal(price); err == nil {
				r.recorded.Price = encoded
			}
		}
	}
	if r.spent > 0 {
		r.recorded.CostUSD = cost.String()
	}
	return cost
}

// settleBudgets settles what is reserved, and what the call costs in budgets that came to be while it was under way.
func (r *run) settleBudgets(ctx context.Context, cost budget.Amount, position int64) {
	var also []counting
	if snapshot, err := r.Directory.Get(ctx, r.caller.Tenant); err == nil && cost > 0 {
		also = joined(r.counted, r.countsIn(snapshot))
	}
	if len(r.reserved) == 0 {
		if len(also) == 0 {
			return
		}
		none, err := r.Budgets.Reserve(ctx, r.caller.Tenant, nil, 0)
		if err != nil {
			return
		}
		r.reserved = append(r.reserved, none)
	}
	for i, reservation := range r.reserved {
		actual, more := budget.Amount(0), []counting(nil)
		if i == 0 { // it stands for all
			actual, more = cost, also
		}
		spent, err := r.Budgets.Settle(ctx, reservation, actual, position, levelsOf(more)...)
		if err != nil {
			r.Log.WarnContext(ctx, "reservation not settled; it counts in full until the ledger is asked", slog.Any("error", err))
		}
		r.watch(ctx, slices.Concat(r.counted, more), spent, actual)
	}
}

// settle gives back what was set aside beyond what the call has cost, and what was taken from token limits beyond what each
// attempt has used.
func (r *run) settle(ctx context.Context, cost domain.Amount, position int64) {
	r.settleBudgets(ctx, budget.FromE10(int64(cost)), position)
	for _, taken := range r.taken {
		attempt := &r.recorded.Attempts[taken.attempt]
		used := attempt.Tokens.Total()
		if taken.attempt == r.answered {
			used = r.recorded.Tokens.Total()
		}
		r.Limiter.Adjust(ctx, r.caller.Tenant, taken.id, taken.verdict, used-taken.estimate)
	}
}
