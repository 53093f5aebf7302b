package plane

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
)

// reserve sets aside what an attempt may cost at most under the key's budget, and bounds its output so that it can't cost
// more: the bound is what goes upstream.
func (r *run) reserve(ctx context.Context) *Problem {
	key := r.caller.Key
	if key == nil || key.BudgetNanoUSD == nil || len(r.decision.Plan) == 0 {
		return nil
	}
	upperBound, problem := r.upperBound()
	if problem != nil {
		return problem
	}
	reservation, err := r.Budgets.Reserve(ctx, r.caller.Tenant, []budget.Level{{
		ID: "key:" + key.ID, Limit: min(budget.Amount(*key.BudgetNanoUSD), budget.MaxAmount),
		Base: func(ctx context.Context) (budget.Amount, int64, error) { return r.Spend(ctx, r.caller.Tenant, key.ID) },
	}}, upperBound)
	var exceeded *budget.Exceeded
	switch {
	case errors.As(err, &exceeded):
		return budgetExceeded("The budget of this API key is used up: of " + exceeded.Limit.String() + ", " + exceeded.Spent.String() +
			" are spent or set aside for calls under way. Ask for less with max_tokens, or for a key with a larger budget.")
	case errors.Is(err, budget.ErrAmount):
		return budgetExceeded("This request may cost more than any budget allows. Ask for less with max_tokens.")
	case err != nil: // a budget that can't be held is not spent from
		return r.fault(ctx, "reserve from a budget", err)
	}
	r.reserved = append(r.reserved, reservation)
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
			problem := budgetExceeded("This API key has a budget, and a model that would serve this request has no price, so that the budget could not be kept. Set a price for the model, or ask for another one.")
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
	if consumed.Source == dialect.Estimated && len(r.reserved) > 0 {
		tokens.Output = max(tokens.Output, r.clamp*r.choices)
	}
	attempt.Tokens, attempt.Source = tokens, string(consumed.Source)
	if _, cost, found := r.price(ctx, tokens); found {
		attempt.CostUSD = cost.String()
		r.spent += cost
		r.owing = len(r.reserved) > 0
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

// settle gives back what was set aside beyond what the call has cost, and what was taken from token limits beyond what each
// attempt has used.
func (r *run) settle(ctx context.Context, cost domain.Amount, position int64) {
	for i, reservation := range r.reserved {
		actual := budget.Amount(0)
		if i == 0 { // it stands for all
			actual = budget.FromE10(int64(cost))
		}
		if err := r.Budgets.Settle(ctx, reservation, actual, position); err != nil {
			r.Log.WarnContext(ctx, "reservation not settled; it counts in full until the ledger is asked", slog.Any("error", err))
		}
	}
	for _, taken := range r.taken {
		attempt := &r.recorded.Attempts[taken.attempt]
		used := attempt.Tokens.Total()
		if taken.attempt == r.answered {
			used = r.recorded.Tokens.Total()
		}
		r.Limiter.Adjust(ctx, r.caller.Tenant, taken.id, taken.verdict, used-taken.estimate)
	}
}
