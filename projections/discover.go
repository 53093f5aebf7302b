package projections

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxFound bounds how many keys one look finds; where there are more, the next look comes as soon as these are done.
const maxFound = 1000

// findWork lists who is behind, longest unserved first. Left out is what can't go on here: stalled and paused ones, those
// that wait for a program that knows an event type, and those of which another version serves.
const findWork = `
select p.projection, h.tenant_id
from unnest($1::text[], $2::integer[]) as p(projection, version)
cross join chain_heads h
left join projection_checkpoints c on c.tenant_id = h.tenant_id and c.projection = p.projection and c.version = p.version
where h.position > coalesce(c.position, 0)
  and coalesce(c.status, 'live') in ('live', 'rebuilding')
  and (c.error_type is null or c.error_type <> all($3::text[]))
  and not exists (
    select from projection_checkpoints o
    where o.tenant_id = h.tenant_id and o.projection = p.projection and o.status <> 'rebuilding'
      and (o.version > p.version or (o.version < p.version and c.version is null)))
order by coalesce(c.served_at, h.created_at)
limit $4`

// discover looks for work until ctx ends: every PollInterval, give or take a quarter, and sooner where the last look did
// not find everything.
func (r *Runner) discover(ctx context.Context) {
	// A look costs in proportion to the number of tenants; it must not become what the database does.
	const maxShare = 10
	const looksAMeasurement = 15
	for looks := 0; ctx.Err() == nil; looks++ {
		began := time.Now()
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.config.Log.WarnContext(ctx, "looking for projections that are behind failed and is tried again", slog.Any("error", err))
		}
		if r.metrics != nil && looks%looksAMeasurement == 0 {
			r.measure(ctx)
		}
		timer := time.NewTimer(max(jittered(r.config.PollInterval), maxShare*time.Since(began)))
		select {
		case <-timer.C:
		case <-r.discoverNow:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (r *Runner) look(ctx context.Context) error {
	names, versions, byName := r.registered()
	rows, err := r.pool.Query(ctx, findWork, names, versions, r.unknown.list(), maxFound)
	if err != nil {
		return fmt.Errorf("find work: %w", err)
	}
	var name, tenant string
	tag, err := pgx.ForEachRow(rows, []any{&name, &tenant}, func() error {
		r.agenda.push(key{projection: byName[name], tenant: tenant}, true)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find work: %w", err)
	}
	r.foundAll.Store(tag.RowsAffected() < maxFound)
	return nil
}

// registered lists the projections as arrays for a statement.
func (r *Runner) registered() (names []string, versions []int, byName map[string]*projection) {
	byName = make(map[string]*projection, len(r.projections))
	for _, p := range r.projections {
		names = append(names, p.name)
		versions = append(versions, p.version)
		byName[p.name] = p
	}
	return names, versions, byName
}
