package projections

import (
	"time"

	"github.com/google/uuid"
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

func widths() [3]width {
	const day = 24 * time.Hour
	return [...]width{{finest, time.Hour}, {minute, day}, {10 * minute, 7 * day}}
}

// span is how many seconds a row of slots covers.
func (w width) span() int64 { return w.seconds * blockSlots }

// block is span as a duration.
func (w width) block() time.Duration { return time.Duration(w.span()) * time.Second }

// oldest is the earliest start, in seconds since 1970, of a block that is kept when the provider's last sample is newest.
func (w width) oldest(newest time.Time) int64 {
	const almost = time.Second - 1
	return newest.Add(almost - w.keep - w.block()).Unix()
}

func floor(seconds, width int64) int64 { return seconds - ((seconds%width)+width)%width }

// writeCalls adds the batch's calls to the slots.
func (b *healthBatch) writeCalls(out *Statements, all []*telemetry) {
	var blocks blockRows
	var ids []uuid.UUID
	var newest []time.Time
	for _, one := range all {
		if one.newestSample.IsZero() {
			continue
		}
		ids, newest = append(ids, one.id), append(newest, one.newestSample)
		b.takeBlocks(&blocks, one, true)
		blocks.add(one.id, widths()[0], one.fine, one.newestSample)
	}
	if len(ids) == 0 {
		return
	}
	blocks.write(b.tenant, out)
	b.forgetSlots(out, ids, newest)
}

// takeBlocks moves a provider's blocks of all but the finest slots to rows; unless everything is wanted, only those before
// its newest one.
func (b *healthBatch) takeBlocks(rows *blockRows, one *telemetry, everything bool) {
	all := widths()
	minutes := one.minutes.take(all[1].span(), everything)
	for i := range minutes {
		calls := minutes[i]
		calls.start = floor(calls.start, all[2].seconds)
		b.held += one.coarse.add(&calls)
	}
	coarse := one.coarse.take(all[2].span(), everything)
	rows.add(one.id, all[1], minutes, one.newestSample)
	rows.add(one.id, all[2], coarse, one.newestSample)
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

// blockRows are the rows of a batch in provider_health_slots, by column.
type blockRows struct {
	ids              []uuid.UUID
	seconds          []int64
	starts, created  []time.Time
	requests, errors []int64              // blockSlots a row
	latencies        [blockSlots]numerics // one each slot of a block
}

// add puts a provider's slots of one width into blocks. What forgetSlots would drop at once is left out.
func (r *blockRows) add(id uuid.UUID, w width, slots series, newest time.Time) {
	oldest := w.oldest(newest)
	for len(slots) > 0 {
		from := floor(slots[0].start, w.span())
		var block [blockSlots]*slot
		n := 0
		for ; n < len(slots) && slots[n].start < from+w.span(); n++ {
			block[(slots[n].start-from)/w.seconds] = &slots[n]
		}
		slots = slots[n:]
		if from < oldest {
			continue
		}
		r.ids, r.seconds, r.starts = append(r.ids, id), append(r.seconds, w.seconds), append(r.starts, time.Unix(from, 0))
		r.addSlots(&block)
	}
}

func (r *blockRows) addSlots(block *[blockSlots]*slot) {
	var created int64
	for i, s := range block {
		if s == nil {
			s = &slot{}
		} else if created == 0 || s.at < created {
			created = s.at
		}
		r.requests, r.errors = append(r.requests, s.requests), append(r.errors, s.errors)
		r.latencies[i].add(s.latency)
	}
	r.created = append(r.created, time.UnixMicro(created))
}

// write adds the blocks to the table's. The counts of all blocks travel as one flat array, since an array of arrays can't
// be unnested by one level; a slice of it is found by its offset, which with numbers of any length would be a search.
func (r *blockRows) write(tenant string, out *Statements) {
	if len(r.ids) == 0 {
		return
	}
	args := []any{tenant, r.ids, r.seconds, r.starts, r.requests, r.errors, r.created, blockSlots}
	for i := range r.latencies {
		args = append(args, &r.latencies[i])
	}
	out.Exec(`insert into provider_health_slots as s (tenant_id, provider_id, seconds, block_start, requests, errors, latency, created_at)
		select $1, u.provider_id, u.seconds, u.block_start, ($5::bigint[])[(u.i - 1) * $8 + 1 : u.i * $8], ($6::bigint[])[(u.i - 1) * $8 + 1 : u.i * $8],
			array[u.l1, u.l2, u.l3, u.l4, u.l5, u.l6], u.created_at
		from unnest($2::uuid[], $3::integer[], $4::timestamptz[], $7::timestamptz[],
				$9::numeric[], $10::numeric[], $11::numeric[], $12::numeric[], $13::numeric[], $14::numeric[]) with ordinality
			as u(provider_id, seconds, block_start, created_at, l1, l2, l3, l4, l5, l6, i)
		on conflict (tenant_id, provider_id, seconds, block_start) do update set requests = slots_add(s.requests, excluded.requests),
			errors = slots_add(s.errors, excluded.errors), latency = slots_add(s.latency, excluded.latency)`, args...)
}
