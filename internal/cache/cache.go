package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// What stands behind a Cache, see [Cache.Kind].
const (
	KindExternal  = "external"
	KindServer    = "redis-server"
	KindInProcess = "in-process"
)

// checkTimeout bounds a health check, which must answer faster than whoever asks gives up.
const checkTimeout = time.Second

var (
	// ErrBadURL means that Config.URL cannot be understood. It does not repeat the URL, which may hold a password.
	ErrBadURL = errors.New("the Redis URL (ARCHON_REDIS_URL) is malformed; it looks like redis://user:password@host:6379/0, or rediss:// for TLS")
	// ErrNoDataDir means that neither Config.URL nor Config.DataDir is set.
	ErrNoDataDir = errors.New("an embedded Redis needs a data folder")
)

// Config says which Redis to use.
type Config struct {
	// URL of a Redis, redis:// or rediss:// or unix://, with timeouts and the like as go-redis takes them in the query. Empty means an embedded one.
	URL string
	// DataDir is Archon's data folder; an embedded server is noted there. Made where missing.
	DataDir string
	// Log receives starts, stops and restarts; nil discards them.
	Log *slog.Logger
}

// Cache is a Redis that may come and go. Its methods may be called from any goroutine.
type Cache struct {
	client *redis.Client
	kind   string
	// stop ends the embedded server.
	stop func() error

	closing  sync.Once
	closeErr error
}

// Open returns a ready client. It fails for a malformed URL or an unusable data folder, but not because a Redis elsewhere does not answer: see [Cache.Check].
// The end of ctx aborts the opening but means nothing later.
func Open(ctx context.Context, cfg Config) (*Cache, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.URL != "" {
		return openExternal(ctx, cfg)
	}
	if cfg.DataDir == "" {
		return nil, ErrNoDataDir
	}
	return openEmbedded(ctx, cfg)
}

func openExternal(ctx context.Context, cfg Config) (*Cache, error) {
	options, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, ErrBadURL
	}
	c := &Cache{client: newClient(options), kind: KindExternal, stop: func() error { return nil }}
	if err := c.Check(ctx); err != nil {
		cfg.Log.WarnContext(ctx, "redis does not answer; going on without it", "addr", options.Addr, "error", err)
	}
	return c, nil
}

func openEmbedded(ctx context.Context, cfg Config) (*Cache, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		cfg.Log.InfoContext(ctx, "no redis-server found; serving redis in process")
		return openInProcess()
	}
	server, err := startServer(ctx, cfg, program)
	switch {
	case errors.Is(err, errUnusable) && ctx.Err() == nil:
		cfg.Log.WarnContext(ctx, "redis-server does not run; serving redis in process", "error", err)
		return openInProcess()
	case err != nil:
		return nil, fmt.Errorf("start redis-server: %w", err)
	default:
		return &Cache{client: newClient(server.options()), kind: KindServer, stop: server.stop}, nil
	}
}

// Client returns the client. It fails fast while Redis is away and reconnects by itself.
func (c *Cache) Client() *redis.Client { return c.client }

// Kind returns KindExternal, KindServer or KindInProcess.
func (c *Cache) Kind() string { return c.kind }

// Check returns nil if Redis answers within a second.
func (c *Cache) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := c.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// Close closes the client and stops an embedded server. A second call does nothing and returns what the first one did.
func (c *Cache) Close() error {
	c.closing.Do(func() { c.closeErr = errors.Join(c.client.Close(), c.stop()) })
	return c.closeErr
}
