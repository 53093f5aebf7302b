package projections

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
)

// Adjustment is a difference as the ledger has it: what a call costs more than was booked for it.
type Adjustment struct {
	// Position is that of the event, CallPosition that of the call.
	Position, CallPosition int64
	CallID, Repricing      uuid.UUID
	StartedAt, BookedAt    time.Time
	// Key is nil where there was none; empty text stands for none likewise.
	Key                     *uuid.UUID
	User, Department, Agent string
	// Old and New are what was and is known of the call's cost, Priced whether New is all of it.
	Old, New domain.Amount
	Priced   bool
	// Price is the JSON of the price of the attempt that answered, nil where there is none.
	Price []byte
	Parts []AdjustedPart
}

// AdjustedPart is the part of a difference that belongs to an attempt of the call.
type AdjustedPart struct {
	// Part counts the attempts that consumed something, from 0.
	Part int
	// Provider is nil where there was none.
	Provider   *uuid.UUID
	Model      string
	Difference domain.Amount
	// NewlyPriced says that the attempt had no price until then.
	NewlyPriced bool
}

// AdjustmentOf is the difference that an event books. It fails on what no repricing writes: ids that are none.
func AdjustmentOf(repriced *costs.CallRepriced, position int64, at time.Time) (Adjustment, error) {
	a := Adjustment{
		Position: position, CallPosition: repriced.Position, StartedAt: repriced.StartedAt.UTC().Truncate(time.Microsecond), BookedAt: at,
		User: bounded(repriced.UserID), Department: bounded(repriced.DepartmentID), Agent: bounded(repriced.AgentID),
		Old: repriced.OldCost, New: repriced.NewCost, Priced: repriced.Priced,
	}
	if len(repriced.Price) > 0 && string(repriced.Price) != "null" {
		a.Price = repriced.Price
	}
	var err error
	if a.CallID, err = uuid.Parse(repriced.CallID); err != nil {
		return Adjustment{}, fmt.Errorf("call_id: %w", err)
	}
	if a.Repricing, err = uuid.Parse(repriced.RepricingID); err != nil {
		return Adjustment{}, fmt.Errorf("repricing_id: %w", err)
	}
	if a.Key, err = optionalID(repriced.KeyID); err != nil {
		return Adjustment{}, fmt.Errorf("key_id: %w", err)
	}
	for i, part := range repriced.Parts {
		if part.Difference() == 0 && !part.NewlyPriced() {
			continue
		}
		provider, err := optionalID(part.ProviderID)
		if err != nil {
			return Adjustment{}, fmt.Errorf("provider_id: %w", err)
		}
		a.Parts = append(a.Parts, AdjustedPart{
			Part: i, Provider: provider, Model: bounded(part.Model), Difference: part.Difference(), NewlyPriced: part.NewlyPriced(),
		})
	}
	return a, nil
}

// Day is the day (UTC) that the difference belongs to: the one on which the call began.
func (a *Adjustment) Day() time.Time { return costs.DayOf(a.StartedAt) }

// BookedOn is the day (UTC) on which the difference was booked.
func (a *Adjustment) BookedOn() time.Time { return costs.DayOf(a.BookedAt) }

// adjustments are what a batch's differences do to the ledger's tables.
type adjustments struct {
	tenant string
	// pending are those whose rows are yet to be written.
	pending []Adjustment
	days    map[dayKey]*adjustedDay
	booked  map[bookedKey]*adjustedDay
}

type bookedKey struct{ day, on time.Time }

// adjustedDay is what a batch's differences come to in a row of sums. Dollars and the rest below one are apart, as in daySum.
type adjustedDay struct {
	dollars         int64
	rest            domain.Amount
	count, unpriced int64
	// last is the position of the last of them, first when the first was booked.
	last  int64
	first time.Time
}

// Bytes that a difference takes in memory, about: as rows, and as a sum.
const (
	adjustmentBytes  = 700
	adjustedDayBytes = 200
)

func (s *adjustments) bytes() int { return (len(s.days) + len(s.booked)) * adjustedDayBytes }

