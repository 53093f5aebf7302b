package projections

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/budgets"
)

// BudgetsName is the name of the projection of budgets.
const BudgetsName = "budgets"

// Budgets builds the table budgets. What has been spent is not in it: that is the ledger's.
type Budgets struct{}

var _ Rebuildable = Budgets{}

// Name implements Projector.
func (Budgets) Name() string { return BudgetsName }

// Version implements Projector.
func (Budgets) Version() int { return 1 }

// Tables implements Rebuildable.
func (Budgets) Tables() []string {
	return []string{"budgets"}
}

// Handles implements Projector.
func (Budgets) Handles() []string {
	return []string{budgets.Set{}.EventType(), budgets.Removed{}.EventType()}
}

// Project implements Projector.
func (Budgets) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		switch payload := event.Payload.(type) {
		case budgets.Set:
			if err := setBudget(event, payload, out); err != nil {
				return fmt.Errorf("project position %d: %w", event.Position, err)
			}
		case budgets.Removed:
			out.Exec(`update budgets set removed_at = $4, updated_at = $4, version = $5 where tenant_id = $1 and level = $2 and subject_id = $3`,
				event.Tenant, string(payload.Level), payload.ID, event.Time(), event.Version)
		}
	}
	return nil
}

func setBudget(event *Event, set budgets.Set, out *Statements) error {
	id, err := uuid.Parse(budgets.BudgetID(set.Subject))
	if err != nil {
		return fmt.Errorf("budget id: %w", err)
	}
	var block *string
	if set.Block != nil {
		text := set.Block.String()
		block = &text
	}
	out.Exec(`insert into budgets (tenant_id, level, subject_id, id, department, budget_usd, period, warn_threshold_pct, block_threshold_pct, version, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6::text::numeric, $7, $8::text::numeric, $9::text::numeric, $10, $11, $11)
		on conflict (tenant_id, level, subject_id) do update set department = excluded.department, budget_usd = excluded.budget_usd, period = excluded.period,
			warn_threshold_pct = excluded.warn_threshold_pct, block_threshold_pct = excluded.block_threshold_pct, version = excluded.version,
			removed_at = null, updated_at = excluded.updated_at`,
		event.Tenant, string(set.Level), set.ID, id, nullable(set.Department), set.Budget.String(), string(set.Period), set.Warn.String(), block,
		event.Version, event.Time())
	return nil
}
