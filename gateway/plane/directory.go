package plane

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/archonhq/archon/domain/providers"
)

// How old a snapshot may be. A revoked key stops working within freshWithin plus the time of a look at the log, on every
// node, whether or not nodes can reach each other.
const (
	// refreshAfter is when a call has the snapshot looked after in the background, and goes on with it.
	refreshAfter = 150 * time.Millisecond
	// freshWithin is when a call waits for the look.
	freshWithin = 800 * time.Millisecond
	// healthWithin is how old the providers' health may be.
	healthWithin = 2 * time.Second
	// lookTimeout bounds a look, whoever asked for it.
	lookTimeout = 5 * time.Second
	// maxTenants is how many tenants are kept; beyond it the one that has not called for longest is forgotten.
	maxTenants = 1000
	// firstLooks is how many tenants may be looked for at once of which nothing is known: whoever makes keys up makes
	// tenants up, and must not take the database from those that there are.
	firstLooks = 4
	// patience is how long read tables are waited for, and again once they are known to lag: calls are to go on then.
	patience      = 2 * time.Second
	patienceAgain = 400 * time.Millisecond
)

// Source is where the configuration of tenants comes from.
type Source interface {
	// Changed tells whether a tenant's configuration has changed after a position, and up to which it has looked.
	Changed(ctx context.Context, tenant string, after int64) (changed bool, upTo int64, err error)
	// Load reads the configuration once the read tables show the tenant's log up to a position. Where they don't within
	// patience, it says that it is Lagging.
	Load(ctx context.Context, tenant string, upTo int64, patience time.Duration) (*Configuration, error)
	// Health reads the status of the tenant's providers by id.
	Health(ctx context.Context, tenant string) (map[string]providers.Status, error)
}

// Directory keeps the configuration of the tenants that call in memory, so that a call reads no database for it.
type Directory struct {
	source Source
	now    func() time.Time
	log    *slog.Logger
	first  chan struct{} // has a place for each look for a tenant that is not known

	mu      sync.Mutex
	tenants map[string]*tenantEntry
}

// tenantEntry is what a node knows of a tenant.
type tenantEntry struct {
	snapshot atomic.Pointer[Snapshot]
	used     atomic.Int64 // unix microseconds
	// stale is when the configuration was last changed as far as this node knows, in unix microseconds: what was found out
	// before does not count any more.
	stale atomic.Int64
	// looking holds a token while nobody looks; a channel, so that waiting for the look ends with the caller's context.
	looking chan struct{}
	// failed is the last look, where it failed: those who were waiting for it then don't look again.
	failed atomic.Pointer[failedLook]
}

type failedLook struct {
	at  time.Time
	err error
}

// NewDirectory makes an empty directory.
func NewDirectory(source Source, log *slog.Logger, now func() time.Time) *Directory {
	return &Directory{source: source, log: log, now: now, first: make(chan struct{}, firstLooks), tenants: map[string]*tenantEntry{}}
}

// Get is the tenant's configuration as it was less than a second ago, or after the last change that this node made. A
// tenant that nobody knows has an empty one.
func (d *Directory) Get(ctx context.Context, tenant string) (*Snapshot, error) {
	entry := d.entry(tenant)
	now := d.now()
	known := entry.snapshot.Load()
	if known == nil || now.Sub(known.Checked) > freshWithin || known.Checked.UnixMicro() <= entry.stale.Load() {
		return d.wait(ctx, tenant, entry, now.Add(-freshWithin))
	}
	if now.Sub(known.Checked) > refreshAfter {
		select {
		case <-entry.looking:
			go d.lookBehind(context.WithoutCancel(ctx), tenant, entry)
		default: // somebody does already
		}
	}
	return known, nil
}

// Since is the tenant's configuration as it was at a time, or later.
func (d *Directory) Since(ctx context.Context, tenant string, at time.Time) (*Snapshot, error) {
	entry := d.entry(tenant)
	if known := entry.snapshot.Load(); known != nil && known.Checked.After(at) {
		return known, nil
	}
	return d.wait(ctx, tenant, entry, at)
}

// Changed says that this node has just changed the tenant's configuration.
func (d *Directory) Changed(tenant string) {
	d.mu.Lock()
	entry, found := d.tenants[tenant]
	d.mu.Unlock()
	if found {
		entry.stale.Store(d.now().UnixMicro())
	}
}

func (d *Directory) entry(tenant string) *tenantEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry, found := d.tenants[tenant]
	if !found {
		d.forget()
		entry = &tenantEntry{looking: make(chan struct{}, 1)}
		entry.looking <- struct{}{}
		d.tenants[tenant] = entry
	}
	entry.used.Store(d.now().UnixMicro())
	return entry
}

