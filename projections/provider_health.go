package projections

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
)

// slotSizes are the widths of the slots in which calls are kept, with how long each is kept: fine for the last hour,
// coarse for the last week.
var slotSizes = []struct {
	seconds int
	keep    time.Duration
}{
	{10, time.Hour},
	{60, 24 * time.Hour},
	{600, 7 * 24 * time.Hour},
}

// healthBatch is what a batch of telemetry does to the health tables.
type healthBatch struct {
	tenant  string
	ids     map[string]uuid.UUID
	probes  map[uuid.UUID]probeRow
	history []historyRow
	slots   map[slotKey]*slot
	newest  map[uuid.UUID]time.Time
}

type probeRow struct {
	providers.Probed
	at time.Time
}

type historyRow struct {
	id, provider uuid.UUID
	latency      *float64
	errorRate    *float64
	requests     int64
	status       providers.Status
	at           time.Time
}

type slotKey struct {
	provider uuid.UUID
	seconds  int
	start    time.Time
}

type slot struct {
	requests, errors int64
	latency          providers.Histogram
	at               time.Time
}

func newHealthBatch() *healthBatch {
	return &healthBatch{
		ids: map[string]uuid.UUID{}, probes: map[uuid.UUID]probeRow{}, slots: map[slotKey]*slot{}, newest: map[uuid.UUID]time.Time{},
	}
}

// touch notes that a provider's status may have changed.
func (b *healthBatch) touch(event *Event, providerID string) (uuid.UUID, error) {
	b.tenant = event.Tenant
	id, found := b.ids[providerID]
	if !found {
		var err error
		if id, err = uuid.Parse(providerID); err != nil {
			return id, fmt.Errorf("provider id: %w", err)
		}
		b.ids[providerID] = id
	}
	b.newest[id] = event.Time()
	return id, nil
}

func (b *healthBatch) probed(event *Event, probe providers.Probed) error {
	id, err := b.touch(event, probe.ProviderID)
	if err != nil {
		return err
	}
	first := event.Time()
	if earlier, found := b.probes[id]; found {
		first = earlier.at
	}
	b.probes[id] = probeRow{Probed: probe, at: first}
	latency := float64(probe.LatencyMS)
	b.history = append(b.history, historyRow{
		id: event.EventID, provider: id, latency: &latency, at: probe.CheckedAt,
		status: providers.StatusOf(providers.Health{Tested: true, OK: probe.OK, Failures: probe.Failures}, 0, 0),
	})
	return nil
}

func (b *healthBatch) sampled(event *Event, sample providers.Sampled) error {
	id, err := b.touch(event, sample.ProviderID)
	if err != nil {
		return err
	}
	const percent = 100
	row := historyRow{id: event.EventID, provider: id, requests: sample.Requests, at: sample.To, status: providers.StatusOf(providers.Health{}, sample.Requests, sample.Errors)}
	if sample.Requests > 0 {
		rate := float64(sample.Errors) * percent / float64(sample.Requests)
		row.errorRate = &rate
	}
	if median, ok := sample.Latency.Percentile(0.5); ok {
		row.latency = &median
	}
	b.history = append(b.history, row)
	for _, size := range slotSizes {
		key := slotKey{provider: id, seconds: size.seconds, start: sample.From.UTC().Truncate(time.Duration(size.seconds) * time.Second)}
		s, found := b.slots[key]
		if !found {
			s = &slot{at: event.Time()}
			b.slots[key] = s
		}
		s.requests += sample.Requests
		s.errors += sample.Errors
		s.latency.Merge(sample.Latency)
	}
	return nil
}

func (b *healthBatch) write(out *Statements) {
	if len(b.newest) == 0 {
		return
	}
	b.writeProbes(out)
	b.writeHistory(out)
	b.writeSlots(out)
	b.writeStatus(out)
}

func (b *healthBatch) writeProbes(out *Statements) {
	var ids []uuid.UUID
	var oks []bool
	var failures, models []int
	var latencies []int64
	var texts []string
	var checked, created []time.Time
	for _, id := range sorted(b.probes) {
		row := b.probes[id]
		ids, oks, failures, latencies = append(ids, id), append(oks, row.OK), append(failures, row.Failures), append(latencies, row.LatencyMS)
		models, texts, checked, created = append(models, row.ModelsFound), append(texts, row.Error), append(checked, row.CheckedAt), append(created, row.at)
	}
	if len(ids) == 0 {
		return
	}
	out.Exec(`insert into provider_health (tenant_id, provider_id, ok, failures, latency_ms, models_found, error, last_check_at, created_at)
		select $1, u.* from unnest($2::uuid[], $3::boolean[], $4::integer[], $5::bigint[], $6::integer[], $7::text[], $8::timestamptz[], $9::timestamptz[]) as u
		on conflict (tenant_id, provider_id) do update set ok = excluded.ok, failures = excluded.failures, latency_ms = excluded.latency_ms,
			models_found = excluded.models_found, error = excluded.error, last_check_at = excluded.last_check_at`,
		b.tenant, ids, oks, failures, latencies, models, texts, checked, created)
}

