package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// endless is longer than any round takes: a rebuild's rounds end where the rebuild does, and keep nobody from a worker.
const endless = 100 * 365 * 24 * time.Hour

// rebuilds lists the rebuilds that go on here, longest unserved first.
const rebuilds = `
select c.projection, c.tenant_id
from unnest($1::text[], $2::integer[]) as p(projection, version)
join projection_checkpoints c on c.projection = p.projection and c.version = p.version and c.projection like 'rebuild/%'
where c.status = 'rebuilding' and (c.error_type is null or c.error_type <> all($3::text[])) and (c.tenant_id = any($4) or $4 is null)
order by c.served_at`

// rebuild does the rebuilds that were asked for, on this node or another one, one after the other, until ctx ends.
func (r *Runner) rebuild(ctx, batches context.Context) {
	for failures := 0; ctx.Err() == nil; {
		left, err := r.rebuildRound(ctx, batches, r.projections, nil, 1)
		pause := jittered(r.config.PollInterval)
		switch {
		case err != nil && ctx.Err() == nil:
			r.config.Log.WarnContext(ctx, "rebuilding failed and is tried again", slog.Any("error", err))
			pause = max(pause, backoff(failures))
			failures++
		case left == 0:
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.rebuildNow:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// Rebuild works on the rebuilds of a projection for the tenants, which RequestRebuild has asked for, together with whoever else
// does so, for up to parallel tenants at once. Each takes up to two connections. It returns when none of them is left that goes
// on; Progress tells whether one has stopped. A ctx that ends leaves them to be gone on with. It fails with
// ErrUnknownProjection and ErrNeverRebuilt.
func (r *Runner) Rebuild(ctx context.Context, name string, tenants []string, parallel int) error {
	p, err := r.rebuildable(name)
	if err != nil {
		return err
	}
	for failures, tries := 0, 0; ; tries++ {
		left, err := r.rebuildRound(ctx, ctx, []*projection{p}, tenants, parallel)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("rebuild %s: %w", name, context.Cause(ctx))
		case err != nil:
			r.config.Log.WarnContext(ctx, "rebuilding failed and is tried again", slog.Any("error", err))
			wait(ctx, backoff(failures))
			failures++
		case left == 0:
			return nil
		default:
			wait(ctx, patience(tries))
		}
	}
}

// rebuildRound serves each rebuild that goes on once, and returns how many there were.
func (r *Runner) rebuildRound(ctx, batches context.Context, of []*projection, tenants []string, parallel int) (int, error) {
	keys, err := r.findRebuilds(ctx, of, tenants)
	if err != nil {
		return 0, err
	}
	queue := make(chan key, len(keys))
	for _, k := range keys {
		queue <- k
	}
	close(queue)
	var group sync.WaitGroup
	errs := make([]error, max(1, parallel))
	for i := range errs {
		group.Go(func() {
			for k := range queue {
				if ctx.Err() != nil {
					return
				}
				one := &entry{ended: make(chan struct{})}
				_, err := r.serve(batches, k, one, func() bool { return ctx.Err() != nil })
				if err != nil && errs[i] == nil && !errors.Is(err, context.Canceled) {
					errs[i] = fmt.Errorf("%s for %s: %w", k.projection.live.name, k.tenant, err)
				}
			}
		})
	}
	group.Wait()
	return len(keys), errors.Join(errs...)
}

func (r *Runner) findRebuilds(ctx context.Context, of []*projection, tenants []string) ([]key, error) {
	var names []string
	var versions []int
	for _, p := range of {
		if p.rebuilt != nil {
			names, versions = append(names, p.rebuilt.name), append(versions, p.version)
		}
	}
	rows, err := r.pool.Query(ctx, rebuilds, names, versions, r.unknown.list(), tenants)
	if err != nil {
		return nil, fmt.Errorf("look for rebuilds: %w", err)
	}
	var name, tenant string
	var keys []key
	_, err = pgx.ForEachRow(rows, []any{&name, &tenant}, func() error {
		at := slices.IndexFunc(of, func(p *projection) bool { return p.rebuilt != nil && p.rebuilt.name == name })
		keys = append(keys, key{projection: of[at].rebuilt, tenant: tenant})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for rebuilds: %w", err)
	}
	return keys, nil
}

// swapIn ends the rebuild that has caught up: caughtUp says that it is done, unfinished that more events have to be gone
// through first.
func (r *round) swapIn(ctx context.Context) (ending, error) {
	shapes, err := shapesOf(ctx, r.pool, r.projection.tables)
	if err != nil {
		return unfinished, err
	}
	b := &batch{runner: r.Runner, projection: r.projection, tenant: r.tenant, limit: int64(r.config.MaxBatchEvents), swap: &swap{shapes: shapes}}
	saw, w, err := b.run(ctx)
	var data dataError
	var rows swapError
	switch {
	case errors.Is(err, errSwapLater):
		return unfinished, nil
	case errors.As(err, &data) && errors.As(err, &rows):
		return r.halt(ctx, w.base, &fault{kind: poison, err: rows.error, position: w.end.position})
	case errors.Is(err, errLostCheckpoint):
		return busy, nil
	case err != nil:
		return unfinished, fmt.Errorf("swap in the rebuild of %s: %w", r.projection.live.name, err)
	case w == nil:
		return r.stopped(ctx, &saw)
	}
	r.config.Log.InfoContext(ctx, "projection rebuilt", slog.String("projection", r.projection.live.name), slog.String("tenant", r.tenant),
		slog.Int("version", r.projection.version), slog.Int64("position", w.end.position))
	return caughtUp, nil
}
