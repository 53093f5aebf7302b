package projections

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrLagging says that a projection did not reach the awaited position in time: answer with what is there and say so.
	ErrLagging = errors.New("the projection is behind")

	// ErrHalted says that a projection has stopped for the tenant, so that waiting for it is in vain until an operator has
	// acted; see `archon projections list`.
	ErrHalted = errors.New("the projection is halted")

	// ErrUnknownProjection says that no projector has that name: a fault of the caller's code, or a mistyped name.
	ErrUnknownProjection = errors.New("unknown projection")

	// ErrRunning says that Run was called while it runs.
	ErrRunning = errors.New("the runner runs already")
)

// Defaults of Config.
const (
	defaultWorkers = 2
	// A batch is one transaction: large enough that its fixed cost does not show, small enough that a waiter behind it
	// is not kept for long and that its events fit in memory many times over.
	defaultMaxBatchEvents = 8000
	defaultMaxBatchBytes  = 4 << 20
	defaultPollInterval   = time.Second
	// Without a rest, a tenant that appends all the time would have each of its projections run a transaction for every few
	// events, which costs the appends more than the projections gain.
	defaultRest = 25 * time.Millisecond
	// A node that freezes in the middle of a transaction keeps a projection from everybody for as long as this.
	defaultIdleTimeout = 30 * time.Second
	defaultDrain       = 10 * time.Second
)

// Config tunes a Runner. The zero value of every field means its default.
type Config struct {
	// Log is where stops and faults are told; nothing is logged where it is nil.
	Log *slog.Logger
	// Metrics is where the runner's metrics are registered; nowhere where it is nil.
	Metrics prometheus.Registerer
	// Workers is how many (projection, tenant) pairs this node serves at once. Each uses up to two connections.
	Workers int
	// MaxBatchEvents and MaxBatchBytes bound what is read at once, and with it one transaction; the last event may exceed
	// the bytes. A Folder that is far behind gets up to 32 such reads in a transaction, as long as its sum takes less than
	// 32 MB, and reads without a bound in bytes, since it keeps no event.
	MaxBatchEvents, MaxBatchBytes int
	// PollInterval is how often the runner looks for tenants that are behind, give or take a quarter.
	PollInterval time.Duration
	// Rest is how long the workers leave a projection alone that they have caught up with for a tenant, so that the next
	// round has more to do. Wait does not heed it.
	Rest time.Duration
	// IdleTimeout is how long a transaction may stand still between two statements before PostgreSQL ends it, so that a
	// node that has frozen does not keep its locks.
	IdleTimeout time.Duration
	// Drain is how long Run lets the batches in hand go on after its context has ended.
	Drain time.Duration
	// Projected, where set, is told of every checkpoint that this node has moved, after the commit. It must not block.
	Projected func(tenant, projection string, position int64)
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, defaultWorkers)
	c.MaxBatchEvents = cmp.Or(c.MaxBatchEvents, defaultMaxBatchEvents)
	c.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, defaultMaxBatchBytes)
	c.PollInterval = cmp.Or(c.PollInterval, defaultPollInterval)
	c.Rest = cmp.Or(c.Rest, defaultRest)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, defaultIdleTimeout)
	c.Drain = cmp.Or(c.Drain, defaultDrain)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
