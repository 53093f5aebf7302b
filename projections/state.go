package projections

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// The values of a checkpoint's status, and of State.Status.
const (
	statusLive       = "live"
	statusRebuilding = "rebuilding"
	statusStalled    = "stalled"
)

// State tells how a projection is doing, over all tenants or for one.
type State struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Status is live, rebuilding (which is live, too), or stalled, where that goes before the others: the projection has
	// stopped for a tenant, or this program can't go on with it.
	Status string `json:"status"`
	// Position and Head are summed up over tenants, whose positions have nothing else to do with each other.
	Position  int64 `json:"position"`
	Head      int64 `json:"head"`
	LagEvents int64 `json:"lag_events"`
	// LagMS is the age of the oldest event that is not projected yet, in milliseconds; 0 where there is none.
	LagMS int64 `json:"lag_ms"`
	// EventsPerSecond is the rate of all nodes together, over the last 10 to 20 seconds.
	EventsPerSecond float64 `json:"events_per_second"`
	// Error says why the projection has stopped, for one tenant of those for which it has; else empty.
	Error string `json:"error"`
	// StalledTenants counts the tenants for which it has.
	StalledTenants int64 `json:"stalled_tenants"`
	// Rebuild is how far a rebuild is; nil where there is none.
	Rebuild *RebuildState `json:"rebuild"`
}

// RebuildState tells how far the rebuild of a projection is, summed up over the tenants for which it is not done. What serves
// meanwhile is what State tells of.
type RebuildState struct {
	// Tenants is how many there are.
	Tenants  int64 `json:"tenants"`
	Position int64 `json:"position"`
	Head     int64 `json:"head"`
	// EventsPerSecond is the rate of all nodes together, over the last 10 to 20 seconds.
	EventsPerSecond float64 `json:"events_per_second"`
	// SecondsLeft is how long it takes at that rate; nil where there is none yet.
	SecondsLeft *float64 `json:"seconds_left"`
	// Error says why it has stopped, for one tenant of those for which it has; else empty.
	Error string `json:"error"`
}

// States tells how every projection is doing over all tenants.
func (r *Runner) States(ctx context.Context) ([]State, error) { return r.states(ctx, "") }

// StatesOf tells how every projection is doing for one tenant. A tenant without events has projections at position 0.
func (r *Runner) StatesOf(ctx context.Context, tenant string) ([]State, error) {
	return r.states(ctx, tenant)
}

// describe sums the checkpoints up, the projections' (c) and those of their rebuilds (b). $3 is the tenant, or empty for all.
const describe = `
with behind as (
  select p.name, h.tenant_id, h.position as head, coalesce(c.position, 0) as position, coalesce(case when now() < c.rate_since + interval '2 s' then c.rate
      else c.rate_events / extract(epoch from now() - c.rate_since) end, 0) as rate,
    case
      when c.error is not null then concat_ws(' ', 'position', c.error_position, nullif(c.error_type, ''))  || ': ' || c.error
      when exists (select from projection_checkpoints o where o.tenant_id = h.tenant_id and o.projection = p.name and o.status <> 'rebuilding'
          and (o.version > p.version or (o.version < p.version and c.version is null)))
        and not (b.version is not distinct from p.version and b.status = 'rebuilding' and b.error is null)
        then 'another version of the projection serves, and this program is version ' || p.version || '; it needs a rebuild'
      when c.status = 'paused' then 'paused'
    end as error,
    b.tenant_id is not null as rebuilt, b.status = 'rebuilding' and b.error is null as rebuilding, b.position as rebuild_position, coalesce(case when now() < b.rate_since + interval '2 s' then b.rate
      else b.rate_events / extract(epoch from now() - b.rate_since) end, 0) as rebuild_rate,
    case
      when b.error is not null then concat_ws(' ', 'position', b.error_position, nullif(b.error_type, ''))  || ': ' || b.error
      when b.status = 'paused' then 'paused'
    end as rebuild_error
  from unnest($1::text[], $2::integer[]) as p(name, version)
  cross join chain_heads h
  left join projection_checkpoints c on c.tenant_id = h.tenant_id and c.projection = p.name and c.version = p.version
  left join projection_checkpoints b on b.tenant_id = h.tenant_id and b.projection = 'rebuild/' || p.name
  where h.tenant_id = $3 or $3 = ''
)
select name, sum(position)::bigint, sum(head)::bigint, sum(head - position)::bigint, sum(rate)::double precision,
  coalesce(bool_or(rebuilding), false), count(error),
  coalesce((array_agg(case when $3 = '' then 'tenant ' || tenant_id || ': ' else '' end || error order by tenant_id) filter (where error is not null))[1], ''),
  count(*) filter (where rebuilt), coalesce(sum(rebuild_position), 0)::bigint, coalesce(sum(head) filter (where rebuilt), 0)::bigint,
  coalesce(sum(rebuild_rate) filter (where rebuilding), 0)::double precision,
  coalesce((array_agg(case when $3 = '' then 'tenant ' || tenant_id || ': ' else '' end || rebuild_error order by tenant_id) filter (where rebuild_error is not null))[1], '')
from behind group by name`