// forget makes room for one more tenant. It runs under the lock.
func (d *Directory) forget() {
	if len(d.tenants) < maxTenants {
		return
	}
	var idlest string
	oldest := int64(math.MaxInt64)
	for tenant, entry := range d.tenants {
		if used := entry.used.Load(); used < oldest {
			idlest, oldest = tenant, used
		}
	}
	delete(d.tenants, idlest)
}

// drop forgets an entry, unless another one has taken its place.
func (d *Directory) drop(tenant string, entry *tenantEntry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tenants[tenant] == entry {
		delete(d.tenants, tenant)
	}
}

// wait looks, unless somebody else has since a time. It takes no longer than a look may, however many wait for one.
func (d *Directory) wait(ctx context.Context, tenant string, entry *tenantEntry, since time.Time) (*Snapshot, error) {
	asked := d.now()
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	select {
	case <-entry.looking:
	case <-bounded.Done():
		return nil, fmt.Errorf("wait for the configuration: %w", context.Cause(bounded))
	}
	defer func() { entry.looking <- struct{}{} }()
	known := entry.snapshot.Load()
	if known != nil && known.Checked.After(since) && known.Checked.UnixMicro() > entry.stale.Load() {
		return known, nil
	}
	if failed := entry.failed.Load(); failed != nil && failed.at.After(asked) {
		return nil, failed.err
	}
	if known == nil {
		select {
		case d.first <- struct{}{}:
			defer func() { <-d.first }()
		case <-bounded.Done():
			return nil, fmt.Errorf("wait to look for a tenant: %w", context.Cause(bounded))
		}
	}
	// The look serves others too, so it does not end with the one who happened to begin it.
	return d.look(context.WithoutCancel(ctx), tenant, entry)
}

func (d *Directory) lookBehind(ctx context.Context, tenant string, entry *tenantEntry) {
	defer func() { entry.looking <- struct{}{} }()
	if _, err := d.look(ctx, tenant, entry); err != nil {
		d.log.DebugContext(ctx, "configuration not looked after; the next call waits for it", slog.Any("error", err))
	}
}

// look brings the entry's snapshot up to date.
func (d *Directory) look(ctx context.Context, tenant string, entry *tenantEntry) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	next, err := d.seen(ctx, tenant, entry.snapshot.Load())
	if err != nil {
		entry.failed.Store(&failedLook{at: d.now(), err: err})
		return nil, err
	}
	if next.Position == 0 && next.Lagging == nil {
		d.drop(tenant, entry) // nobody has ever written there: most likely a name that somebody made up
	}
	entry.snapshot.Store(next)
	return next, nil
}

// seen is what there is to know of a tenant now, where known was known before.
func (d *Directory) seen(ctx context.Context, tenant string, known *Snapshot) (*Snapshot, error) {
	began := d.now()
	after := int64(0)
	if known != nil {
		after = known.Position
	}
	changed, upTo, err := d.source.Changed(ctx, tenant, after)
	if err != nil {
		return nil, fmt.Errorf("look after the configuration: %w", err)
	}
	if upTo == 0 {
		nothing := newSnapshot(tenant, &Configuration{})
		nothing.Checked, nothing.HealthChecked = began, began
		return nothing, nil
	}
	var next *Snapshot
	if known == nil || changed || known.Lagging != nil {
		patience := patience
		if known != nil && known.Lagging != nil {
			patience = patienceAgain
		}
		configuration, err := d.source.Load(ctx, tenant, upTo, patience)
		if err != nil {
			return nil, fmt.Errorf("load the configuration: %w", err)
		}
		next = newSnapshot(tenant, configuration)
	} else {
		copied := *known
		next = &copied
	}
	next.Position, next.Checked = upTo, began
	if next.Lagging != nil {
		if known == nil || known.Lagging == nil {
			d.log.WarnContext(ctx, "calls go by a configuration that may be old", slog.String("tenant", tenant), slog.Any("error", next.Lagging))
		}
		// Waiting may have taken longer than a snapshot is fresh for; what must not be old was read last.
		next.Position, next.Checked = after, d.now()
	}
	return next, d.lookAtHealth(ctx, next, known, began)
}

func (d *Directory) lookAtHealth(ctx context.Context, next, known *Snapshot, now time.Time) (err error) {
	if known != nil && len(known.Providers) == len(next.Providers) && now.Sub(known.HealthChecked) < healthWithin {
		next.Health, next.HealthChecked = known.Health, known.HealthChecked
		return nil
	}
	if next.Health, err = d.source.Health(ctx, next.Tenant); err != nil {
		return fmt.Errorf("look at the providers' health: %w", err)
	}
	next.HealthChecked = now
	return nil
}
