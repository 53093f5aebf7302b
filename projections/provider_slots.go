package projections

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
)

const (
	// finest is the width of the narrowest slots, in seconds; the others are multiples of it.
	finest = 10
	// minute is the width of the slots that history shows.
	minute = 60
	// blockSlots is how many slots a row of provider_health_slots holds.
	blockSlots = 6
)

// width is a width of slots with how long slots of it are kept: fine for the last hour, coarse for the last week.
type width struct {
	seconds int64
	keep    time.Duration
}

func widths() []width {
	const day = 24 * time.Hour
	return []width{{finest, time.Hour}, {minute, day}, {10 * minute, 7 * day}}
}

// slot is what the calls of some seconds came to.
type slot struct {
	requests, errors int64
	latency          providers.Histogram
	at               time.Time // when the first event about it occurred
}

func (s *slot) add(other *slot) {
	s.requests += other.requests
	s.errors += other.errors
	s.latency.Merge(&other.latency)
}

func floor(seconds, width int64) int64 { return seconds - ((seconds%width)+width)%width }

// coarser adds slots up into wider ones.
func coarser(slots map[int64]*slot, seconds int64) map[int64]*slot {
	wide := make(map[int64]*slot, len(slots)/blockSlots+1)
	for start, s := range slots {
		into := floor(start, seconds)
		w, found := wide[into]
		if !found {
			w = &slot{at: s.at}
			wide[into] = w
		}
		if s.at.Before(w.at) {
			w.at = s.at
		}
		w.add(s)
	}
	return wide
}

// writeCalls adds the batch's calls to the slots and to history.
func (b *healthBatch) writeCalls(out *Statements, all []*telemetry) {
	var blocks blockRows
	var minutes minuteRows
	var ids []uuid.UUID
	var newest []time.Time
	for _, one := range all {
		if len(one.calls) == 0 {
			continue
		}
		ids, newest = append(ids, one.id), append(newest, one.newestSample)
		slots := one.calls
		for _, w := range widths() {
			if w.seconds != finest {
				slots = coarser(slots, w.seconds)
			}
			if w.seconds == minute {
				minutes.add(one.id, slots)
			}
			blocks.add(one.id, w, slots, one.newestSample)
		}
	}
	if len(ids) == 0 {
		return
	}
	minutes.write(b.tenant, out)
	blocks.write(b.tenant, out)
	b.forgetSlots(out, ids, newest)
}

// forgetSlots drops blocks whose slots are all too old for their width, as of the provider's last sample. They are looked
// up one by one in the primary key: as a join, PostgreSQL would read the whole table. The checkpoint's lock keeps the
// addresses of rows as they are.
func (b *healthBatch) forgetSlots(out *Statements, ids []uuid.UUID, newest []time.Time) {
	var seconds []int64
	var keep []float64
	for _, w := range widths() {
		seconds, keep = append(seconds, w.seconds), append(keep, (w.keep+w.block()).Seconds())
	}
	out.Exec(`delete from provider_health_slots where ctid = any(array(
			select s.ctid from unnest($2::uuid[], $3::timestamptz[]) as u(provider_id, newest)
			cross join unnest($4::integer[], $5::double precision[]) as w(seconds, keep)
			cross join lateral (
				select o.ctid from provider_health_slots o where o.tenant_id = $1 and o.provider_id = u.provider_id
					and o.seconds = w.seconds and o.block_start < u.newest - make_interval(secs => w.keep) offset 0) s))`,
		b.tenant, ids, newest, seconds, keep)
}

// block is the time that a row of slots covers.
func (w width) block() time.Duration { return time.Duration(w.seconds*blockSlots) * time.Second }

// blockRows are the rows of a batch in provider_health_slots, by column.
type blockRows struct {
	ids              []uuid.UUID
	seconds          []int64
	starts, created  []time.Time
	requests, errors []int64 // blockSlots a row
	latencies        []string
}

