package eventstore

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// MaxNameBytes bounds stream names and event types; both stand in every index entry or row.
	MaxNameBytes = 200
	// MaxEventBytes bounds data and meta of one event together.
	MaxEventBytes = 4 << 20
	// MaxClockLag is how far a node's clock may be behind the head of a chain before it refuses to append.
	MaxClockLag = 5 * time.Second
	// DefaultRememberTTL is how long a command id is remembered where the caller does not say: the contract's 24 hours.
	DefaultRememberTTL = 24 * time.Hour
)

// Defaults of Config. A batch as large as the queue would make everybody behind it wait for a commit of megabytes.
const (
	defaultMaxBatchEvents   = 1024
	defaultMaxBatchBytes    = 4 << 20
	defaultMaxQueuedAppends = 8192
	defaultMaxQueuedBytes   = 64 << 20
	defaultUnavailableAfter = 5 * time.Second
	defaultResolveWithin    = 30 * time.Second
)

// Config tunes a Store. The zero value of every field but Log means its default.
type Config struct {
	Log *slog.Logger
	// MaxBatchEvents and MaxBatchBytes bound one commit. A single append may exceed them; it then goes alone.
	MaxBatchEvents, MaxBatchBytes int
	// MaxQueuedAppends and MaxQueuedBytes bound what waits for a tenant on this node; beyond them Append answers ErrBusy.
	MaxQueuedAppends, MaxQueuedBytes int
	// UnavailableAfter is how long a batch waits for a database that can't be reached before it is given up.
	UnavailableAfter time.Duration
	// ResolveWithin is how long the store tries to learn the outcome of a commit whose connection was lost.
	ResolveWithin time.Duration
	// Now is the node's clock.
	Now func() time.Time
	// Appended, where set, is told of every tenant whose chain this node has grown, after the commit. It must not block.
	Appended func(tenant string, position int64)
}

// Store reads and appends to the log. It is safe for concurrent use. Several Stores, in one process or on many nodes, may
// work on the same database.
type Store struct {
	pool   *pgxpool.Pool
	config Config

	mu     sync.Mutex
	lanes  map[string]*lane
	closed bool
	active sync.WaitGroup
}

// New makes a Store on a pool whose sessions run as archon_app or archon_worker. The pool stays the caller's to close,
// after Close.
func New(pool *pgxpool.Pool, config Config) *Store {
	config.MaxBatchEvents = cmp.Or(config.MaxBatchEvents, defaultMaxBatchEvents)
	config.MaxBatchBytes = cmp.Or(config.MaxBatchBytes, defaultMaxBatchBytes)
	config.MaxQueuedAppends = cmp.Or(config.MaxQueuedAppends, defaultMaxQueuedAppends)
	config.MaxQueuedBytes = cmp.Or(config.MaxQueuedBytes, defaultMaxQueuedBytes)
	config.UnavailableAfter = cmp.Or(config.UnavailableAfter, defaultUnavailableAfter)
	config.ResolveWithin = cmp.Or(config.ResolveWithin, defaultResolveWithin)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{pool: pool, config: config, lanes: map[string]*lane{}}
}

// Append writes the events of one command and returns once they are durable. It fails with a *ConflictError where an
// expectation does not hold, and with the errors of this package otherwise; only ErrOutcomeUnknown and an error of ctx
// leave open whether the events were or will be written. The request's bytes belong to the store from then on, also where
// the caller has stopped waiting.
func (s *Store) Append(ctx context.Context, request Append) (Result, error) {
	if err := request.validate(); err != nil {
		return Result{}, err
	}
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("append: %w", context.Cause(ctx))
	}
	waiting := newMember(&request)
	if waiting.bytes > s.config.MaxQueuedBytes {
		return Result{}, fmt.Errorf("%w: %d events of %d bytes are more than one append can hold", ErrInvalid, len(request.Events), waiting.bytes)
	}
	if err := s.enqueue(waiting); err != nil {
		return Result{}, err
	}
	select {
	case outcome := <-waiting.done:
		return outcome.result, outcome.err
	case <-ctx.Done():
		waiting.abandon()
		return Result{}, fmt.Errorf("append: %w", context.Cause(ctx))
	}
}

// Close refuses new appends and waits, within ctx, until those that were accepted have been answered.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		s.active.Wait()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain the append queue: %w", context.Cause(ctx))
	}
}

func (a *Append) validate() error {
	switch {
	case a.Tenant == "" || !storable(a.Tenant):
		return fmt.Errorf("%w: tenant is empty, too long or not text", ErrInvalid)
	case len(a.Events) == 0:
		return fmt.Errorf("%w: no events", ErrInvalid)
	case a.Remember.Answer != nil && a.CommandID == [16]byte{}:
		return fmt.Errorf("%w: an answer can only be remembered under a command id", ErrInvalid)
	}
	for stream, version := range a.Expect {
		if stream == "" || !storable(stream) || version < 0 {
			return fmt.Errorf("%w: expectation on a stream that can't exist", ErrInvalid)
		}
	}
	return a.validateEvents()
}

func (a *Append) validateEvents() error {
	for i := range a.Events {
		event := &a.Events[i]
		if event.Stream == "" || event.Type == "" || !storable(event.Stream) || !storable(event.Type) {
			return fmt.Errorf("%w: event %d has an empty, overlong or non-text stream or type", ErrInvalid, i)
		}
		if len(event.Data)+len(a.Meta) > MaxEventBytes {
			return fmt.Errorf("%w: event %d is larger than %d bytes", ErrInvalid, i, MaxEventBytes)
		}
	}
	return nil
}

// storable tells whether PostgreSQL takes the name as text: one bad name would fail the whole batch it is in.
func storable(name string) bool {
	if len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return false
	}
	for i := range len(name) {
		if name[i] == 0 {
			return false
		}
	}
	return true
}
