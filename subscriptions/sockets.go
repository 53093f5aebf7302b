package subscriptions

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
)

// Defaults of Config.
const (
	defaultPerNode   = 10_000
	defaultPerTenant = 2_500
	defaultPoll      = 500 * time.Millisecond
	defaultPositions = 5 * time.Second
	defaultHeartbeat = 30 * time.Second
	// defaultSlowAfter is less than the five seconds within which the library must get a control frame out.
	defaultSlowAfter = 4 * time.Second
	// parallelReads is how many sockets that are behind read from the database at once.
	parallelReads = 4
)

// Log is what subscribers are served from; *eventstore.Store is one.
type Log interface {
	Head(ctx context.Context, tenant string) (eventstore.Head, error)
	Select(ctx context.Context, tenant string, selection eventstore.Selection) (eventstore.Selected, error)
}

// Verifier judges tokens; *auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Redeemer takes tickets; *tickets.Tickets is one.
type Redeemer interface {
	Redeem(ctx context.Context, ticket string) (auth.Principal, error)
}

// Config is what sockets are made of. Log, Verifier and Tickets must be set.
type Config struct {
	Log      Log
	Verifier Verifier
	Tickets  Redeemer
	// Origins are those from which browsers may open sockets, besides the server's own: scheme://host, with the port where it
	// is not the scheme's.
	Origins []string
	// PerNode and PerTenant bound how many sockets this node holds; 0 is 10,000 and 2,500.
	PerNode, PerTenant int
	// Poll is how often a tailer looks for events that nobody has told it of; 0 is half a second.
	Poll time.Duration
	// Positions is how often a socket is told its position; 0 is five seconds.
	Positions time.Duration
	// Heartbeat is how often a client is asked whether it is there, and how long it has to answer; 0 is 30 seconds.
	Heartbeat time.Duration
	// SlowAfter is how long a client may take nothing before it is cut; 0 is four seconds, the most that works.
	SlowAfter time.Duration
	// Logger hears of what goes wrong; nil discards.
	Logger *slog.Logger
	// Metrics, where set, is where the metrics are registered.
	Metrics prometheus.Registerer
}

// Sockets are the open sockets of a node. It is safe for concurrent use.
type Sockets struct {
	config  Config
	metrics *metrics
	// reads bounds the database connections that sockets which are behind take.
	reads chan struct{}
	// life ends with Close's bound; the reading of the log goes by it.
	life context.Context //nolint:containedctx // of sockets, which outlive the requests that opened them
	end  context.CancelFunc

	mu        sync.Mutex
	open      map[*socket]struct{}
	perTenant map[string]int
	reserved  int
	hubs      map[string]*hub
	closed    bool
	running   sync.WaitGroup
}

// New makes Sockets. It fails where the metrics are registered already.
func New(config Config) (*Sockets, error) {
	config.PerNode = cmp.Or(config.PerNode, defaultPerNode)
	config.PerTenant = cmp.Or(config.PerTenant, defaultPerTenant)
	config.Poll = cmp.Or(config.Poll, defaultPoll)
	config.Positions = cmp.Or(config.Positions, defaultPositions)
	config.Heartbeat = cmp.Or(config.Heartbeat, defaultHeartbeat)
	config.SlowAfter = min(cmp.Or(config.SlowAfter, defaultSlowAfter), defaultSlowAfter)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	measured, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	n := &Sockets{
		config: config, metrics: measured, reads: make(chan struct{}, parallelReads),
		open: map[*socket]struct{}{}, perTenant: map[string]int{}, hubs: map[string]*hub{},
	}
	n.life, n.end = context.WithCancel(context.Background())
	return n, nil
}

// Wake tells that a tenant's log has grown, on this node or another one. It is a hint and never blocks.
func (n *Sockets) Wake(tenant string) {
	n.mu.Lock()
	tailer := n.hubs[tenant]
	n.mu.Unlock()
	if tailer != nil {
		tailer.wake()
	}
}

// Close refuses new sockets and ends the open ones with 1001 and their positions. It returns when they have ended, those
// that don't within ctx by force; the error says that there were some.
func (n *Sockets) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	for s := range n.open {
		s.finish(errGoingAway)
	}
	n.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		n.running.Wait()
		close(ended)
	}()
	defer n.end()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	n.mu.Lock()
	for s := range n.open {
		s.abort()
	}
	n.mu.Unlock()
	n.end()
	<-ended
	return fmt.Errorf("close the sockets: %w", context.Cause(ctx))
}

// refusal is why there is no room for a socket.
type refusal int

const (
	roomy refusal = iota
	closing
	nodeFull
	tenantFull
)

// reserve takes a place for a socket of a tenant; release gives it back, unless it has been filled.
func (n *Sockets) reserve(tenant string) refusal {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return closing
	case n.reserved >= n.config.PerNode:
		return nodeFull
	case n.perTenant[tenant] >= n.config.PerTenant:
		return tenantFull
	}
	n.perTenant[tenant]++
	n.reserved++
	n.running.Add(1)
	return roomy
}

func (n *Sockets) release(tenant string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reserved--
	n.perTenant[tenant]--
	if n.perTenant[tenant] == 0 {
		delete(n.perTenant, tenant)
	}
	n.running.Done()
}

// add starts a socket in a place that was reserved.
func (n *Sockets) add(s *socket) {
	n.mu.Lock()
	n.open[s] = struct{}{}
	if n.closed {
		s.finish(errGoingAway)
	}
	n.mu.Unlock()
	n.metrics.open.Inc()
	go s.listen()
	go func() {
		s.run()
		n.leave(s)
		n.mu.Lock()
		delete(n.open, s)
		n.mu.Unlock()
		n.metrics.open.Dec()
		n.release(s.tenant)
	}()
}

// join puts a socket among those that a tailer hands events to, and tells after which position it does.
func (n *Sockets) join(s *socket) (after int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	tailer := n.hubs[s.tenant]
	if tailer == nil {
		tailer = newHub(n, s.tenant, s.at)
		n.hubs[s.tenant] = tailer
	}
	return tailer.add(s)
}

// leave takes a socket from the tailer, which ends with its last one.
func (n *Sockets) leave(s *socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if tailer := n.hubs[s.tenant]; tailer != nil && tailer.remove(s) {
		tailer.stop()
		delete(n.hubs, s.tenant)
	}
}