// add takes a difference and returns how much memory its rows take.
func (s *adjustments) add(event *Event, repriced *costs.CallRepriced) (int, error) {
	a, err := AdjustmentOf(repriced, event.Position, event.Time())
	if err != nil {
		return 0, fmt.Errorf("project position %d: %w", event.Position, err)
	}
	if s.days == nil {
		s.days, s.booked = map[dayKey]*adjustedDay{}, map[bookedKey]*adjustedDay{}
	}
	s.tenant = event.Tenant
	s.pending = append(s.pending, a)
	day := a.Day()
	rowOf(s.booked, bookedKey{day, a.BookedOn()}, &a).count++
	for i := range a.Parts {
		part := &a.Parts[i]
		rowOf(s.booked, bookedKey{day, a.BookedOn()}, &a).add(part)
		for _, one := range [...][2]string{
			{dimensionTotal, ""},
			{dimensionProvider, idText(part.Provider)},
			{dimensionModel, part.Model},
			{dimensionDepartment, a.Department},
			{dimensionAgent, a.Agent},
			{dimensionUser, a.User},
			{dimensionKey, idText(a.Key)},
		} {
			rowOf(s.days, dayKey{dimension: one[0], day: day, key: one[1]}, &a).add(part)
		}
	}
	return adjustmentBytes + len(a.Price), nil
}

func rowOf[K comparable](rows map[K]*adjustedDay, key K, a *Adjustment) *adjustedDay {
	row, found := rows[key]
	if !found {
		row = &adjustedDay{first: a.BookedAt}
		rows[key] = row
	}
	row.last = a.Position
	return row
}

func (d *adjustedDay) add(part *AdjustedPart) {
	d.dollars += int64(part.Difference / domain.USD)
	d.rest += part.Difference % domain.USD
	if part.NewlyPriced {
		d.unpriced--
	}
}

// writeRows writes what need not wait for the end of the batch. The calls' rows must be there.
func (s *adjustments) writeRows(out *Statements) {
	if len(s.pending) == 0 {
		return
	}
	s.writeCorrections(out)
	s.writeParts(out)
	s.pending = nil
}

// writeCorrections writes what calls cost now beside what was recorded. Of several differences of a call the last one
// counts: an update would take any of them.
//
// The planner knows nothing of how many rows there are. So that he neither reads all of the tenant's ledger for each batch, nor
// all of the batch for each row, the moments of the calls bound what is read, and it is hashed.
func (s *adjustments) writeCorrections(out *Statements) {
	last := map[int64]*Adjustment{}
	for i := range s.pending {
		last[s.pending[i].CallPosition] = &s.pending[i]
	}
	order := slices.Sorted(maps.Keys(last))
	n := len(order)
	started, positions, units := make([]time.Time, n), make([]int64, n), make([]int64, n)
	priced, prices := make([]bool, n), make([]*string, n)
	for i, call := range order {
		a := last[call]
		started[i], positions[i], units[i], priced[i], prices[i] = a.StartedAt, a.Position, int64(a.New), a.Priced, nullable(string(a.Price))
	}
	out.Exec(`select set_config('enable_nestloop', 'off', true)`)
	out.Exec(`update token_ledger l set corrected_cost_usd = u.cost::numeric * 0.0000000001, corrected_priced = u.priced,
			corrected_price = coalesce(u.price::jsonb, l.corrected_price), corrected_position = u.position
		from unnest($2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[], $7::text[]) as u(started, call, position, cost, priced, price)
		where l.tenant_id = $1 and l.started_at between $8 and $9 and l.started_at = any($2) and l.started_at = u.started and l.recorded_position = u.call`,
		s.tenant, started, order, positions, units, priced, prices, slices.MinFunc(started, time.Time.Compare), slices.MaxFunc(started, time.Time.Compare))
	out.Exec(`select set_config('enable_nestloop', 'on', true)`)
}

