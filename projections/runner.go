package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/eventstore"
)

// Runner keeps projections up to date with the log. It is safe for concurrent use.
type Runner struct {
	pool        *pgxpool.Pool
	config      Config
	projections []*projection
	agenda      *agenda
	metrics     *metrics
	unknown     unknownTypes
	running     atomic.Bool
	now         func() time.Time
	// discoverNow holds a token where the list of work that was found last has been worked off, but was not all.
	discoverNow chan struct{}
	foundAll    atomic.Bool
	// rebuildNow holds a token where a rebuild was asked for on this node.
	rebuildNow chan struct{}
}

// unknownTypes are the event types that this node has met and does not know.
type unknownTypes struct {
	mu    sync.Mutex
	names []string
}

func (u *unknownTypes) add(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !slices.Contains(u.names, name) {
		u.names = append(u.names, name)
	}
}

func (u *unknownTypes) list() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string{}, u.names...) // not nil, which would be NULL
}

// NewRunner makes a Runner on a pool whose sessions run as archon_worker. It fails where two projectors share a name or one
// handles a type that codec does not know. The pool stays the caller's to close, after Run has returned.
func NewRunner(pool *pgxpool.Pool, codec *eventstore.Codec, config Config, projectors ...Projector) (*Runner, error) {
	config = config.withDefaults()
	r := &Runner{pool: pool, config: config, agenda: newAgenda(config.Rest), now: time.Now, discoverNow: make(chan struct{}, 1), rebuildNow: make(chan struct{}, 1)}
	names := map[string]bool{}
	for _, projector := range projectors {
		p := &projection{Projector: projector, codec: codec, name: projector.Name(), version: projector.Version(), handles: projector.Handles(), handled: map[string]bool{}}
		if p.name == "" || strings.Contains(p.name, "/") || names[p.name] || p.version < 1 {
			return nil, fmt.Errorf("projection %q: the name must be its own, without a slash, and the version at least 1", p.name)
		}
		names[p.name] = true
		for _, eventType := range p.handles {
			if !codec.Knows(eventType) {
				return nil, fmt.Errorf("projection %s: %w: %s", p.name, eventstore.ErrUnknownType, eventType)
			}
			p.handled[eventType] = true
		}
		p.folder, _ = projector.(Folder)
		p.makeRebuild()
		r.projections = append(r.projections, p)
	}
	var err error
	if r.metrics, err = newMetrics(config.Metrics); err != nil {
		return nil, err
	}
	return r, nil
}

// Names lists the projections in the order in which they were given to NewRunner.
func (r *Runner) Names() []string {
	names := make([]string, len(r.projections))
	for i, p := range r.projections {
		names[i] = p.name
	}
	return names
}

// Wake tells that a tenant's chain has grown, on this node or another one. It is a hint: it never blocks, and where it is
// lost, polling finds the work.
func (r *Runner) Wake(tenant string) {
	for _, p := range r.projections {
		r.agenda.push(key{projection: p, tenant: tenant}, false)
	}
}

// Run projects until ctx ends, and then finishes the batches in hand, for at most Config.Drain. It returns nil after that.
func (r *Runner) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)
	r.agenda.setOpen(true)
	defer r.agenda.setOpen(false)

	batches, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(r.config.Drain)
		defer timer.Stop()
		select {
		case <-timer.C:
			cut()
		case <-batches.Done():
		}
	})
	defer stop()

	var group sync.WaitGroup
	group.Go(func() { r.discover(ctx) })
	group.Go(func() { r.rebuild(ctx, batches) })
	for range r.config.Workers {
		group.Go(func() { r.work(ctx, batches) })
	}
	group.Wait()
	return nil
}

// work serves keys until ctx ends; batches outlives it, for the batch in hand.
func (r *Runner) work(ctx, batches context.Context) {
	failures := 0
	for {
		k, one, ok := r.agenda.pop(ctx)
		if !ok {
			return
		}
		err := r.turn(ctx, batches, k, one)
		if r.agenda.idle() && !r.foundAll.Load() {
			select {
			case r.discoverNow <- struct{}{}:
			default:
			}
		}
		if err == nil {
			failures = 0
			continue
		}
		r.complain(ctx, k, err)
		wait(ctx, backoff(failures))
		failures++
	}
}

// turn serves one key of the queue.
func (r *Runner) turn(ctx, batches context.Context, k key, one *entry) error {
	got, err := r.serve(batches, k, one, func() bool { return ctx.Err() != nil })
	if got.end == unfinished {
		r.agenda.again(one)
	}
	r.agenda.end(k, one, got)
	return err
}

func (r *Runner) complain(ctx context.Context, k key, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.config.Log.WarnContext(ctx, "projecting failed and is tried again", slog.String("projection", k.projection.name),
		slog.String("tenant", k.tenant), slog.Any("error", err))
}

// backoff is how long to wait after a number of failures in a row, with jitter.
func backoff(failures int) time.Duration {
	const first, longest, doublings = 20 * time.Millisecond, time.Second, 6
	pause := min(first<<min(failures, doublings), longest)
	return jittered(pause)
}

// jittered is about d, so that many nodes don't move in step.
func jittered(d time.Duration) time.Duration {
	const spread = 0.25
	return time.Duration(float64(d) * (1 - spread + 2*spread*rand.Float64())) //nolint:gosec // spreads load, hides nothing
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
