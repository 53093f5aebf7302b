package projections

import (
	"github.com/archonhq/archon/domain/prices"
)

// PricesName is the name of the projection of price overrides.
const PricesName = "prices"

// Prices builds price_overrides.
type Prices struct{}

var _ Rebuildable = Prices{}

// Name implements Projector.
func (Prices) Name() string { return PricesName }

// Version implements Projector.
func (Prices) Version() int { return 1 }

// Tables implements Rebuildable.
func (Prices) Tables() []string {
	return []string{"price_overrides"}
}

// Handles implements Projector.
func (Prices) Handles() []string { return []string{prices.Overridden{}.EventType()} }

// Project implements Projector.
func (Prices) Project(events []Event, out *Statements) error {
	for i := range events {
		overridden, is := events[i].Payload.(prices.Overridden)
		if !is {
			continue
		}
		for _, o := range overridden.Overrides {
			out.Exec(`insert into price_overrides (tenant_id, provider_type, model, effective_from, input, cache_read, cache_write, output,
					reasoning, created_at, updated_at)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
				on conflict (tenant_id, provider_type, model, effective_from) do update set input = excluded.input,
					cache_read = excluded.cache_read, cache_write = excluded.cache_write, output = excluded.output,
					reasoning = excluded.reasoning, updated_at = excluded.updated_at`,
				events[i].Tenant, o.ProviderType, o.Model, o.EffectiveFrom, int64(o.Input), int64(o.CacheRead), int64(o.CacheWrite),
				int64(o.Output), int64(o.Reasoning), events[i].Time())
		}
	}
	return nil
}
