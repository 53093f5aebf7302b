package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/eventstore"
)

var (
	// ErrNeverRebuilt says that the projection is a reaction: doing again what it has done in the world is not what anybody
	// wants.
	ErrNeverRebuilt = errors.New("it is a reaction, whose work in the outside world must not be done again, so that it is never rebuilt")

	// ErrNewerVersion says that a newer program has built the projection, or is doing so: rebuild it with that one.
	ErrNewerVersion = errors.New("a newer version of it has been built, or is being built")
)

// rebuildPrefix is what the names of rebuilds begin with in projection_checkpoints.
const rebuildPrefix = "rebuild/"

// makeRebuild gives a projection that can be rebuilt the one that its rebuilds run: the same projector with a checkpoint and
// tables of its own.
func (p *projection) makeRebuild() {
	rebuildable, can := p.Projector.(Rebuildable)
	if !can {
		return
	}
	p.tables = rebuildable.Tables()
	rebuilt := *p
	rebuilt.name, rebuilt.live = rebuildPrefix+p.name, p
	p.rebuilt = &rebuilt
}

// named finds a projection. It fails with ErrUnknownProjection.
func (r *Runner) named(name string) (*projection, error) {
	_, _, byName := r.registered()
	p, found := byName[name]
	if !found {
		return nil, fmt.Errorf("%w: %s", ErrUnknownProjection, name)
	}
	return p, nil
}

// rebuildable finds a projection that can be rebuilt. It fails with ErrUnknownProjection and ErrNeverRebuilt.
func (r *Runner) rebuildable(name string) (*projection, error) {
	p, err := r.named(name)
	if err != nil {
		return nil, err
	}
	if p.rebuilt == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrNeverRebuilt)
	}
	return p, nil
}

// RequestRebuild asks for a rebuild of a projection, for one tenant, or for all where tenant is empty, and returns the tenants
// that it concerns: those that have events. One that is under way goes on; one that has stopped, or that another version had
// begun, begins anew. Nodes that run do the work, and so does Rebuild. It fails with ErrUnknownProjection, ErrNeverRebuilt, and,
// unless older is set, ErrNewerVersion where a newer version serves or is being built.
func (r *Runner) RequestRebuild(ctx context.Context, projection, tenant string, older bool) ([]string, error) {
	p, err := r.rebuildable(projection)
	if err != nil {
		return nil, err
	}
	if _, err := shapesOf(ctx, r.pool, p.tables); err != nil {
		return nil, err
	}
	tenants, err := r.Tenants(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, one := range tenants {
		if err := r.request(ctx, p, one, older); err != nil {
			return nil, fmt.Errorf("rebuild %s for %s: %w", projection, one, err)
		}
	}
	select {
	case r.rebuildNow <- struct{}{}:
	default:
	}
	return tenants, nil
}

// CanRebuild tells whether a projection can be rebuilt and compared: nil, ErrUnknownProjection or ErrNeverRebuilt.
func (r *Runner) CanRebuild(projection string) error {
	_, err := r.rebuildable(projection)
	return err
}

// Tenants lists the tenants that have events, or the one that is named, where it has.
func (r *Runner) Tenants(ctx context.Context, tenant string) ([]string, error) {
	rows, err := r.pool.Query(ctx, `select tenant_id from chain_heads where tenant_id = $1 or $1 = '' order by tenant_id`, tenant)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	return tenants, nil
}

// request begins a rebuild for a tenant, unless one is under way. What an earlier one has left is removed in the transaction
// that makes the checkpoint, so that rows and checkpoint always fit.
func (r *Runner) request(ctx context.Context, p *projection, tenant string, older bool) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error { //nolint:wrapcheck // the caller does
		var newer bool
		if err := tx.QueryRow(ctx, `select exists (select from projection_checkpoints where tenant_id = $1 and projection in ($2, $3) and version > $4)`,
			tenant, p.rebuilt.name, p.name, p.version).Scan(&newer); err != nil {
			return err //nolint:wrapcheck // the caller does
		}
		if newer && !older {
			return ErrNewerVersion
		}
		if _, err := tx.Exec(ctx, `delete from projection_checkpoints
			where tenant_id = $1 and projection = $2 and (version <> $3 or status = 'stalled' or error is not null)`, tenant, p.rebuilt.name, p.version); err != nil {
			return err //nolint:wrapcheck // the caller does
		}
		begun, err := tx.Exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash, status)
			values ($1, $2, $3, 0, $4, 'rebuilding') on conflict do nothing`, tenant, p.rebuilt.name, p.version, eventstore.Genesis(tenant))
		if err != nil || begun.RowsAffected() == 0 {
			return err //nolint:wrapcheck // the caller does
		}
		if _, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant); err != nil {
			return err //nolint:wrapcheck // the caller does
		}
		for _, table := range p.tables {
			if _, err := tx.Exec(ctx, `delete from `+inRebuild(table)+` where tenant_id = $1`, tenant); err != nil {
				return err //nolint:wrapcheck // the caller does
			}
		}
		return nil
	})
}

// inRebuild is the table that a rebuild of a read table fills; inPublic is the read table.
func inRebuild(table string) string { return pgx.Identifier{"rebuild", table}.Sanitize() }
func inPublic(table string) string  { return pgx.Identifier{"public", table}.Sanitize() }

// Progress tells how far the rebuild of a projection is for a number of tenants.
type Progress struct {
	// Tenants is how many are not done, Stopped how many of them go on no more by themselves.
	Tenants, Stopped int
	// Position and Head are summed up over all of the tenants, those that are done included.
	Position, Head int64
	// Error says why it has stopped for one of the tenants.
	Error string
}

// Progress tells how far the rebuild of a projection is for the tenants.
func (r *Runner) Progress(ctx context.Context, projection string, tenants []string) (Progress, error) {
	var told Progress
	err := r.pool.QueryRow(ctx, `
		select count(c.tenant_id), count(c.tenant_id) filter (where c.status <> 'rebuilding' or c.error is not null),
			coalesce(sum(coalesce(c.position, h.position)), 0)::bigint, coalesce(sum(h.position), 0)::bigint,
			coalesce(min('tenant ' || h.tenant_id || ': ' || coalesce(concat_ws(' ', 'position', c.error_position, nullif(c.error_type, '')) || ': ' || c.error, c.status))
				filter (where c.status <> 'rebuilding' or c.error is not null), '')
		from chain_heads h left join projection_checkpoints c on c.tenant_id = h.tenant_id and c.projection = $1
		where h.tenant_id = any($2)`, rebuildPrefix+projection, tenants).
		Scan(&told.Tenants, &told.Stopped, &told.Position, &told.Head, &told.Error)
	if err != nil {
		return told, fmt.Errorf("look how far a rebuild is: %w", err)
	}
	return told, nil
}
