package plane

import (
	"context"
	"fmt"
	"log/slog"
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
	// forgetAfter is when a tenant that calls nothing is forgotten; maxTenants is when forgetting begins.
	forgetAfter = 10 * time.Minute
	maxTenants  = 1000
)

// Source is where the configuration of tenants comes from.
type Source interface {
	// Changed tells whether a tenant's configuration has changed after a position, and up to which it has looked.
	Changed(ctx context.Context, tenant string, after int64) (changed bool, upTo int64, err error)
	// Load reads the configuration once the read tables show the tenant's log up to a position.
	Load(ctx context.Context, tenant string, upTo int64) (*Configuration, error)
	// Health reads the status of the tenant's providers by id.
	Health(ctx context.Context, tenant string) (map[string]providers.Status, error)
}

// Directory keeps the configuration of the tenants that call in memory, so that a call reads no database for it.
type Directory struct {
	source Source
	now    func() time.Time
	log    *slog.Logger

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
}

// NewDirectory makes an empty directory.
func NewDirectory(source Source, log *slog.Logger, now func() time.Time) *Directory {
	return &Directory{source: source, log: log, now: now, tenants: map[string]*tenantEntry{}}
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

// forget drops tenants that have not called for a while, and where that is not enough, any: a made-up key names a made-up
// tenant. It runs under the lock.
func (d *Directory) forget() {
	if len(d.tenants) < maxTenants {
		return
	}
	oldest := d.now().Add(-forgetAfter).UnixMicro()
	for tenant, entry := range d.tenants {
		if entry.used.Load() < oldest {
			delete(d.tenants, tenant)
		}
	}
	for tenant := range d.tenants {
		if len(d.tenants) < maxTenants {
			return
		}
		delete(d.tenants, tenant)
	}
}

// wait looks, unless somebody else has since a time.
func (d *Directory) wait(ctx context.Context, tenant string, entry *tenantEntry, since time.Time) (*Snapshot, error) {
	select {
	case <-entry.looking:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the configuration: %w", context.Cause(ctx))
	}
	defer func() { entry.looking <- struct{}{} }()
	known := entry.snapshot.Load()
	if known != nil && known.Checked.After(since) && known.Checked.UnixMicro() > entry.stale.Load() {
		return known, nil
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
	known := entry.snapshot.Load()
	began := d.now()
	after := int64(0)
	if known != nil {
		after = known.Position
	}
	changed, upTo, err := d.source.Changed(ctx, tenant, after)
	if err != nil {
		return nil, fmt.Errorf("look after the configuration: %w", err)
	}
	var next *Snapshot
	if known == nil || changed {
		configuration, err := d.source.Load(ctx, tenant, upTo)
		if err != nil {
			return nil, fmt.Errorf("load the configuration: %w", err)
		}
		next = newSnapshot(tenant, configuration)
	} else {
		copied := *known
		next = &copied
	}
	next.Position, next.Checked = upTo, began
	if err := d.lookAtHealth(ctx, next, known, began); err != nil {
		return nil, err
	}
	entry.snapshot.Store(next)
	return next, nil
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