func (s *adjustments) writeParts(out *Statements) {
	var calls, positions, differences, olds, news []int64
	var parts []int32
	var ids, repricings []uuid.UUID
	var started, booked []time.Time
	var providers, keys []pgtype.UUID
	var models, users []string
	var departments, agents []*string
	var newly []bool
	for i := range s.pending {
		a := &s.pending[i]
		for _, part := range a.Parts {
			calls, positions, parts = append(calls, a.CallPosition), append(positions, a.Position), append(parts, int32(part.Part)) //nolint:gosec // as many as attempts
			ids, repricings, started = append(ids, a.CallID), append(repricings, a.Repricing), append(started, a.StartedAt)
			providers, models, keys = append(providers, encodableID(part.Provider)), append(models, part.Model), append(keys, encodableID(a.Key))
			users, departments, agents = append(users, a.User), append(departments, nullable(a.Department)), append(agents, nullable(a.Agent))
			differences, newly = append(differences, int64(part.Difference)), append(newly, part.NewlyPriced)
			olds, news, booked = append(olds, int64(a.Old)), append(news, int64(a.New)), append(booked, a.BookedAt)
		}
	}
	out.Exec(`insert into cost_adjustments (tenant_id, call_position, recorded_position, part, call_id, started_at, repricing_id, provider_id, model, key_id,
			user_id, department_id, agent_id, difference_usd, newly_priced, old_cost_usd, new_cost_usd, occurred_at, created_at)
		select $1, u.call, u.position, u.part, u.id, u.started, u.repricing, u.provider, u.model, u.key, u.owner, u.department, u.agent,
			u.difference::numeric * 0.0000000001, u.newly, u.old::numeric * 0.0000000001, u.new::numeric * 0.0000000001, u.booked, u.booked
		from unnest($2::bigint[], $3::bigint[], $4::integer[], $5::uuid[], $6::timestamptz[], $7::uuid[], $8::uuid[], $9::text[], $10::uuid[], $11::text[],
				$12::text[], $13::text[], $14::bigint[], $15::boolean[], $16::bigint[], $17::bigint[], $18::timestamptz[])
			as u(call, position, part, id, started, repricing, provider, model, key, owner, department, agent, difference, newly, old, new, booked)`,
		s.tenant, calls, positions, parts, ids, started, repricings, providers, models, keys, users, departments, agents, differences, newly, olds, news, booked)
}

// writeSums adds the differences to the sums of days, in the order of their keys.
func (s *adjustments) writeSums(out *Statements) {
	if len(s.booked) == 0 {
		return
	}
	s.writeDays(out)
	order := slices.SortedFunc(maps.Keys(s.booked), func(a, b bookedKey) int {
		if byDay := a.day.Compare(b.day); byDay != 0 {
			return byDay
		}
		return a.on.Compare(b.on)
	})
	n := len(order)
	days, on, first := make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
	dollars, rests, counts := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, key := range order {
		sum := s.booked[key]
		days[i], on[i], dollars[i], rests[i], counts[i], first[i] = key.day, key.on, sum.dollars, int64(sum.rest), sum.count, sum.first
	}
	out.Exec(`insert into cost_adjusted_days as c (tenant_id, day, booked_on, spend_usd, count, created_at)
		select $1, u.day, u.booked, u.dollars + u.rest::numeric * 0.0000000001, u.count, u.first
		from unnest($2::date[], $3::date[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[]) as u(day, booked, dollars, rest, count, first)
		on conflict (tenant_id, day, booked_on) do update set spend_usd = c.spend_usd + excluded.spend_usd, count = c.count + excluded.count`,
		s.tenant, days, on, dollars, rests, counts, first)
}

// writeDays adds to rows that are there, since the calls are in them; inserting them finds each by its key.
func (s *adjustments) writeDays(out *Statements) {
	order := slices.SortedFunc(maps.Keys(s.days), dayKey.compare)
	n := len(order)
	dimensions, keys, days := make([]string, n), make([]string, n), make([]time.Time, n)
	dollars, rests, unpriced, lasts, firsts := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]time.Time, n)
	for i, key := range order {
		sum := s.days[key]
		lasts[i], firsts[i] = sum.last, sum.first
		dimensions[i], days[i], keys[i] = key.dimension, key.day, key.key
		dollars[i], rests[i], unpriced[i] = sum.dollars, int64(sum.rest), sum.unpriced
	}
	out.Exec(`insert into cost_daily as c (tenant_id, dimension, day, key, spend_usd, prompt_tokens, completion_tokens, requests, unpriced, adjusted_usd,
			first_position, last_position, created_at)
		select $1, u.dimension, u.day, u.key, u.dollars + u.rest::numeric * 0.0000000001, 0, 0, 0, u.unpriced, u.dollars + u.rest::numeric * 0.0000000001, u.last, u.last, u.first
		from unnest($2::text[], $3::date[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::timestamptz[])
			as u(dimension, day, key, dollars, rest, unpriced, last, first)
		on conflict (tenant_id, dimension, day, key) do update set spend_usd = c.spend_usd + excluded.spend_usd,
			adjusted_usd = c.adjusted_usd + excluded.adjusted_usd, unpriced = c.unpriced + excluded.unpriced`,
		s.tenant, dimensions, days, keys, dollars, rests, unpriced, lasts, firsts)
}

// encodableID is an id, or null, in the form that pgx encodes without reflection.
func encodableID(id *uuid.UUID) pgtype.UUID {
	if id == nil {
		return pgtype.UUID{}
	}
	return pgtype.UUID{Bytes: *id, Valid: true}
}

// nullable is nil for no text.
func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
