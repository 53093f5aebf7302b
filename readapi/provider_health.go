package readapi

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/httpx"
)

// Shares of the calls whose latency is shown.
const (
	median = 0.50
	p95    = 0.95
	p99    = 0.99
)

// callCounts is what calls came to over some time.
type callCounts struct {
	requests, errors int64
	latency          providers.Histogram
}

func (c *callCounts) add(other *callCounts) {
	c.requests += other.requests
	c.errors += other.errors
	c.latency.Merge(&other.latency)
}

// percentile is nil where there were no calls.
func (c *callCounts) percentile(share float64) *float64 {
	milliseconds, ok := c.latency.Percentile(share)
	if !ok {
		return nil
	}
	return rounded(milliseconds)
}

func (c *callCounts) errorRate() *float64 {
	if c.requests == 0 {
		return nil
	}
	const percent = 100
	return rounded(float64(c.errors) * percent / float64(c.requests))
}

// rounded keeps two decimals: the histogram's buckets are far wider.
func rounded(value float64) *float64 {
	const hundredths = 100
	value = math.Round(value*hundredths) / hundredths
	return &value
}

// slotRow is a slot that had calls, or what slots came to together. Latency is a histogram's number.
type slotRow struct {
	ProviderID       uuid.UUID
	SlotStart        time.Time
	Requests, Errors int64
	Latency          string
}

func (s *slotRow) counts() (*callCounts, error) {
	latency, err := providers.FromNumber(s.Latency)
	if err != nil {
		return nil, fmt.Errorf("read the slots of %s: %w", s.ProviderID, err)
	}
	return &callCounts{requests: s.Requests, errors: s.Errors, latency: latency}, nil
}

// window is a period that health is shown for, and the width of the slots it is made of.
type window struct {
	length time.Duration
	slot   time.Duration
}

func windowOf(name *api.Window) window {
	if name == nil {
		return window{time.Hour, 10 * time.Second}
	}
	switch *name {
	case api.HealthWindowN24H:
		return window{24 * time.Hour, time.Minute}
	case api.HealthWindowN7D:
		return window{7 * 24 * time.Hour, 10 * time.Minute}
	default:
		return window{time.Hour, 10 * time.Second}
	}
}

// slotsOf lists the slots since $4 that had calls, of providers $2 and of width $3. A row of the table is a block of six.
const slotsOf = `select s.provider_id, s.block_start + make_interval(secs => $3 * (r.i - 1)) as slot_start, r.requests, r.errors, r.latency
	from unnest($2::uuid[]) as p(id)
	cross join lateral (
		select b.provider_id, b.block_start, b.requests, b.errors, b.latency from provider_health_slots b
		where b.tenant_id = $1 and b.provider_id = p.id and b.seconds = $3 and b.block_start > $4::timestamptz - make_interval(secs => $3 * 6)) s
	cross join lateral unnest(s.requests, s.errors, s.latency) with ordinality as r(requests, errors, latency, i)
	where r.requests > 0 and s.block_start + make_interval(secs => $3 * (r.i - 1)) > $4`

// recentSlot is the width of the slots that the present status is made of.
const recentSlot = 10 * time.Second

// recentCalls sums the calls of the last StatusWindow by provider.
func (p *Providers) recentCalls(ctx context.Context, tenant string, rows []providerRow) (map[uuid.UUID]callCounts, error) {
	sums, err := p.slots(ctx, tenant, rows, window{providers.StatusWindow, recentSlot}, `select provider_id, max(slot_start) as slot_start,
		sum(requests)::bigint as requests, sum(errors)::bigint as errors, sum(latency)::text as latency
		from (`+slotsOf+`) s group by provider_id`)
	if err != nil {
		return nil, err
	}
	calls := map[uuid.UUID]callCounts{}
	for i := range sums {
		counts, err := sums[i].counts()
		if err != nil {
			return nil, err
		}
		calls[sums[i].ProviderID] = *counts
	}
	return calls, nil
}

// slots runs a query about slotsOf these providers and this window.
func (p *Providers) slots(ctx context.Context, tenant string, rows []providerRow, w window, sql string) ([]slotRow, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]uuid.UUID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	return query[slotRow](ctx, p.Database, tenant, sql, ids, int(w.slot/time.Second), p.Now().Add(-w.length))
}

// GetProviderHealth implements api.StrictServerInterface.
func (p *Providers) GetProviderHealth(ctx context.Context, request api.GetProviderHealthRequestObject) (api.GetProviderHealthResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	row, err := p.row(ctx, tenant, request.ID)
	if err != nil {
		return nil, err
	}
	health, err := p.healthOf(ctx, tenant, []providerRow{row}, windowOf(request.Params.Window))
	if err != nil {
		return nil, err
	}
	return api.GetProviderHealth200JSONResponse{Data: health[0], Meta: httpx.Meta(ctx)}, nil
}

// ListProviderHealth implements api.StrictServerInterface.
func (p *Providers) ListProviderHealth(ctx context.Context, request api.ListProviderHealthRequestObject) (api.ListProviderHealthResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	rows, page, err := p.page(ctx, tenant, request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	health, err := p.healthOf(ctx, tenant, rows, windowOf(request.Params.Window))
	if err != nil {
		return nil, err
	}
	return api.ListProviderHealth200JSONResponse{Data: health, Meta: page.meta(ctx)}, nil
}

func (p *Providers) healthOf(ctx context.Context, tenant string, rows []providerRow, w window) ([]api.ProviderHealth, error) {
	recent, err := p.recentCalls(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	slots, err := p.slots(ctx, tenant, rows, w, `select provider_id, slot_start, requests, errors, latency::text from (`+slotsOf+`) s order by provider_id, slot_start`)
	if err != nil {
		return nil, err
	}
	breakers, err := p.breakers(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	totals := map[uuid.UUID]*callCounts{}
	history := map[uuid.UUID][]api.HealthPoint{}
	for i := range slots {
		s := &slots[i]
		counts, err := s.counts()
		if err != nil {
			return nil, err
		}
		if totals[s.ProviderID] == nil {
			totals[s.ProviderID] = &callCounts{}
		}
		totals[s.ProviderID].add(counts)
		history[s.ProviderID] = append(history[s.ProviderID], counts.point(s.SlotStart, w.slot))
	}
	list := make([]api.ProviderHealth, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		total := totals[row.ID]
		if total == nil {
			total = &callCounts{}
		}
		list = append(list, api.ProviderHealth{
			ProviderID: row.ID.String(), CurrentStatus: api.HealthStatus(row.status(recent[row.ID])),
			LatencyMsP50: total.percentile(median), LatencyMsP95: total.percentile(p95), LatencyMsP99: total.percentile(p99),
			ErrorRatePct: total.errorRate(), RequestsPerMinute: *rounded(float64(total.requests) / w.length.Minutes()),
			LastCheckAt: utc(row.LastCheckAt), History: append([]api.HealthPoint{}, history[row.ID]...),
			CircuitBreaker: breakers[row.ID],
		})
	}
	return list, nil
}

func (c *callCounts) point(start time.Time, width time.Duration) api.HealthPoint {
	return api.HealthPoint{
		Timestamp: start.UTC(), LatencyP50: c.percentile(median), ErrorRate: c.errorRate(),
		RPM: *rounded(float64(c.requests) / width.Minutes()),
	}
}

// utc is how times are shown, wherever the server stands.
func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	shown := at.UTC()
	return &shown
}
