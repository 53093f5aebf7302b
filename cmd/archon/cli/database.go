package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/pgembed"
	"github.com/archonhq/archon/migrations"
)

// The roles that sessions run as; migrations/roles.sql makes them.
const (
	roleApp    = "archon_app"
	roleWorker = "archon_worker"
	roleReader = "archon_reader"
)

// database is where Archon's PostgreSQL is, embedded or by URL.
type database struct {
	cluster *pgembed.Cluster // nil where it is by URL
	app     string
	worker  string
	owner   string
}

// openDatabase finds the database and, where it is embedded, starts and migrates it.
func openDatabase(ctx context.Context, cfg config.Config, log *slog.Logger) (*database, error) {
	if url := cfg.DatabaseURL.Reveal(); url != "" {
		return &database{
			app: url, worker: cmp.Or(cfg.WorkerDatabaseURL.Reveal(), url), owner: cmp.Or(cfg.MigrateDatabaseURL.Reveal(), url),
		}, nil
	}
	cluster, err := pgembed.Start(ctx, pgembed.Config{DataDir: cfg.DataDir, BinDir: cfg.PGBin, Log: log})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did and how to mend it
	}
	db := &database{cluster: cluster, app: cluster.DSN(roleApp), worker: cluster.DSN(roleWorker), owner: cluster.OwnerDSN()}
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(err, cluster.Release(context.WithoutCancel(ctx)))
	}
	return db, nil
}

// prepare migrates the embedded cluster and lets the runtime roles log in.
func (d *database) prepare(ctx context.Context) error {
	if _, err := migrations.Up(ctx, d.owner); err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	conn, err := pgx.Connect(ctx, d.owner)
	if err != nil {
		return fmt.Errorf("connect to the embedded PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, role := range []string{roleApp, roleWorker, roleReader} {
		if err := letIn(ctx, conn, role, d.cluster.Password(role)); err != nil {
			return err
		}
	}
	return nil
}

// letIn gives a role its password, unless it can log in already: ALTER ROLE at every start would contend between
// processes that start at once.
func letIn(ctx context.Context, conn *pgx.Conn, role, password string) error {
	var canLogin bool
	if err := conn.QueryRow(ctx, `select rolcanlogin from pg_roles where rolname = $1`, role).Scan(&canLogin); err != nil {
		return fmt.Errorf("look at role %s: %w", role, err)
	}
	if canLogin {
		return nil
	}
	var statement string
	if err := conn.QueryRow(ctx, `select format('alter role %I login password %L', $1::text, $2::text)`, role, password).Scan(&statement); err != nil {
		return fmt.Errorf("prepare the login of %s: %w", role, err)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("let role %s log in: %w", role, err)
	}
	return nil
}

// release gives the embedded cluster back.
func (d *database) release(ctx context.Context) error {
	if d.cluster == nil {
		return nil
	}
	return d.cluster.Release(ctx) //nolint:wrapcheck // says what it did
}

// openPool opens a pool whose sessions run as role, whoever logs in.
func openPool(ctx context.Context, dsn, role string, maxConns int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the connection string: %w", err)
	}
	cfg.MaxConns = maxConns
	cfg.ConnConfig.RuntimeParams["role"] = role
	cfg.ConnConfig.RuntimeParams["application_name"] = "archon"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	beImpatient(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open a connection pool: %w", err)
	}
	return pool, nil
}
