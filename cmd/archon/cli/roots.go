package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/transparency"
)

// rootsPerEvent keeps an event of a record well below what an event may have: a tenant takes at most 160 bytes.
const rootsPerEvent = 1000

// rootsLog keeps the record of all tenants' roots in a log of its own.
type rootsLog struct {
	// store reads and appends; across sees all tenants' heads.
	store, across *eventstore.Store
	codec         *eventstore.Codec
}

// roots is the record of this node's deployment.
func (n *node) roots() *transparency.Roots {
	log := rootsLog{store: n.store, across: n.acrossTenants(), codec: n.codec}
	return &transparency.Roots{Tenants: log.tenants, Last: log.last, Record: log.record, Now: time.Now}
}

func (r rootsLog) tenants(ctx context.Context) ([]string, time.Time, error) {
	tenants, err := r.across.Tenants(ctx)
	if err != nil {
		return nil, time.Time{}, err //nolint:wrapcheck // says what it did
	}
	since, err := r.across.Oldest(ctx)
	return slices.DeleteFunc(tenants, func(tenant string) bool { return tenant == audit.RootsTenant }), since, err //nolint:wrapcheck // says what it did
}

// last collects the events of the last record, which have its time.
func (r rootsLog) last(ctx context.Context) (time.Time, []string, error) {
	stream := audit.Stream(audit.RootsTenant)
	newest, found, err := r.store.Last(ctx, audit.RootsTenant, stream, audit.RootsRecorded{}.EventType())
	if err != nil || !found {
		return time.Time{}, nil, err //nolint:wrapcheck // says what it did
	}
	record, err := r.decode(&newest)
	if err != nil {
		return time.Time{}, nil, err
	}
	at, tenants := record.At, []string{}
	for version := newest.Version; version > 0; version-- {
		for _, log := range record.Logs {
			tenants = append(tenants, log.Tenant)
		}
		if version == 1 {
			break
		}
		events, err := r.store.Load(ctx, audit.RootsTenant, stream, version-2) // the one before, and what was read already
		if err != nil {
			return time.Time{}, nil, err //nolint:wrapcheck // says what it did
		}
		if len(events) == 0 || events[0].Type != newest.Type {
			break
		}
		if record, err = r.decode(&events[0]); err != nil {
			return time.Time{}, nil, err
		}
		if !record.At.Equal(at) {
			break
		}
	}
	return at, tenants, nil
}

func (r rootsLog) decode(event *eventstore.Recorded) (audit.RootsRecorded, error) {
	payload, err := r.codec.Decode(event.Type, event.Data)
	if err != nil {
		return audit.RootsRecorded{}, fmt.Errorf("read the last record of roots: %w", err)
	}
	record, _ := payload.(audit.RootsRecorded)
	return record, nil
}

func (r rootsLog) record(ctx context.Context, at time.Time, roots []transparency.Root, missing []string) error {
	meta, err := json.Marshal(domain.Meta{Actor: domain.Actor{ID: "checkpoints", Type: domain.System}, CorrelationID: newCorrelationID()})
	if err != nil {
		return fmt.Errorf("encode a record of roots: %w", err)
	}
	request := eventstore.Append{Tenant: audit.RootsTenant, Meta: meta}
	at = at.UTC().Truncate(time.Microsecond)
	for begin := 0; begin == 0 || begin < len(roots); begin += rootsPerEvent {
		event := audit.RootsRecorded{At: at, Logs: []audit.LogRoot{}}
		for _, root := range roots[begin:min(begin+rootsPerEvent, len(roots))] {
			shown := audit.LogRoot{Tenant: root.Tenant, Size: root.Size}
			if root.Size > 0 {
				shown.Root = hex.EncodeToString(root.Root[:])
			}
			event.Logs = append(event.Logs, shown)
		}
		if begin == 0 {
			event.Missing = missing
		}
		encoded, err := r.codec.Encode(audit.Stream(audit.RootsTenant), event)
		if err != nil {
			return fmt.Errorf("encode a record of roots: %w", err)
		}
		request.Events = append(request.Events, encoded)
	}
	_, err = r.store.Append(ctx, request)
	return err //nolint:wrapcheck // says what it did
}