func (b *healthBatch) writeHistory(out *Statements) {
	var ids, owners []uuid.UUID
	var latencies, rates []*float64
	var requests []int64
	var statuses []string
	var times []time.Time
	for i := range b.history {
		row := &b.history[i]
		ids, owners, latencies, rates = append(ids, row.id), append(owners, row.provider), append(latencies, row.latency), append(rates, row.errorRate)
		requests, statuses, times = append(requests, row.requests), append(statuses, string(row.status)), append(times, row.at)
	}
	out.Exec(`insert into provider_health_history (tenant_id, id, provider_id, latency_ms, error_rate_pct, requests_count, status, recorded_at, created_at)
		select $1, u.id, u.provider_id, u.latency_ms, u.error_rate_pct, u.requests, u.status, u.recorded_at, u.recorded_at
		from unnest($2::uuid[], $3::uuid[], $4::double precision[], $5::double precision[], $6::bigint[], $7::text[], $8::timestamptz[])
			as u(id, provider_id, latency_ms, error_rate_pct, requests, status, recorded_at)`,
		b.tenant, ids, owners, latencies, rates, requests, statuses, times)
}

// writeSlots adds the batch's slots to the table's and drops those that have grown too old for their width. The counts of
// all histograms travel as one flat array, since an array of arrays can't be unnested by one level.
func (b *healthBatch) writeSlots(out *Statements) {
	if len(b.slots) == 0 {
		return
	}
	keys := make([]slotKey, 0, len(b.slots))
	for key := range b.slots {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b slotKey) int {
		return cmp.Or(slices.Compare(a.provider[:], b.provider[:]), cmp.Compare(a.seconds, b.seconds), a.start.Compare(b.start))
	})
	var ids []uuid.UUID
	var seconds []int
	var starts, created []time.Time
	var requests, failures, counts []int64
	for _, key := range keys {
		s := b.slots[key]
		ids, seconds, starts, created = append(ids, key.provider), append(seconds, key.seconds), append(starts, key.start), append(created, s.at)
		requests, failures, counts = append(requests, s.requests), append(failures, s.errors), append(counts, s.latency.Counts()...)
	}
	out.Exec(`insert into provider_health_slots as s (tenant_id, provider_id, seconds, slot_start, requests, errors, latency, created_at)
		select $1, u.provider_id, u.seconds, u.slot_start, u.requests, u.errors, ($7::bigint[])[(u.i - 1) * $8 + 1 : u.i * $8], u.created_at
		from unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::bigint[], $6::bigint[], $9::timestamptz[]) with ordinality
			as u(provider_id, seconds, slot_start, requests, errors, created_at, i)
		on conflict (tenant_id, provider_id, seconds, slot_start) do update set requests = s.requests + excluded.requests,
			errors = s.errors + excluded.errors, latency = histogram_add(s.latency, excluded.latency)`,
		b.tenant, ids, seconds, starts, requests, failures, counts, providers.Buckets, created)
	for _, size := range slotSizes {
		ids, newest := b.touched()
		out.Exec(`delete from provider_health_slots s using unnest($2::uuid[], $3::timestamptz[]) as u(provider_id, newest)
			where s.tenant_id = $1 and s.provider_id = u.provider_id and s.seconds = $4 and s.slot_start < u.newest - make_interval(secs => $5)`,
			b.tenant, ids, newest, size.seconds, size.keep.Seconds())
	}
}

// writeStatus sets the status of every provider in the batch as of its last event, so that it does not depend on where a
// batch ended.
func (b *healthBatch) writeStatus(out *Statements) {
	ids, newest := b.touched()
	out.Exec(`update model_providers p set health_status = provider_health_status(h.ok, coalesce(h.failures, 0), coalesce(c.requests, 0), coalesce(c.errors, 0))
		from unnest($2::uuid[], $3::timestamptz[]) as u(provider_id, newest)
		left join provider_health h on h.tenant_id = $1 and h.provider_id = u.provider_id
		left join lateral (
			select sum(s.requests)::bigint as requests, sum(s.errors)::bigint as errors from provider_health_slots s
			where s.tenant_id = $1 and s.provider_id = u.provider_id and s.seconds = 10
				and s.slot_start > u.newest - make_interval(secs => $4) and s.slot_start <= u.newest) c on true
		where p.tenant_id = $1 and p.id = u.provider_id`,
		b.tenant, ids, newest, providers.StatusWindow.Seconds())
}

func (b *healthBatch) touched() ([]uuid.UUID, []time.Time) {
	ids := sorted(b.newest)
	times := make([]time.Time, len(ids))
	for i, id := range ids {
		times[i] = b.newest[id]
	}
	return ids, times
}

// sorted lists the keys in one order on every node, so that two never lock the same rows in opposite orders.
func sorted[V any](rows map[uuid.UUID]V) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
