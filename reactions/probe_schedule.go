package reactions

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/projections"
)

// ProbeSchedule keeps provider_probes in step with what is registered: a provider that can be called is due for probes,
// one whose credentials or address changed is due at once, one that was deleted or disabled is not. It is a reaction, not
// a projection: the prober moves due_at on, so that a rebuild would not give the same rows.
type ProbeSchedule struct{}

var _ projections.Projector = ProbeSchedule{}

// Name implements projections.Projector.
func (ProbeSchedule) Name() string { return "probe_schedule" }

// Version implements projections.Projector.
func (ProbeSchedule) Version() int { return 1 }

// Handles implements projections.Projector.
func (ProbeSchedule) Handles() []string {
	return []string{
		providers.Registered{}.EventType(), providers.Updated{}.EventType(),
		providers.CredentialsRotated{}.EventType(), providers.Deleted{}.EventType(),
	}
}

// dueness is whether and when a provider is to be probed next.
type dueness int

const (
	never dueness = iota
	atOnce
	// inTurn leaves a date that is set, and sets the first one a minute from now: registration has probed just now.
	inTurn
	// atOnceIfAny moves a date that is set to now.
	atOnceIfAny
)

// Project implements projections.Projector.
func (ProbeSchedule) Project(events []projections.Event, out *projections.Statements) error {
	due := map[string]dueness{}
	tenant := ""
	for i := range events {
		tenant = events[i].Tenant
		switch payload := events[i].Payload.(type) {
		case providers.Registered:
			due[payload.ProviderID] = enabled(payload.IsEnabled, inTurn)
		case providers.Updated:
			due[payload.ProviderID] = enabled(payload.IsEnabled, atOnce)
		case providers.CredentialsRotated:
			if when, decided := due[payload.ProviderID]; !decided {
				due[payload.ProviderID] = atOnceIfAny
			} else if when == inTurn {
				due[payload.ProviderID] = atOnce
			}
		case providers.Deleted:
			due[payload.ProviderID] = never
		}
	}
	for _, id := range slices.Sorted(maps.Keys(due)) {
		when := due[id]
		if _, err := uuid.Parse(id); err != nil {
			return fmt.Errorf("provider id: %w", err)
		}
		switch when {
		case never:
			out.Exec(`delete from provider_probes where tenant_id = $1 and provider_id = $2`, tenant, id)
		case atOnce:
			out.Exec(`insert into provider_probes (tenant_id, provider_id, due_at) values ($1, $2, now())
				on conflict (tenant_id, provider_id) do update set due_at = excluded.due_at`, tenant, id)
		case atOnceIfAny:
			out.Exec(`update provider_probes set due_at = now() where tenant_id = $1 and provider_id = $2`, tenant, id)
		case inTurn:
			out.Exec(`insert into provider_probes (tenant_id, provider_id, due_at) values ($1, $2, now() + interval '1 minute')
				on conflict (tenant_id, provider_id) do nothing`, tenant, id)
		}
	}
	return nil
}

func enabled(is bool, when dueness) dueness {
	if is {
		return when
	}
	return never
}
