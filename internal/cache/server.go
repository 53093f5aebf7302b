package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	startTries = 5

	firstRetryWait = 50 * time.Millisecond
	maxRetryWait   = 5 * time.Second
	// calmAfter is how long a server must have lived for its death to count as a new trouble, not as more of the last.
	calmAfter = 30 * time.Second
)

// errUnusable means that the redis-server of this machine does not work, as opposed to a fault of the data folder.
var errUnusable = errors.New("redis-server is unusable")

// server keeps one redis-server running on one port.
type server struct {
	program string
	log     *slog.Logger
	address address
	record  *record

	// cancel has the supervisor stop the child; then it closes supervised.
	cancel     context.CancelFunc
	supervised chan struct{}
}

// startServer starts a redis-server of the data folder's, and shuts down those that killed Archons left there.
func startServer(ctx context.Context, cfg Config, program string) (*server, error) {
	rec, err := newRecord(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &server{
		program: program, log: cfg.Log, record: rec,
		address:    address{Password: randomHex(passwordBytes)},
		supervised: make(chan struct{}),
	}
	first, err := s.settle(ctx)
	if err != nil {
		return nil, errors.Join(err, rec.remove())
	}
	s.log.InfoContext(ctx, "redis-server started", "port", s.address.Port, "pid", first.pid())
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.supervise(background, first)
	return s, nil
}

func (s *server) options() *redis.Options { return s.address.options() }

// settle finds a port on which the first child starts.
func (s *server) settle(ctx context.Context) (*child, error) {
	var lastErr error
	for range startTries {
		port, err := loopback.FreePort(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnusable, err)
		}
		s.address.Port = port
		if err := s.record.write(s.address); err != nil {
			return nil, err
		}
		c, err := startChild(ctx, s.program, s.address)
		if err == nil {
			return c, nil
		}
		if lastErr = err; ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", errUnusable, lastErr)
}

// supervise restarts the child whenever it dies, until ctx ends; then it stops it.
func (s *server) supervise(ctx context.Context, c *child) {
	defer close(s.supervised)
	wait := firstRetryWait
	for {
		select {
		case <-ctx.Done():
			c.stop()
			return
		case <-c.ended:
		}
		if time.Since(c.since) > calmAfter {
			wait = firstRetryWait
		}
		s.log.WarnContext(ctx, "redis-server died and is restarted", "pid", c.pid())
		if c, wait = s.revive(ctx, wait); c == nil {
			return
		}
	}
}

// revive tries until there is a child on the old port, and also returns how long to wait should that die again. Without a child, ctx has ended.
func (s *server) revive(ctx context.Context, wait time.Duration) (*child, time.Duration) {
	for pause(ctx, wait) == nil {
		wait = min(2*wait, maxRetryWait)
		c, err := startChild(ctx, s.program, s.address)
		if err == nil {
			return c, wait
		}
		s.log.ErrorContext(ctx, "redis-server could not be restarted", "error", err)
	}
	return nil, wait
}

// stop ends the child and forgets it.
func (s *server) stop() error {
	s.cancel()
	<-s.supervised
	return s.record.remove()
}
