package projections

import (
	"github.com/archonhq/archon/domain/costsettings"
)

// CostSettingsName is the name of the projection of the settings of costs.
const CostSettingsName = "cost_settings"

// CostSettings builds cost_settings.
type CostSettings struct{}

var _ Rebuildable = CostSettings{}

// Name implements Projector.
func (CostSettings) Name() string { return CostSettingsName }

// Version implements Projector.
func (CostSettings) Version() int { return 1 }

// Tables implements Rebuildable.
func (CostSettings) Tables() []string {
	return []string{"cost_settings"}
}

// Handles implements Projector.
func (CostSettings) Handles() []string { return []string{costsettings.Changed{}.EventType()} }

// Project implements Projector.
func (CostSettings) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		if changed, ok := event.Payload.(costsettings.Changed); ok {
			out.Exec(`insert into cost_settings (tenant_id, time_zone, version, created_at, updated_at) values ($1, $2, $3, $4, $4)
				on conflict (tenant_id) do update set time_zone = excluded.time_zone, version = excluded.version, updated_at = excluded.updated_at`,
				event.Tenant, changed.TimeZone, event.Version, event.Time())
		}
	}
	return nil
}
