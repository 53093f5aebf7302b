package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
)

// BudgetStanding is how it stands with a budget in its present period, by the ledger.
type BudgetStanding struct {
	budgets.State

	Window budgets.Window
	Spent  domain.Amount
}

// BudgetAlert is an alert about a budget that is open.
type BudgetAlert struct {
	Kind    alerts.Kind
	Subject string
	Details json.RawMessage
}

// BudgetWatch raises the alerts about budgets that nobody has raised, and resolves those that are no more about anything. Calls raise
// them as they settle; what they miss is found here: where a node died in between, calls were priced anew, or a budget
// was lowered.
type BudgetWatch struct {
	Alerts *Alerts
	// Open lists the tenant's open alerts about budgets, and Standings all its budgets that hold. Who has raised an alert has known
	// the budget from the same tables.
	Open      func(ctx context.Context, tenant string) ([]BudgetAlert, error)
	Standings func(ctx context.Context, tenant string) ([]BudgetStanding, error)
	Now       func() time.Time
}

// Review looks at all of a tenant's budgets once.
func (w *BudgetWatch) Review(ctx context.Context, caller Caller) error {
	open, err := w.Open(ctx, caller.Tenant)
	if err != nil {
		return fmt.Errorf("review the alerts about budgets: %w", err)
	}
	standings, err := w.Standings(ctx, caller.Tenant) // after the alerts: see Open
	if err != nil {
		return fmt.Errorf("review the alerts about budgets: %w", err)
	}
	bySubject := make(map[string]*BudgetStanding, len(standings))
	for i := range standings {
		standing := &standings[i]
		bySubject[standing.alert().Warning().Subject] = standing
	}
	caller.Idempotency = nil // a job's id is good for one command; these change nothing when they are done again
	for _, alert := range open {
		if resolution := w.resolution(&alert, bySubject[alert.Subject]); resolution != "" {
			if err := w.Alerts.Resolve(ctx, caller, alert.Kind, alert.Subject, resolution); err != nil {
				return err
			}
		}
	}
	for i := range standings {
		if err := w.raise(ctx, caller.Tenant, &standings[i]); err != nil {
			return err
		}
	}
	return nil
}

// alert is an alert about the standing, which is to say more.
func (s *BudgetStanding) alert() alerts.Budget {
	alert := alerts.Budget{
		Level: string(s.Level), SubjectID: s.ID, Period: string(s.Period), Start: s.Window.Start, End: s.Window.End,
		Spent: s.Spent, Budget: s.Budget, Warns: s.WarnsAt(),
	}
	alert.Blocks, _ = s.BlocksAt()
	return alert
}

func (w *BudgetWatch) raise(ctx context.Context, tenant string, s *BudgetStanding) error {
	if s.Spent >= s.WarnsAt() {
		if err := w.Alerts.Raise(ctx, tenant, s.alert().Warning()); err != nil {
			return err
		}
	}
	if s.StatusOf(s.Spent, false) == budgets.Blocked {
		return w.Alerts.Raise(ctx, tenant, s.alert().Exhausted())
	}
	return nil
}

// resolution is what has resolved an alert, empty where nothing has. standing is that of the same period of the same budget, nil where
// that is not the present one. Money that comes back by itself, because calls were priced anew, resolves none: the alert would come
// and go.
func (w *BudgetWatch) resolution(alert *BudgetAlert, standing *BudgetStanding) string {
	if standing == nil {
		if end := alerts.PeriodEndOf(alert.Details); w.Now().Before(end) {
			return "The budget was removed, or is for another period now."
		}
		return "The period is over."
	}
	threshold := standing.WarnsAt()
	if alert.Kind == alerts.BudgetExhausted {
		limit, blocks := standing.BlocksAt()
		if !blocks {
			return "The budget only warns now."
		}
		threshold = limit
	}
	shown, err := domain.ParseAmount(threshold.Number().String(), domain.AmountPlaces) // as the alert has it
	if err == nil && shown > alerts.ThresholdOf(alert.Details) && standing.Spent < threshold {
		return "The budget was raised."
	}
	return ""
}