// oldest finds, over the tenants that are behind, which event comes next. The tenants are those with the oldest heads and
// checkpoints; of more than these it is not worth to know which lags most.
const oldest = `
select p.name, h.tenant_id, coalesce(c.position, 0) + 1
from unnest($1::text[], $2::integer[]) as p(name, version)
cross join chain_heads h
left join projection_checkpoints c on c.tenant_id = h.tenant_id and c.projection = p.name and c.version = p.version
where (h.tenant_id = $3 or $3 = '') and h.position > coalesce(c.position, 0)
order by coalesce(c.served_at, h.created_at)
limit 200`

func (r *Runner) states(ctx context.Context, tenant string) ([]State, error) {
	names, versions, _ := r.registered()
	states := make([]State, len(r.projections))
	for i, p := range r.projections {
		states[i] = State{Name: p.name, Version: p.version, Status: statusLive}
	}
	rows, err := r.pool.Query(ctx, describe, names, versions, tenant)
	if err != nil {
		return nil, fmt.Errorf("describe projections: %w", err)
	}
	var row State
	var rebuild RebuildState
	var rebuilding bool
	_, err = pgx.ForEachRow(rows, []any{
		&row.Name, &row.Position, &row.Head, &row.LagEvents, &row.EventsPerSecond, &rebuilding, &row.StalledTenants, &row.Error,
		&rebuild.Tenants, &rebuild.Position, &rebuild.Head, &rebuild.EventsPerSecond, &rebuild.Error,
	}, func() error {
		state := find(states, row.Name)
		row.Version, row.Status, row.Rebuild = state.Version, statusLive, rebuild.estimated()
		switch {
		case row.StalledTenants > 0:
			row.Status = statusStalled
		case rebuilding:
			row.Status = statusRebuilding
		}
		*state = row
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe projections: %w", err)
	}
	if err := r.measureLag(ctx, states, tenant); err != nil {
		return nil, err
	}
	return states, nil
}

// estimated adds the estimate; it is nil where nothing is being rebuilt.
func (r RebuildState) estimated() *RebuildState {
	if r.Tenants == 0 {
		return nil
	}
	if r.EventsPerSecond > 0 {
		left := float64(r.Head-r.Position) / r.EventsPerSecond
		r.SecondsLeft = &left
	}
	return &r
}

func find(states []State, name string) *State {
	return &states[slices.IndexFunc(states, func(s State) bool { return s.Name == name })]
}

// nextEvent is the first event of a tenant that a projection does not show.
type nextEvent struct {
	name, tenant string
	position     int64
}

// measureLag looks up when the events that come next occurred. Each is read with its own tenant set.
func (r *Runner) measureLag(ctx context.Context, states []State, tenant string) error {
	names, versions, _ := r.registered()
	rows, err := r.pool.Query(ctx, oldest, names, versions, tenant)
	if err != nil {
		return fmt.Errorf("find lagging tenants: %w", err)
	}
	behind, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (next nextEvent, err error) {
		err = row.Scan(&next.name, &next.tenant, &next.position)
		return next, err //nolint:wrapcheck // wrapped below
	})
	if err != nil {
		return fmt.Errorf("find lagging tenants: %w", err)
	}
	pipeline := &pgx.Batch{}
	for _, next := range behind {
		pipeline.Queue(`select set_config('app.tenant_id', $1, true)`, next.tenant)
		pipeline.Queue(`select occurred_at, now() from events where tenant_id = $1 and position = $2`, next.tenant, next.position).QueryRow(func(row pgx.Row) error {
			var occurred, now time.Time
			if err := row.Scan(&occurred, &now); err != nil {
				return ignoreNoRows(err)
			}
			state := find(states, next.name)
			state.LagMS = max(state.LagMS, now.Sub(occurred).Milliseconds())
			return nil
		})
	}
	if pipeline.Len() == 0 {
		return nil
	}
	if err := r.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("measure the lag: %w", err)
	}
	return nil
}
