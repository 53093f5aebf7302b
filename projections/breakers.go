package projections

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
)

// BreakersName is the name of the projection of circuit breakers.
const BreakersName = "breakers"

// Breakers builds provider_breakers: what each provider's circuit breaker last changed to. Changes are rare, so that a
// statement an event is quick enough.
type Breakers struct{}

var _ Rebuildable = Breakers{}

// Name implements Projector.
func (Breakers) Name() string { return BreakersName }

// Version implements Projector.
func (Breakers) Version() int { return 1 }

// Tables implements Rebuildable.
func (Breakers) Tables() []string {
	return []string{"provider_breakers"}
}

// Handles implements Projector.
func (Breakers) Handles() []string { return []string{providers.BreakerChanged{}.EventType()} }

// Project implements Projector.
func (Breakers) Project(events []Event, out *Statements) error {
	for i := range events {
		changed, ok := events[i].Payload.(providers.BreakerChanged)
		if !ok {
			continue
		}
		id, err := uuid.Parse(changed.ProviderID)
		if err != nil {
			return fmt.Errorf("project position %d: provider id: %w", events[i].Position, err)
		}
		state, blocked := split(changed.To)
		// Nodes append what they have brought about in any order: the generation says which state is the later one.
		out.Exec(`insert into provider_breakers as b (tenant_id, provider_id, state, blocked, until, failure_count, opened_at, generation, changed_at, created_at)
			values ($1, $2, coalesce($3, 'closed'), $4, $5, $6, $7, $8, $9, $10)
			on conflict (tenant_id, provider_id) do update set state = coalesce($3, b.state), blocked = excluded.blocked, until = excluded.until,
				failure_count = excluded.failure_count, opened_at = case when $3 is null then b.opened_at else excluded.opened_at end,
				generation = excluded.generation, changed_at = excluded.changed_at
			where excluded.generation >= b.generation`,
			events[i].Tenant, id, state, blocked, changed.Until, changed.Failures, changed.OpenedAt, changed.Generation, changed.At, events[i].Time())
	}
	return nil
}

// split tells a state from what blocks calls whatever the state is, which leaves the state as it was.
func split(to string) (state, blocked *string) {
	switch to {
	case "rate_limited", "dead":
		return nil, &to
	}
	return &to, nil
}
