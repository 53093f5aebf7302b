package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
)

// reviewPatience bounds the wait for the ledger before budgets are looked at; past it that is done again later.
const reviewPatience = 10 * time.Second

func (n *node) budgetReads() *readapi.Budgets {
	return &readapi.Budgets{Database: readapi.Database{Pool: n.appPool}, History: history{n.store, n.codec}, Now: time.Now, TimeZone: n.timeZone}
}

// timeZone is that of a tenant's calendar.
func (n *node) timeZone(ctx context.Context, tenant string) (*time.Location, error) {
	return n.zones.TimeZone(ctx, tenant) //nolint:wrapcheck // says what it read
}

// keySpend is what a key has spent according to the whole log, for a budget whose counter is lost.
func (n *node) keySpend(ctx context.Context, tenant, keyID string) (budget.Amount, int64, error) {
	if err := n.waitForHead(ctx, tenant, projections.KeySpendName); err != nil {
		return 0, 0, err
	}
	// The sum may show more by now than was waited for: what is in it must not be added once more when it is settled.
	spent, position, err := n.dataPlaneReads().SpentBy(ctx, tenant, keyID)
	return budget.FromE10(int64(spent)), position, err //nolint:wrapcheck // says what it read
}

// periodSpend is what a subject has spent in a period according to the whole log, likewise.
func (n *node) periodSpend(ctx context.Context, tenant string, subject budgets.Subject, window budgets.Window) (budget.Amount, int64, error) {
	if err := n.waitForHead(ctx, tenant, projections.LedgerName); err != nil {
		return 0, 0, err
	}
	spent, position, err := n.dataPlaneReads().PeriodSpend(ctx, tenant, subject, window)
	return min(budget.FromE10(int64(spent)), budget.MaxAmount), position, err //nolint:wrapcheck // says what it read
}

// waitForHead waits until a projection shows the log as it is now.
func (n *node) waitForHead(ctx context.Context, tenant, projection string) error {
	head, err := n.store.Head(ctx, tenant)
	if err != nil {
		return err //nolint:wrapcheck // says what it read
	}
	return n.runner.Wait(ctx, tenant, head.Position, projection) //nolint:wrapcheck // says what it waited for
}

// raise raises an alert, which costs little where it has been raised already.
func (n *node) raise(ctx context.Context, tenant string, alert alerts.Alert) {
	if err := n.alerts.Raise(ctx, tenant, alert); err != nil {
		n.log.WarnContext(ctx, "alert not raised", slog.Any("error", err))
	}
}

// budgetWatch looks after the alerts about budgets.
func (n *node) budgetWatch() *commands.BudgetWatch {
	return &commands.BudgetWatch{
		Alerts: n.alerts, Now: time.Now,
		Open: func(ctx context.Context, tenant string) ([]commands.BudgetAlert, error) {
			open, err := n.alertReads().Open(ctx, tenant, alerts.BudgetWarning, alerts.BudgetExhausted)
			list := make([]commands.BudgetAlert, len(open))
			for i, alert := range open {
				list[i] = commands.BudgetAlert{Kind: alerts.Kind(alert.Kind), Subject: alert.Subject, Details: alert.Details}
			}
			return list, err //nolint:wrapcheck // says what it read
		},
		Standings: func(ctx context.Context, tenant string) ([]commands.BudgetStanding, error) {
			standings, err := n.budgetReads().Standings(ctx, tenant)
			list := make([]commands.BudgetStanding, len(standings))
			for i, standing := range standings {
				list[i] = commands.BudgetStanding(standing)
			}
			return list, err //nolint:wrapcheck // says what it read
		},
	}
}

// loadBudgets reads the budgets that hold, and the time zone as the log has it now.
func (n *node) loadBudgets(ctx context.Context, tenant string, into *plane.Configuration) error {
	n.zones.Forget(tenant)
	last, _, err := n.store.Last(ctx, tenant, costsettings.Stream, costsettings.Changed{}.EventType())
	if err != nil {
		return err //nolint:wrapcheck // says what it read
	}
	into.ZoneVersion = last.Version
	held, zone, err := n.budgetReads().Held(ctx, tenant)
	into.Zone, into.Budgets = zone, make(map[budgets.Subject]plane.Budget, len(held))
	for subject, budget := range held {
		into.Budgets[subject] = plane.Budget(budget)
	}
	return err //nolint:wrapcheck // says what it read
}

// reviewBudgets sets the counters of a tenant's budgets by the ledger, and looks after the alerts about them. A ledger that lags would
// have alerts resolved that calls have just raised.
func (n *node) reviewBudgets(ctx context.Context, caller commands.Caller) error {
	waiting, cancel := context.WithTimeout(ctx, reviewPatience)
	defer cancel()
	if err := n.waitForHead(waiting, caller.Tenant, projections.LedgerName); err != nil {
		return err
	}
	configured := &plane.Configuration{}
	if err := n.loadBudgets(ctx, caller.Tenant, configured); err != nil {
		return err
	}
	return errors.Join(n.plane.Recount(ctx, caller.Tenant, configured), n.budgetWatch().Review(ctx, caller)) //nolint:wrapcheck // both say what they did
}
