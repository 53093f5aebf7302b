package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/migrations"
)

// Roles of Scratch.Pool.
const (
	RoleOwner  = ""
	RoleApp    = "archon_app"
	RoleWorker = "archon_worker"
)

// cleanupTimeout bounds dropping the scratch database, also after an interrupt.
const cleanupTimeout = 30 * time.Second

// Scratch is a migrated database that exists for one run.
type Scratch struct {
	ownerDSN, name string
	pools          []*pgxpool.Pool
}

// OpenScratch makes a scratch database on the server of ownerDSN. Close drops it.
func OpenScratch(ctx context.Context, ownerDSN string) (*Scratch, error) {
	s := &Scratch{ownerDSN: ownerDSN, name: "archon_bench_" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	if err := s.admin(ctx, "create database "+s.name); err != nil {
		return nil, fmt.Errorf("create the scratch database, for which the role needs CREATEDB: %w", err)
	}
	if _, err := migrations.Up(ctx, s.DSN()); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate the scratch database: %w", err), s.Close(ctx))
	}
	return s, nil
}

// Close closes the pools that were opened and drops the database, also after ctx has ended.
func (s *Scratch) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for _, pool := range s.pools {
		pool.Close()
	}
	if err := s.admin(ctx, "drop database if exists "+s.name+" with (force)"); err != nil {
		return fmt.Errorf("drop the scratch database: %w", err)
	}
	return nil
}

// DSN is the owner's connection string of the scratch database.
func (s *Scratch) DSN() string {
	parsed, err := url.Parse(s.ownerDSN)
	if err != nil || parsed.Scheme == "" {
		return s.ownerDSN + " dbname=" + s.name // keyword/value form, in which the last one wins
	}
	parsed.Path = "/" + s.name
	return parsed.String()
}

// Pool opens a pool whose sessions run as role and warms all its connections up. Close closes it.
func (s *Scratch) Pool(ctx context.Context, role string, conns int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(s.DSN())
	if err != nil {
		return nil, fmt.Errorf("parse the connection string: %w", err)
	}
	config.MaxConns = int32(conns) //nolint:gosec // a pool size
	if role != RoleOwner {
		config.ConnConfig.RuntimeParams["role"] = role
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	s.pools = append(s.pools, pool)
	held := make([]*pgxpool.Conn, 0, conns)
	defer func() {
		for _, conn := range held {
			conn.Release()
		}
	}()
	for range conns {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return nil, fmt.Errorf("warm a pool of %d connections up: %w", conns, err)
		}
		held = append(held, conn)
	}
	return pool, nil
}

// settle writes dirty pages out, so that every measurement starts after a checkpoint and pays for its own full-page images. A
// role that may not do that measures without.
func (s *Scratch) settle(ctx context.Context) error {
	const insufficientPrivilege = "42501"
	err := s.admin(ctx, "checkpoint")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == insufficientPrivilege {
		return nil
	}
	return err
}

// admin runs a statement outside of the scratch database.
func (s *Scratch) admin(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.ownerDSN)
	if err != nil {
		return fmt.Errorf("connect as the owner: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
