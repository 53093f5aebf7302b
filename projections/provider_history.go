package projections

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// minuteOfCalls is what the calls of a minute came to, as history has it.
type minuteOfCalls struct {
	start            int64 // in seconds since 1970
	requests, errors int64
	// timed is how many calls have a latency, and totalMS about how long they took together.
	timed, totalMS int64
}

// addHistory adds calls to the minute that they are about, and returns about how many bytes more history takes.
func (t *telemetry) addHistory(calls minuteOfCalls) (bytes int) {
	at := len(t.history) - 1 // the newest one, as a rule
	if at < 0 || t.history[at].start != calls.start {
		var found bool
		at, found = slices.BinarySearchFunc(t.history, calls.start, func(one minuteOfCalls, start int64) int { return cmp.Compare(one.start, start) })
		if !found {
			t.history = slices.Insert(t.history, at, calls)
			return rowBytes
		}
	}
	into := &t.history[at]
	into.requests += calls.requests
	into.errors += calls.errors
	into.timed += calls.timed
	into.totalMS += calls.totalMS
	return 0
}

// writeHistory adds the probes and minutes of providers to history that it lacks. Unless everything is wanted, the newest
// minute of each stays back, since the next sample may be about it too.
func (b *healthBatch) writeHistory(out *Statements, all []*telemetry, everything bool) {
	b.writeProbeHistory(out)
	var minutes minuteRows
	for _, one := range all {
		end := len(one.history)
		if !everything && end > 0 {
			end--
		}
		for _, calls := range one.history[:end] {
			minutes.add(one.id, calls)
		}
		one.history = slices.Delete(one.history, 0, end)
	}
	minutes.write(b.tenant, out)
}

func (b *healthBatch) writeProbeHistory(out *Statements) {
	if len(b.probes) == 0 {
		return
	}
	slices.SortStableFunc(b.probes, func(a, b probeRow) int { // so that neighbours go to the same page
		return cmp.Or(slices.Compare(a.provider[:], b.provider[:]), a.at.Compare(b.at))
	})
	ids, owners := make([]uuid.UUID, len(b.probes)), make([]uuid.UUID, len(b.probes))
	latencies, statuses, times := make([]float64, len(b.probes)), make([]string, len(b.probes)), make([]time.Time, len(b.probes))
	for i, row := range b.probes {
		ids[i], owners[i], latencies[i], statuses[i], times[i] = row.id, row.provider, row.latency, string(row.status), row.at
	}
	out.Exec(`insert into provider_health_history (tenant_id, id, provider_id, latency_ms, requests_count, status, recorded_at, created_at)
		select $1, u.id, u.provider_id, u.latency_ms, 0, u.status, u.recorded_at, u.recorded_at
		from unnest($2::uuid[], $3::uuid[], $4::double precision[], $5::text[], $6::timestamptz[])
			as u(id, provider_id, latency_ms, status, recorded_at)`,
		b.tenant, ids, owners, latencies, statuses, times)
	b.probes = b.probes[:0]
}

// minuteRows are the calls of a batch in provider_health_history, by column.
type minuteRows struct {
	ids, owners                    []uuid.UUID
	times                          []time.Time
	requests, errors, timed, total []int64
}

// add takes a minute of a provider. A row's id follows from provider and minute, whichever event comes first.
func (r *minuteRows) add(provider uuid.UUID, calls minuteOfCalls) {
	at := time.Unix(calls.start, 0).UTC()
	r.ids, r.owners = append(r.ids, uuid.NewSHA1(provider, []byte(at.Format(time.RFC3339)))), append(r.owners, provider)
	r.times, r.requests, r.errors = append(r.times, at), append(r.requests, calls.requests), append(r.errors, calls.errors)
	r.timed, r.total = append(r.timed, calls.timed), append(r.total, calls.totalMS)
}

func (r *minuteRows) write(tenant string, out *Statements) {
	if len(r.ids) == 0 {
		return
	}
	out.Exec(`insert into provider_health_history as h (tenant_id, id, provider_id, recorded_at, created_at, requests_count, errors_count,
			timed_count, timed_total_ms, latency_ms, error_rate_pct, status)
		select $1, u.id, u.provider_id, u.at, u.at, u.requests, u.errors, u.timed, u.total,
			u.total::float8 / nullif(u.timed, 0), u.errors::float8 * 100 / nullif(u.requests, 0), provider_health_status(null, 0, u.requests, u.errors)
		from unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
			as u(id, provider_id, at, requests, errors, timed, total)
		on conflict (tenant_id, provider_id, recorded_at, id) do update set requests_count = h.requests_count + excluded.requests_count,
			errors_count = h.errors_count + excluded.errors_count, timed_count = h.timed_count + excluded.timed_count,
			timed_total_ms = h.timed_total_ms + excluded.timed_total_ms,
			latency_ms = (h.timed_total_ms + excluded.timed_total_ms)::float8 / nullif(h.timed_count + excluded.timed_count, 0),
			error_rate_pct = (h.errors_count + excluded.errors_count)::float8 * 100 / nullif(h.requests_count + excluded.requests_count, 0),
			status = provider_health_status(null, 0, h.requests_count + excluded.requests_count, h.errors_count + excluded.errors_count)`,
		tenant, r.ids, r.owners, r.times, r.requests, r.errors, r.timed, r.total)
}
