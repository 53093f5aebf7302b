package projections

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
)

// healthBatch is what a batch of telemetry does to the health tables.
type healthBatch struct {
	tenant    string
	providers map[string]*telemetry
	probes    []probeRow
	// scratch holds a sample's calls while they are added.
	scratch providers.Counts
	// held is about how many bytes probes and calls of all providers take, written or not.
	held int
}

// telemetry is a batch's news of one provider.
type telemetry struct {
	id uuid.UUID
	// newest is when its last event occurred, newestSample its last sample, if there is one.
	newest, newestSample time.Time
	probe                *providers.Probed
	probedFirst          time.Time
	// calls are in slots of each width that have not been written: the finest as far back as these are kept, minutes, and
	// minutes added up.
	fine, minutes, coarse series
	// history are the minutes that history lacks.
	history []minuteOfCalls
}

// rowBytes is about what a row of history takes before it is sent.
const rowBytes = 128

type probeRow struct {
	id, provider uuid.UUID
	latency      float64
	status       providers.Status
	at           time.Time
}

func newHealthBatch() *healthBatch { return &healthBatch{providers: map[string]*telemetry{}} }

// bytes is about how much memory the batch takes.
func (b *healthBatch) bytes() int {
	const providerBytes = 1024
	return len(b.providers)*providerBytes + b.held
}

// of notes that a provider's status may have changed.
func (b *healthBatch) of(event *Event, providerID string) (*telemetry, error) {
	b.tenant = event.Tenant
	one, found := b.providers[providerID]
	if !found {
		id, err := uuid.Parse(providerID)
		if err != nil {
			return nil, fmt.Errorf("provider id: %w", err)
		}
		one = &telemetry{id: id}
		b.providers[providerID] = one
	}
	one.newest = event.Time()
	return one, nil
}

func (b *healthBatch) probed(event *Event, probe *providers.Probed) error {
	one, err := b.of(event, probe.ProviderID)
	if err != nil {
		return err
	}
	if one.probe == nil {
		one.probedFirst, one.probe = event.Time(), &providers.Probed{}
	}
	*one.probe = *probe
	b.held += rowBytes
	b.probes = append(b.probes, probeRow{
		id: event.EventID, provider: one.id, latency: float64(probe.LatencyMS), at: probe.CheckedAt,
		status: providers.StatusOf(providers.Health{Tested: true, OK: probe.OK, Failures: probe.Failures}, 0, 0),
	})
	return nil
}

func (b *healthBatch) sampled(event *Event, sample *providers.Sampled) error {
	one, err := b.of(event, sample.ProviderID)
	if err != nil {
		return err
	}
	one.newestSample = event.Time()
	b.scratch = sample.Latency.AppendCounts(b.scratch[:0])
	calls := slot{
		start: floor(sample.From.Unix(), finest), at: event.OccurredAt, requests: sample.Requests, errors: sample.Errors, latency: b.scratch,
	}
	fine := widths()[0]
	if oldest := fine.oldest(one.newestSample); floor(calls.start, fine.span()) >= oldest {
		b.held += one.fine.add(&calls)
		b.held -= one.fine.forget(oldest, fine.span())
	}
	calls.start = floor(calls.start, minute)
	b.held += one.minutes.add(&calls)
	timed, totalMS := b.scratch.Total()
	b.held += one.addHistory(minuteOfCalls{start: calls.start, requests: sample.Requests, errors: sample.Errors, timed: timed, totalMS: totalMS})
	return nil
}

// part writes what is complete, unless a sample comes late: minutes, and blocks of the wider slots. The finest ones wait,
// since most of them are forgotten before a long batch ends.
func (b *healthBatch) part(out *Statements) {
	all := b.sorted()
	b.writeHistory(out, all, false)
	var blocks blockRows
	for _, one := range all {
		b.takeBlocks(&blocks, one, false)
	}
	blocks.write(b.tenant, out)
}

func (b *healthBatch) write(out *Statements) {
	if len(b.providers) == 0 {
		return
	}
	all := b.sorted()
	b.writeHistory(out, all, true)
	b.writeProbes(out, all)
	b.writeCalls(out, all)
	b.writeStatus(out, all)
}

func (b *healthBatch) writeProbes(out *Statements, all []*telemetry) {
	var ids []uuid.UUID
	var oks []bool
	var failures, models []int
	var latencies []int64
	var texts []string
	var checked, created []time.Time
	for _, one := range all {
		if row := one.probe; row != nil {
			ids, oks, failures, latencies = append(ids, one.id), append(oks, row.OK), append(failures, row.Failures), append(latencies, row.LatencyMS)
			models, texts, checked, created = append(models, row.ModelsFound), append(texts, row.Error), append(checked, row.CheckedAt), append(created, one.probedFirst)
		}
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

// writeStatus sets the status of every provider in the batch as of its last event, so that it does not depend on where a
// batch ended.
func (b *healthBatch) writeStatus(out *Statements, all []*telemetry) {
	ids, newest := make([]uuid.UUID, len(all)), make([]time.Time, len(all))
	for i, one := range all {
		ids[i], newest[i] = one.id, one.newest
	}
	out.Exec(`update model_providers p set health_status = provider_health_status(h.ok, coalesce(h.failures, 0), coalesce(c.requests, 0), coalesce(c.errors, 0))
		from unnest($2::uuid[], $3::timestamptz[]) as u(provider_id, newest)
		left join provider_health h on h.tenant_id = $1 and h.provider_id = u.provider_id
		left join lateral (
			select sum(r.requests)::bigint as requests, sum(r.errors)::bigint as errors
			from provider_health_slots s cross join lateral unnest(s.requests, s.errors) with ordinality as r(requests, errors, i)
			where s.tenant_id = $1 and s.provider_id = u.provider_id and s.seconds = $5
				and s.block_start > u.newest - make_interval(secs => $4 + $5 * $6) and s.block_start <= u.newest
				and s.block_start + make_interval(secs => $5 * (r.i - 1)) > u.newest - make_interval(secs => $4)
				and s.block_start + make_interval(secs => $5 * (r.i - 1)) <= u.newest) c on true
		where p.tenant_id = $1 and p.id = u.provider_id`,
		b.tenant, ids, newest, providers.StatusWindow.Seconds(), int(finest), blockSlots)
}

// sorted lists the providers in one order on every node, so that two never lock the same rows in opposite orders.
func (b *healthBatch) sorted() []*telemetry {
	all := make([]*telemetry, 0, len(b.providers))
	for _, one := range b.providers {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *telemetry) int { return slices.Compare(a.id[:], b.id[:]) })
	return all
}
