package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

// ledgerTables are what the ledger's projector fills.
const ledgerTables = "token_ledger, cost_daily, cost_executions"

// Costs measures three things. How fast ledger and sums of days are rebuilt from the log of config.Events calls, beside COPY
// of the same ledger rows into a table of the same shape with the same primary key. How long the dashboard and its like
// take over a month of config.Rows calls, beside a round trip to the database. And how long it takes to reserve from four
// budgets, beside a round trip to Redis.
func Costs(ctx context.Context, config Config) (err error) {
	config = config.withDefaults()
	scratch, err := OpenScratch(ctx, config.OwnerDSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close(ctx)) }()
	environment, err := scratch.environment(ctx)
	if err != nil {
		return err
	}
	environment.Rounds, environment.Events, environment.Rows = config.Rounds, config.Events, config.Rows
	environment.Seconds, environment.PoolSize, environment.Load = config.Duration.Seconds(), projectConns, loadAverage()
	results, err := config.rebuildCosts(ctx, scratch)
	if err != nil {
		return err
	}
	reads, err := config.readCosts(ctx, scratch)
	if err != nil {
		return err
	}
	reservations, err := config.reserveCosts(ctx, scratch)
	if err != nil {
		return err
	}
	return config.write(environment, append(append(results, reads...), reservations...))
}

// alone measures variants that do not do what the first one of all does, so that they have no ratio to it.
func (c Config) alone(ctx context.Context, scratch *Scratch, variants []variant) ([]Result, error) {
	results, err := c.interleave(ctx, "costs", scratch, variants)
	for i := range results {
		results[i].alone = true
	}
	return results, err
}

// rebuildCosts measures a rebuild beside COPY.
func (c Config) rebuildCosts(ctx context.Context, scratch *Scratch) ([]Result, error) {
	const step = 10 * time.Second
	first := time.Now().UTC().Truncate(time.Second).Add(-time.Duration(c.Events) * step)
	log := callEvents(func(i int) time.Time { return first.Add(time.Duration(i) * step) })
	if err := scratch.FillEvery(ctx, benchTenant, c.Events, step, log); err != nil {
		return nil, err
	}
	worker, err := scratch.Pool(ctx, RoleWorker, projectConns)
	if err != nil {
		return nil, err
	}
	owner, err := scratch.Pool(ctx, RoleOwner, 1)
	if err != nil {
		return nil, err
	}
	var rows bytes.Buffer
	results, err := c.interleave(ctx, "costs", scratch, []variant{
		{name: "rebuild", measure: func(ctx context.Context) (measurement, error) {
			if err := execute(ctx, owner, `truncate projection_checkpoints, `+ledgerTables); err != nil {
				return measurement{}, err
			}
			return timed(func(ctx context.Context) (int64, error) {
				return int64(c.Events), rebuild(ctx, worker, benchTenant, int64(c.Events))
			})(ctx)
		}},
		{name: "copy", measure: func(ctx context.Context) (measurement, error) {
			if err := prepareCopy(ctx, owner, &rows); err != nil {
				return measurement{}, err
			}
			return timed(func(ctx context.Context) (int64, error) { return copyIn(ctx, owner, rows.Bytes()) })(ctx)
		}},
	})
	if err != nil {
		return nil, err
	}
	return results, execute(ctx, owner, `drop table ledger_copy; truncate projection_checkpoints, `+ledgerTables)
}

// rebuild builds the tables with a runner that knows nothing yet.
func rebuild(ctx context.Context, worker *pgxpool.Pool, tenant string, events int64) error {
	runner, err := projections.NewRunner(worker, eventcodec.New(), projections.Config{}, projections.Ledger{})
	if err != nil {
		return err //nolint:wrapcheck // timed does
	}
	return runner.Wait(ctx, tenant, events) //nolint:wrapcheck // timed does
}

// prepareCopy empties the table that is copied into, and the first time makes it and reads the rows.
func prepareCopy(ctx context.Context, owner *pgxpool.Pool, rows *bytes.Buffer) error {
	if rows.Len() > 0 {
		return execute(ctx, owner, `truncate ledger_copy`)
	}
	if err := execute(ctx, owner, `create table ledger_copy (like token_ledger including constraints, primary key (tenant_id, started_at, recorded_position))`); err != nil {
		return err
	}
	conn, err := owner.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("take a connection: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Conn().PgConn().CopyTo(ctx, rows, `copy (select * from token_ledger order by recorded_position) to stdout (format binary)`); err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return nil
}

func copyIn(ctx context.Context, owner *pgxpool.Pool, rows []byte) (int64, error) {
	conn, err := owner.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("take a connection: %w", err)
	}
	defer conn.Release()
	tag, err := conn.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(rows), `copy ledger_copy from stdin (format binary)`)
	return tag.RowsAffected(), err //nolint:wrapcheck // timed does
}

func execute(ctx context.Context, owner *pgxpool.Pool, sql string) error {
	if _, err := owner.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
