package readapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
)

// breakerRow is a row of provider_breakers.
type breakerRow struct {
	ProviderID   uuid.UUID
	State        string
	Blocked      *string
	Until        *time.Time
	FailureCount int
	OpenedAt     *time.Time
}

// breakers are the circuit breakers of these providers; one that has never changed is closed.
func (p *Providers) breakers(ctx context.Context, tenant string, rows []providerRow) (map[uuid.UUID]api.CircuitBreaker, error) {
	shown := make(map[uuid.UUID]api.CircuitBreaker, len(rows))
	ids := make([]uuid.UUID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
		shown[ids[i]] = api.CircuitBreaker{State: api.CircuitBreakerStateClosed}
	}
	changed, err := query[breakerRow](ctx, p.Database, tenant, `select provider_id, state, blocked, until, failure_count, opened_at
		from provider_breakers where tenant_id = $1 and provider_id = any($2)`, ids)
	if err != nil {
		return nil, err
	}
	for i := range changed {
		shown[changed[i].ProviderID] = changed[i].breaker(p.Now())
	}
	return shown, nil
}

// breaker is the breaker as it is now: a cooldown or a rate limit that has ended is over, though nothing has happened since.
func (r *breakerRow) breaker(now time.Time) api.CircuitBreaker {
	shown := api.CircuitBreaker{State: api.CircuitBreakerState(r.State), FailureCount: r.FailureCount, OpenedAt: utc(r.OpenedAt)}
	over := r.Until != nil && !r.Until.After(now)
	switch {
	case r.Blocked != nil && (*r.Blocked == string(api.CircuitBreakerBlockedReasonDead) || !over):
		shown.Blocked = &api.CircuitBreakerBlocked{Reason: api.CircuitBreakerBlockedReason(*r.Blocked), Until: utc(r.Until)}
	case r.Blocked == nil && over && shown.State == api.CircuitBreakerStateOpen:
		shown.State = api.CircuitBreakerStateHalfOpen
	}
	return shown
}

// CredentialsRefused tells whether a provider refuses its credentials, as far as is known, and its name. One that is gone
// refuses nothing.
func (p *Providers) CredentialsRefused(ctx context.Context, tenant, id string) (name string, refused bool, err error) {
	rows, err := query[struct{ Name string }](ctx, p.Database, tenant, `select m.name from model_providers m
		join provider_breakers b on b.tenant_id = m.tenant_id and b.provider_id = m.id
		where m.tenant_id = $1 and m.id = $2 and m.deleted_at is null and b.blocked = 'dead'`, id)
	if err != nil || len(rows) == 0 {
		return "", false, err
	}
	return rows[0].Name, true, nil
}
