package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/eventstore"
)

// Retry lets a stalled projection go on, and a rebuild of it that has stopped, for one tenant, or for all where tenant is
// empty, and returns for which. Where the cause is still there it stalls again. It fails with ErrUnknownProjection.
func (r *Runner) Retry(ctx context.Context, projection, tenant string) ([]string, error) {
	return r.steer(ctx, projection, tenant, `
		update projection_checkpoints
		set status = case when projection = $1 then 'live' else 'rebuilding' end, error = null, error_position = null, error_type = null
		where projection in ($1, $2) and (tenant_id = $3 or $3 = '')
			and (status = 'stalled' or (projection = $2 and status = 'rebuilding' and error is not null))
		returning tenant_id`)
}

// Pause stops a projection, and a rebuild of it, until Resume, on all nodes, for one tenant, or for all that have events where
// tenant is empty, and returns for which; those that are paused already are not among them. What is being done is finished
// first. It fails with ErrUnknownProjection.
func (r *Runner) Pause(ctx context.Context, projection, tenant string) ([]string, error) {
	if _, err := r.named(projection); err != nil {
		return nil, err
	}
	// A tenant for which the projection has not begun gets the checkpoint that holds it up.
	if err := r.beginAll(ctx, projection, tenant); err != nil {
		return nil, err
	}
	return r.steer(ctx, projection, tenant, `
		update projection_checkpoints set status = 'paused'
		where projection in ($1, $2) and (tenant_id = $3 or $3 = '') and status <> 'paused'
		returning tenant_id`)
}

// Resume lets a paused projection go on, and a rebuild of it, for one tenant, or for all where tenant is empty, and returns
// for which. One that had stalled before it was paused stalls again where the cause is still there. It fails with
// ErrUnknownProjection.
func (r *Runner) Resume(ctx context.Context, projection, tenant string) ([]string, error) {
	return r.steer(ctx, projection, tenant, `
		update projection_checkpoints
		set status = case when projection = $1 then 'live' else 'rebuilding' end, error = null, error_position = null, error_type = null
		where projection in ($1, $2) and (tenant_id = $3 or $3 = '') and status = 'paused'
		returning tenant_id`)
}

// steer changes checkpoints of a projection ($1), and of its rebuilds ($2), for a tenant ($3), and has this
// node look at them at once.
func (r *Runner) steer(ctx context.Context, projection, tenant, sql string) ([]string, error) {
	p, err := r.named(projection)
	if err != nil {
		return nil, err
	}
	rows, err := r.pool.Query(ctx, `with changed as (`+sql+`) select distinct tenant_id from changed order by 1`, p.name, rebuildPrefix+p.name, tenant)
	if err != nil {
		return nil, fmt.Errorf("steer %s: %w", projection, err)
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("steer %s: %w", projection, err)
	}
	for _, one := range tenants {
		r.agenda.push(key{projection: p, tenant: one}, true)
	}
	select {
	case r.rebuildNow <- struct{}{}:
	default:
	}
	return tenants, nil
}

// beginAll makes the checkpoints of a projection that tenants with events lack.
func (r *Runner) beginAll(ctx context.Context, projection, tenant string) error {
	p, err := r.named(projection)
	if err != nil {
		return err
	}
	rows, err := r.pool.Query(ctx, `select h.tenant_id from chain_heads h where (h.tenant_id = $2 or $2 = '')
		and not exists (select from projection_checkpoints c where c.tenant_id = h.tenant_id and c.projection = $1)`, projection, tenant)
	if err != nil {
		return fmt.Errorf("look for tenants of %s: %w", projection, err)
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for tenants of %s: %w", projection, err)
	}
	for _, one := range tenants {
		if _, err := r.pool.Exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash)
			values ($1, $2, $3, 0, $4) on conflict do nothing`, one, p.name, p.version, eventstore.Genesis(one)); err != nil {
			return fmt.Errorf("begin %s for %s: %w", projection, one, err)
		}
	}
	return nil
}