// add puts a provider's slots of one width into blocks. What forgetSlots would drop at once is left out.
func (r *blockRows) add(id uuid.UUID, w width, slots map[int64]*slot, newest time.Time) {
	span := w.seconds * blockSlots
	blocks := map[int64]*[blockSlots]*slot{}
	oldest := newest.Add(-w.keep - w.block())
	for start, s := range slots {
		from := floor(start, span)
		if time.Unix(from, 0).Before(oldest) {
			continue
		}
		if blocks[from] == nil {
			blocks[from] = &[blockSlots]*slot{}
		}
		blocks[from][(start-from)/w.seconds] = s
	}
	starts := make([]int64, 0, len(blocks))
	for start := range blocks {
		starts = append(starts, start)
	}
	slices.Sort(starts)
	for _, start := range starts {
		r.ids, r.seconds, r.starts = append(r.ids, id), append(r.seconds, w.seconds), append(r.starts, time.Unix(start, 0))
		r.addSlots(blocks[start])
	}
}

func (r *blockRows) addSlots(block *[blockSlots]*slot) {
	var created time.Time
	latencies := make([]string, blockSlots)
	for i, s := range block {
		if s == nil {
			s = &slot{}
		} else if created.IsZero() || s.at.Before(created) {
			created = s.at
		}
		r.requests, r.errors = append(r.requests, s.requests), append(r.errors, s.errors)
		latencies[i] = s.latency.Number()
	}
	r.created, r.latencies = append(r.created, created), append(r.latencies, "{"+strings.Join(latencies, ",")+"}")
}

// write adds the blocks to the table's. The counts of all blocks travel as one flat array, since an array of arrays can't
// be unnested by one level.
func (r *blockRows) write(tenant string, out *Statements) {
	if len(r.ids) == 0 {
		return
	}
	out.Exec(`insert into provider_health_slots as s (tenant_id, provider_id, seconds, block_start, requests, errors, latency, created_at)
		select $1, u.provider_id, u.seconds, u.block_start, ($5::bigint[])[(u.i - 1) * $9 + 1 : u.i * $9], ($6::bigint[])[(u.i - 1) * $9 + 1 : u.i * $9],
			u.latency::numeric[], u.created_at
		from unnest($2::uuid[], $3::integer[], $4::timestamptz[], $7::text[], $8::timestamptz[]) with ordinality
			as u(provider_id, seconds, block_start, latency, created_at, i)
		on conflict (tenant_id, provider_id, seconds, block_start) do update set requests = slots_add(s.requests, excluded.requests),
			errors = slots_add(s.errors, excluded.errors), latency = slots_add(s.latency, excluded.latency)`,
		tenant, r.ids, r.seconds, r.starts, r.requests, r.errors, r.latencies, r.created, blockSlots)
}

// minuteRows are the calls of a batch in provider_health_history, by column.
type minuteRows struct {
	ids, owners                    []uuid.UUID
	times                          []time.Time
	requests, errors, timed, total []int64
}

// add takes a provider's slots of a minute. A row's id follows from provider and minute, whichever event comes first.
func (r *minuteRows) add(provider uuid.UUID, slots map[int64]*slot) {
	starts := make([]int64, 0, len(slots))
	for start := range slots {
		starts = append(starts, start)
	}
	slices.SortFunc(starts, cmp.Compare)
	for _, start := range starts {
		s, at := slots[start], time.Unix(start, 0).UTC()
		r.ids, r.owners = append(r.ids, uuid.NewSHA1(provider, []byte(at.Format(time.RFC3339)))), append(r.owners, provider)
		r.times, r.requests, r.errors = append(r.times, at), append(r.requests, s.requests), append(r.errors, s.errors)
		r.timed, r.total = append(r.timed, s.latency.Total()), append(r.total, s.latency.TotalMS())
	}
}

func (r *minuteRows) write(tenant string, out *Statements) {
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
