package readapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/timezone"
)

const (
	// zoneFresh is how long a time zone is taken for a tenant's without a look at the log.
	zoneFresh = 500 * time.Millisecond
	// zoneTimeout bounds a look.
	zoneTimeout = 5 * time.Second
	// maxZones bounds the memory; past it all are forgotten, and looked up again.
	maxZones = 10_000
)

// ZoneLog is the part of the event store that says when a tenant's settings have changed.
type ZoneLog interface {
	Newest(ctx context.Context, tenant string, after int64, types []string) (position, head int64, err error)
	Last(ctx context.Context, tenant, stream, eventType string) (event eventstore.Recorded, found bool, err error)
	Decode(eventType string, data []byte) (eventstore.Typed, error)
}

// TimeZones knows in which time zone each tenant's days, months and quarters begin. It keeps them in memory, where one is
// never older than half a second plus the time of a look at the log, on every node, whether or not nodes can reach each other.
// It is safe for concurrent use.
type TimeZones struct {
	log ZoneLog
	now func() time.Time

	mu    sync.Mutex
	known map[string]*zone
}

// zone is what is known of a tenant.
type zone struct {
	mu       sync.Mutex
	location *time.Location
	// position is that of the log up to which it is known to hold, checked when that was found out.
	position int64
	checked  time.Time
	// failed is when the last look failed and err why, for those who were waiting for it.
	failed time.Time
	err    error
}

// NewTimeZones makes an empty memory.
func NewTimeZones(log ZoneLog, now func() time.Time) *TimeZones {
	return &TimeZones{log: log, now: now, known: map[string]*zone{}}
}

// TimeZone is the tenant's; UTC where it has chosen none. The error is that of the log, where that can't be looked at.
func (z *TimeZones) TimeZone(ctx context.Context, tenant string) (*time.Location, error) {
	known, asked := z.of(tenant), z.now()
	known.mu.Lock()
	defer known.mu.Unlock()
	switch {
	case known.location != nil && asked.Sub(known.checked) < zoneFresh:
		return known.location, nil
	case known.failed.After(asked):
		return nil, known.err
	}
	// The look serves others too, so it does not end with the one who happened to begin it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), zoneTimeout)
	defer cancel()
	location, err := z.look(ctx, tenant, known)
	if err != nil {
		known.failed, known.err = z.now(), err
	}
	return location, err
}

// look brings what is known of a tenant up to date. It runs under the lock of that.
func (z *TimeZones) look(ctx context.Context, tenant string, known *zone) (*time.Location, error) {
	began, changed := z.now(), costsettings.Changed{}.EventType()
	position, head, err := z.log.Newest(ctx, tenant, known.position, []string{changed})
	if err != nil {
		return nil, fmt.Errorf("look after the time zone: %w", err)
	}
	location := known.location
	if location == nil || position > 0 {
		if location, err = z.read(ctx, tenant, changed); err != nil {
			return nil, err
		}
	}
	known.location, known.position, known.checked = location, head, began
	return location, nil
}

// Forget makes the next question look at the log: this node has just changed something of the tenant's.
func (z *TimeZones) Forget(tenant string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.known, tenant)
}

func (z *TimeZones) of(tenant string) *zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	if known, found := z.known[tenant]; found {
		return known
	}
	if len(z.known) >= maxZones {
		clear(z.known)
	}
	known := &zone{}
	z.known[tenant] = known
	return known
}

func (z *TimeZones) read(ctx context.Context, tenant, changed string) (*time.Location, error) {
	settings := costsettings.Default()
	last, found, err := z.log.Last(ctx, tenant, costsettings.Stream, changed)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	if found {
		payload, err := z.log.Decode(last.Type, last.Data)
		if err != nil {
			return nil, fmt.Errorf("read the time zone: %w", err)
		}
		settings = costsettings.Decider().Fold(payload).Current()
	}
	location, err := timezone.Load(settings.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("the tenant's time zone: %w", err)
	}
	return location, nil
}
