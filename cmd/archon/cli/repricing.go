package cli

import (
	"context"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/readapi"
)

// repricings are the use cases of pricing calls again.
func (n *node) repricings(handler *commands.Handler) *commands.Repricings {
	return &commands.Repricings{
		Handler: handler, Reads: commands.ReadYourWrites{Waiter: n.runner, Bound: n.cfg.ReadYourWritesTimeout}, Show: readapi.RepricingOf,
		Calls: n.store, Begun: n.costReads().CallsBegun, Waiter: n.runner, Recount: n.recount,
	}
}

// recount has the counters of budgets say what has been spent now that calls were priced again, and alerts likewise.
func (n *node) recount(ctx context.Context, tenant string, requested costs.RepricingRequested) error {
	spenders, err := n.costReads().SpendersOf(ctx, tenant, requested)
	if err != nil {
		return err //nolint:wrapcheck // says what it read
	}
	done := map[string]bool{"": true}
	for _, spender := range spenders {
		key := spender.KeyID
		if done[key] {
			continue
		}
		done[key] = true
		_, err := n.budgets.Reconcile(ctx, tenant, budget.Level{ID: "key:" + key, Base: func(ctx context.Context) (budget.Amount, int64, error) {
			return n.keySpend(ctx, tenant, key)
		}})
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	return n.reviewBudgets(ctx, commands.SystemCaller(tenant, "repricing"))
}
