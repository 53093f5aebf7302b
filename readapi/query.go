package readapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/eventstore"
)

// Database runs queries for one tenant at a time.
type Database struct {
	Pool *pgxpool.Pool
}

// query runs sql with the tenant set and collects its rows by column name. $1 is the tenant.
func query[T any](ctx context.Context, db Database, tenant, sql string, args ...any) ([]T, error) {
	var collected []T
	pipeline := &pgx.Batch{}
	// Compiling a plan takes longer than any of these queries, whatever the planner makes of their costs.
	pipeline.Queue(`select set_config('app.tenant_id', $1, true), set_config('jit', 'off', true)`, tenant)
	pipeline.Queue(sql, append([]any{tenant}, args...)...).Query(func(rows pgx.Rows) (err error) {
		collected, err = pgx.CollectRows(rows, pgx.RowToStructByName[T])
		return err //nolint:wrapcheck // wrapped below
	})
	if err := db.Pool.SendBatch(ctx, pipeline).Close(); err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("query: %w", err)
		}
		return nil, eventstore.Unavailable(err)
	}
	return collected, nil
}
