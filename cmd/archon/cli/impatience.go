package cli

import (
	"cmp"
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// How long PostgreSQL may leave a node without a sign. A server that has frozen, or a network that swallows packets, breaks
// no connection by itself for a quarter of an hour, and requests and projectors would hang for as long.
const (
	// silenceLimit bounds the wait for the next byte of an answer. No statement of Archon's computes for as long before its
	// first row.
	silenceLimit = 20 * time.Second
	// connectLimit bounds connecting where the connection string does not say.
	connectLimit = 5 * time.Second
	// pingLimit bounds the look at a connection that was idle, of which there may be many to look at.
	pingLimit = 2 * time.Second
)

// beImpatient bounds how long the connections of a pool wait for the server.
func beImpatient(cfg *pgxpool.Config) {
	cfg.PingTimeout = pingLimit
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, connectLimit)
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err //nolint:wrapcheck // pgx says what it did
		}
		return &impatientConn{Conn: conn, limit: silenceLimit}, nil
	}
}

// impatientConn fails where the other end is silent, or takes nothing, for longer than limit. A deadline that pgx sets, as
// it does where a context ends, goes before it.
type impatientConn struct {
	net.Conn
	limit time.Duration

	mu sync.Mutex
	// set is whether the deadline is pgx's.
	set bool
}

// Read implements net.Conn.
func (c *impatientConn) Read(b []byte) (int, error) {
	if err := c.hurry(c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(b) //nolint:wrapcheck // a net.Conn
}

// Write implements net.Conn.
func (c *impatientConn) Write(b []byte) (int, error) {
	if err := c.hurry(c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(b) //nolint:wrapcheck // a net.Conn
}

// hurry sets a deadline for what comes next. It holds the lock, so that it can't undo a deadline that pgx sets meanwhile.
func (c *impatientConn) hurry(set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set {
		return nil
	}
	return set(time.Now().Add(c.limit))
}

// SetDeadline implements net.Conn.
func (c *impatientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = !t.IsZero()
	return c.Conn.SetDeadline(t) //nolint:wrapcheck // a net.Conn
}
