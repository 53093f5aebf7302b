package eventstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// tenantsQuery also looks for events without a head, which honest writers can't leave behind. Row-level security hides them
// from everybody but a superuser. The recursion steps from tenant to tenant along the primary key instead of reading the log.
const tenantsQuery = `
with recursive logged as (
  (select tenant_id from events order by tenant_id limit 1)
  union all
  select (select e.tenant_id from events e where e.tenant_id > l.tenant_id order by e.tenant_id limit 1)
  from logged l where l.tenant_id is not null
)
select tenant_id from chain_heads union select tenant_id from logged where tenant_id is not null order by 1`

// Tenants returns every tenant with a chain, in order. The pool's sessions need to be archon_worker's; a superuser's see also
// tenants whose head row is missing.
func (s *Store) Tenants(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, tenantsQuery)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", Unavailable(err))
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", Unavailable(err))
	}
	return tenants, nil
}

// VerifyAll verifies the whole chain of every tenant that Tenants finds, at most parallel at a time, and tells each the outcome:
// a report or the error that kept the chain from being read. Calls of each do not overlap. It fails where the tenants can't be
// listed or ctx ends.
func (s *Store) VerifyAll(ctx context.Context, parallel int, each func(tenant string, report Report, err error)) error {
	tenants, err := s.Tenants(ctx)
	if err != nil {
		return err
	}
	var one sync.Mutex
	var group errgroup.Group
	group.SetLimit(max(parallel, 1))
	for _, tenant := range tenants {
		group.Go(func() error {
			if ctx.Err() != nil {
				return fmt.Errorf("verify all tenants: %w", context.Cause(ctx))
			}
			report, err := s.Verify(ctx, tenant, VerifyOptions{})
			one.Lock()
			defer one.Unlock()
			each(tenant, report, err)
			return nil
		})
	}
	return group.Wait() //nolint:wrapcheck // wrapped where it is made
}
