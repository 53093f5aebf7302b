package plane

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway/budget"
)

// reserve sets aside what the call may cost at most under the key's budget, and bounds its output so that it can't cost
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
		ID: "key:" + key.ID, Limit: budget.Amount(*key.BudgetNanoUSD),
		Base: func(ctx context.Context) (budget.Amount, int64, error) { return r.Spend(ctx, r.caller.Tenant, key.ID) },
	}}, upperBound)
	var exceeded *budget.Exceeded
	switch {
	case errors.As(err, &exceeded):
		return &Problem{
			Status: http.StatusTooManyRequests, Type: typeQuota, Code: "budget_exceeded", Lasting: true,
			Message: "The budget of this API key is used up: of " + exceeded.Limit.String() + ", " + exceeded.Spent.String() +
				" are spent or set aside for calls under way. Ask for less with max_tokens, or for a key with a larger budget.",
		}
	case err != nil: // a budget that can't be held is not spent from
		return r.fault(ctx, "reserve from a budget", err)
	}
	r.reserved = &reservation
	return nil
}

// upperBound is what the call costs at most, with the dearest of the plan's targets. Where one of them has no price there
// is no bound, so the call is refused: a budget that counted it as nothing would not hold.
func (r *run) upperBound() (budget.Amount, *Problem) {
	r.clamp = cmp.Or(r.maxOutput, r.DefaultMaxTokens)
	var dearest domain.Amount
	for _, choice := range r.decision.Plan {
		price, found := r.snapshot.Prices.At(string(r.snapshot.Provider(choice.ProviderID).Config.Type), choice.Model, r.started)
		if !found {
			return 0, &Problem{
				Status: http.StatusTooManyRequests, Type: typeQuota, Code: "budget_exceeded", Lasting: true, Param: "model",
				Message: "This API key has a budget, and a model that would serve this request has no price, so that the budget could not be kept. Set a price for the model, or ask for another one.",
			}
		}
		dearest = max(dearest, price.UpperBound(r.promptTokens, r.clamp))
	}
	return budget.FromE10(int64(dearest)), nil
}

// charge puts price and cost of what was consumed into the record.
func (r *run) charge(ctx context.Context, tokens domain.Tokens) (cost domain.Amount) {
	r.recorded.Tokens = tokens
	if tokens.Total() == 0 {
		return 0
	}
	price, found := r.snapshot.Prices.At(r.recorded.ProviderType, r.recorded.Model, r.started)
	if !found {
		r.recorded.Unpriced = true
		r.after(ctx, func(ctx context.Context) { r.Unpriced(ctx, r.caller.Tenant, r.recorded.ProviderType, r.recorded.Model) })
		return 0
	}
	encoded, err := json.Marshal(price)
	if err == nil {
		r.recorded.Price = encoded
	}
	cost = price.Cost(tokens)
	r.recorded.CostUSD = cost.String()
	return cost
}

// settle gives back what was set aside beyond what the call has cost, and what was taken from token limits beyond what it
// has used.
func (r *run) settle(ctx context.Context, cost domain.Amount, position int64) {
	if r.reserved != nil {
		if err := r.Budgets.Settle(ctx, *r.reserved, budget.FromE10(int64(cost)), position); err != nil {
			r.Log.WarnContext(ctx, "reservation not settled; it counts in full until the ledger is asked", slog.Any("error", err))
		}
	}
	for _, taken := range r.taken {
		used := int64(0)
		if strings.HasPrefix(taken.id, "provider:"+r.recorded.ProviderID+":") {
			used = r.recorded.Tokens.Total()
		}
		r.Limiter.Adjust(ctx, r.caller.Tenant, taken.id, taken.verdict, used-taken.estimate)
	}
}
