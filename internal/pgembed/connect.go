package pgembed

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	answerPoll     = 25 * time.Millisecond
	connectTimeout = 5 * time.Second
	// recoveryTimeout bounds the replay after a crash: max_wal_size of log, on a slow disk.
	recoveryTimeout = 5 * time.Minute

	maintenanceDatabase = "postgres"
	codeCannotConnect   = "57P03"
)

// dsn is the connection string of a role. TLS adds nothing on the loopback interface.
func dsn(role, password string, port int, database string) string {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Host: loopback.Addr(port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return address.String()
}

// awaitAnswer waits until the server lets us in and proves to serve this cluster's folder. It gives up with errDied when the process ends, and with
// errSilent when it says nothing to the purpose for the given time; a server that says that it is starting up or shutting down is waited for.
func (p place) awaitAnswer(ctx context.Context, s *server, address string, silence time.Duration) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	lastSign := time.Now()
	for {
		conn, err := p.ask(ctx, address)
		if err == nil {
			return conn, nil
		}
		var refusal *pgconn.PgError
		switch {
		case !s.alive():
			return nil, errDied
		case errors.As(err, &refusal) && refusal.Code == codeCannotConnect:
			lastSign = time.Now()
		case time.Since(lastSign) > silence:
			return nil, fmt.Errorf("%w: %w", errSilent, err)
		}
		if err := pause(ctx, answerPoll); err != nil {
			return nil, fmt.Errorf("wait for the server: %w", err)
		}
	}
}

// ask connects as the superuser and compares the folder that the server works in with ours.
func (p place) ask(ctx context.Context, address string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := p.compareFolder(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

func (p place) compareFolder(ctx context.Context, conn *pgx.Conn) error {
	var served string
	if err := conn.QueryRow(ctx, "show data_directory").Scan(&served); err != nil {
		return fmt.Errorf("ask for the server's folder: %w", err)
	}
	ours, err := os.Stat(p.dir)
	if err != nil {
		return fmt.Errorf("look at the cluster: %w", err)
	}
	theirs, err := os.Stat(served)
	if err != nil || !os.SameFile(ours, theirs) {
		return fmt.Errorf("%w: it serves %s, not %s", errSilent, served, p.dir)
	}
	return nil
}

// ensureDatabase makes Archon's database where it is missing.
func ensureDatabase(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", Database).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{Database}.Sanitize()); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return nil
}
