// Package migrations holds the schema of Archon's PostgreSQL as numbered SQL files and applies them.
//
// Its one invariant: a released file never changes; a change of the schema is a new file. Every process may call Up at
// the same time: the numbered files run under a session lock, the roles are made idempotently before them.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// roleLockKey guards the role statements: two CREATE ROLE at once fail with a unique violation instead of waiting.
const roleLockKey = 0x6172_6368_6f6e // "archon"

// ErrSchemaBehind says that the database has fewer migrations than this program needs: run `archon migrate`.
var ErrSchemaBehind = errors.New("the database schema is older than this program: run `archon migrate` with the owner's connection string first")

// ErrSchemaAhead says that a newer Archon has migrated the database: run that version, or a newer one.
var ErrSchemaAhead = errors.New("the database schema is newer than this program: run the newer Archon")

// Up makes the roles and applies every migration that is missing. dsn must belong to a superuser, or to a role that may
// create roles and owns the database. It returns the schema version reached.
func Up(ctx context.Context, dsn string) (int64, error) {
	if err := createRoles(ctx, dsn); err != nil {
		return 0, err
	}
	db, err := openAs(dsn, "archon_owner")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	provider, err := newProvider(db)
	if err != nil {
		return 0, err
	}
	if _, err := provider.Up(ctx); err != nil {
		return 0, fmt.Errorf("apply migrations: %w", err)
	}
	version, err := provider.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the schema version: %w", err)
	}
	return version, nil
}

// Check reports whether the schema fits this program: nil, ErrSchemaBehind or ErrSchemaAhead. It works with the runtime
// role, which may read the version table.
func Check(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) error {
	want, err := Latest()
	if err != nil {
		return err
	}
	var exists bool
	if err := conn.QueryRow(ctx, `select to_regclass('goose_db_version') is not null`).Scan(&exists); err != nil {
		return fmt.Errorf("look for the schema version: %w", err)
	}
	if !exists {
		return ErrSchemaBehind
	}
	var have int64
	if err := conn.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&have); err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	switch {
	case have < want:
		return fmt.Errorf("%w (have %d, need %d)", ErrSchemaBehind, have, want)
	case have > want:
		return fmt.Errorf("%w (have %d, know %d)", ErrSchemaAhead, have, want)
	}
	return nil
}

// Latest is the number of the newest migration in this program.
func Latest() (int64, error) {
	names, err := files.ReadDir(".")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var latest int64
	for _, entry := range names {
		if number, err := goose.NumericComponent(entry.Name()); err == nil {
			latest = max(latest, number)
		}
	}
	return latest, nil
}

func createRoles(ctx context.Context, dsn string) error {
	statements, err := files.ReadFile("roles.sql")
	if err != nil {
		return fmt.Errorf("read roles.sql: %w", err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(roleLockKey)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, string(statements), pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the database roles: %w", err)
	}
	return nil
}

// openAs opens dsn with every session set to role, so that objects belong to the role and not to who happened to log in.
func openAs(dsn, role string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse the connection string: %w", err)
	}
	config.RuntimeParams["role"] = role
	return stdlib.OpenDB(*config), nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithExcludeNames([]string{"roles.sql"}))
	if err != nil {
		return nil, fmt.Errorf("load migrations: %w", err)
	}
	return provider, nil
}
