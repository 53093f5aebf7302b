// Package testdb gives a test suite databases of its own on a real PostgreSQL, migrated and with the runtime roles.
//
// The server is the one that ARCHON_TEST_DATABASE_URL names (a superuser's URL), or
// else a private cluster that is started for the calling process and stopped by Server.Stop.
package testdb

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/internal/pgembed"
	"github.com/archonhq/archon/migrations"
)

// rolePassword is what the login roles of a test server get; the server listens on loopback and is thrown away.
const rolePassword = "test-only"

// EnvURL names the environment variable with a superuser's URL of the server to use.
const EnvURL = "ARCHON_TEST_DATABASE_URL"

// Server is a PostgreSQL for tests.
type Server struct {
	ownerURL string
	stop     func() error
	template sync.Once
	failed   error
	name     string
}

// Start finds or starts the server.
func Start(ctx context.Context) (*Server, error) {
	if dsn := os.Getenv(EnvURL); dsn != "" {
		return &Server{ownerURL: dsn, stop: func() error { return nil }}, nil
	}
	dir, err := os.MkdirTemp("", "archon-testdb-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the test cluster: %w", err)
	}
	const searchable = 0o711 // by the user that PostgreSQL runs as where this is root: the cluster is to lie in the folder, and go with it
	if err := os.Chmod(dir, searchable); err != nil {
		return nil, fmt.Errorf("make a folder for the test cluster: %w", err)
	}
	cluster, err := pgembed.Start(ctx, pgembed.Config{DataDir: dir})
	if err != nil {
		return nil, fmt.Errorf("start the test cluster: %w", err)
	}
	return &Server{ownerURL: cluster.OwnerDSN(), stop: func() error {
		if err := cluster.Release(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("stop the test cluster: %w", err)
		}
		return os.RemoveAll(dir)
	}}, nil
}

// Stop stops a server that Start has started.
func (s *Server) Stop() error { return s.stop() }

// Database is a migrated database that nobody else uses.
type Database struct {
	server *Server
	Name   string
}

// Create makes a database from a migrated template.
func (s *Server) Create(ctx context.Context) (*Database, error) {
	s.template.Do(func() { s.failed = s.makeTemplate(ctx) })
	if s.failed != nil {
		return nil, s.failed
	}
	db := &Database{server: s, Name: "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	if err := s.exec(ctx, fmt.Sprintf("create database %s template %s", db.Name, s.name)); err != nil {
		return nil, err
	}
	return db, nil
}

// Drop removes the database and cuts its connections.
func (d *Database) Drop(ctx context.Context) error {
	return d.server.exec(ctx, "drop database if exists "+d.Name+" with (force)")
}

// URL is the connection string of a login role: archon_app, archon_worker or archon_reader.
func (d *Database) URL(role string) string {
	return d.server.url(d.Name, url.UserPassword(role, rolePassword))
}

// OwnerURL is the superuser's connection string, for tampering.
func (d *Database) OwnerURL() string { return d.server.url(d.Name, nil) }

// Pool opens a pool as role with at most maxConns connections. Close it before Drop.
func (d *Database) Pool(ctx context.Context, role string, maxConns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(d.URL(role))
	if err != nil {
		return nil, fmt.Errorf("parse the test URL: %w", err)
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a test pool: %w", err)
	}
	return pool, nil
}

func (s *Server) makeTemplate(ctx context.Context) error {
	s.name = "template_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if err := s.exec(ctx, "create database "+s.name); err != nil {
		return err
	}
	if _, err := migrations.Up(ctx, s.url(s.name, nil)); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	// The roles are the cluster's: several suites on one server set the same password, one after the other.
	return s.exec(ctx, `do $$ declare r text; begin
		perform pg_advisory_xact_lock(4242);
		foreach r in array array['archon_app', 'archon_worker', 'archon_reader'] loop
			execute format('alter role %I login password %L', r, '`+rolePassword+`');
		end loop; end $$`)
}

func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.ownerURL)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("prepare the test server: %w", err)
	}
	return nil
}

func (s *Server) url(database string, user *url.Userinfo) string {
	parsed, err := url.Parse(s.ownerURL)
	if err != nil {
		panic("the test server's URL can't be parsed: " + err.Error()) // it connected a moment ago
	}
	parsed.Path = "/" + database
	if user != nil {
		parsed.User = user
	}
	return parsed.String()
}
