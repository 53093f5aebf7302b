package costcheck

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

// corrections are what calls cost after they were priced again, according to the log.
type corrections struct {
	// calls has the last correction of a call, by the call's position, and booked the sums of cost_adjusted_days.
	calls  map[int64]correction
	booked map[bookedKey]*bookedSum
	// prices has each price once, since many calls have the same.
	prices map[string]string
	parts  *adjustmentRows
}

// correction are the corrected columns of a row of the ledger; price is JSON.
type correction struct{ position, cost, priced, price string }

type bookedKey struct{ day, on string }

type bookedSum struct {
	spend *big.Int
	count int64
}

// adjustmentColumns are those of cost_adjustments as text, behind the key, in the order of expectedPart; null is empty.
const adjustmentColumns = `call_id::text, (extract(epoch from started_at) * 1000000)::bigint::text, repricing_id::text, coalesce(provider_id::text, ''), model,
	coalesce(key_id::text, ''), user_id, coalesce(department_id, ''), coalesce(agent_id, ''), difference_usd::text, newly_priced::text, old_cost_usd::text,
	new_cost_usd::text, (extract(epoch from occurred_at) * 1000000)::bigint::text, (extract(epoch from created_at) * 1000000)::bigint::text`

// adjustmentNames are the names of adjustmentColumns.
func adjustmentNames() []string {
	return []string{
		"call_id", "started_at", "repricing_id", "provider_id", "model", "key_id", "user_id", "department_id", "agent_id", "difference_usd", "newly_priced",
		"old_cost_usd", "new_cost_usd", "occurred_at", "created_at",
	}
}

// expectedPart are the columns of a part of a difference.
func expectedPart(a *projections.Adjustment, part *projections.AdjustedPart) []string {
	micros := func(at time.Time) string { return number(at.UnixMicro()) }
	return []string{
		a.CallID.String(), micros(a.StartedAt), a.Repricing.String(), id(part.Provider), part.Model, id(a.Key), a.User, a.Department, a.Agent,
		part.Difference.String(), strconv.FormatBool(part.NewlyPriced), a.Old.String(), a.New.String(), micros(a.BookedAt), micros(a.BookedAt),
	}
}

// openAdjustments begins to walk through cost_adjustments.
func (c *check) openAdjustments(ctx context.Context, tx pgx.Tx) error {
	c.corrections = corrections{
		calls: map[int64]correction{}, booked: map[bookedKey]*bookedSum{}, prices: map[string]string{}, parts: &adjustmentRows{tx: tx},
	}
	return c.corrections.parts.open(ctx)
}

// checkRepriced holds a difference of the log against its rows, and adds it to the fold.
func (c *check) checkRepriced(ctx context.Context, event *eventstore.Recorded, repriced *costs.CallRepriced) error {
	a, err := projections.AdjustmentOf(repriced, event.Position, event.Time())
	if err != nil {
		c.differf("position %d: the difference can't be booked: %v", event.Position, err)
		return nil
	}
	c.fold.adjust(&a, repriced)
	known := c.corrections.calls[a.CallPosition]
	known.position, known.cost, known.priced = number(a.Position), a.New.String(), strconv.FormatBool(a.Priced)
	if len(a.Price) > 0 {
		price := string(a.Price)
		if same, found := c.corrections.prices[price]; found {
			price = same
		} else {
			c.corrections.prices[price] = price
		}
		known.price = price
	}
	c.corrections.calls[a.CallPosition] = known
	key := bookedKey{a.Day().Format(time.DateOnly), a.BookedOn().Format(time.DateOnly)}
	if c.corrections.booked[key] == nil {
		c.corrections.booked[key] = &bookedSum{spend: new(big.Int)}
	}
	booked := c.corrections.booked[key]
	booked.count++
	for i := range a.Parts {
		booked.spend.Add(booked.spend, big.NewInt(int64(a.Parts[i].Difference)))
		if err := c.checkPart(ctx, &a, &a.Parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) checkPart(ctx context.Context, a *projections.Adjustment, part *projections.AdjustedPart) error {
	want := adjustmentRow{position: a.Position, call: a.CallPosition, part: part.Part}
	if err := c.passParts(ctx, &want); err != nil {
		return err
	}
	row, found, err := c.corrections.parts.peek(ctx)
	if err != nil {
		return err
	}
	if !found || row.compare(&want) != 0 {
		c.differf("%s: the table of differences lacks it", &want)
		return nil
	}
	expected := expectedPart(a, part)
	for i, name := range adjustmentNames() {
		if row.columns[i] != expected[i] {
			c.differf("%s: %s is %s in the table of differences, and %s in the log", &want, name, shown(row.columns[i]), shown(expected[i]))
		}
	}
	c.corrections.parts.pass()
	return nil
}

// passParts tells the rows before one, which no event stands behind; nil stands for all of them.
func (c *check) passParts(ctx context.Context, before *adjustmentRow) error {
	for {
		row, found, err := c.corrections.parts.peek(ctx)
		if err != nil || !found || (before != nil && row.compare(before) >= 0) {
			return err
		}
		c.differf("%s: the table of differences has it, and the log has none there", row)
		c.corrections.parts.pass()
	}
}

// checkCorrections holds what is left against the log: what the ledger says that calls cost now, what was booked by day, and
// whether each difference begins where what was known of its call before ended.
func (c *check) checkCorrections(ctx context.Context, tx pgx.Tx) error {
	if err := c.passParts(ctx, nil); err != nil {
		return err
	}
	for _, one := range []func(context.Context, pgx.Tx) error{c.checkCorrected, c.checkBooked, c.checkChains} {
		if err := one(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) checkCorrected(ctx context.Context, tx pgx.Tx) error {
	left := maps.Clone(c.corrections.calls)
	err := each(ctx, tx, "what calls cost now", `select recorded_position, coalesce(corrected_position::text, ''), coalesce(corrected_cost_usd::text, ''),
			coalesce(corrected_priced::text, ''), coalesce(corrected_price::text, '')
		from token_ledger where tenant_id = $1 and (corrected_position is not null or corrected_cost_usd is not null or corrected_priced is not null
			or corrected_price is not null) order by recorded_position`, c.tenant, func(rows pgx.Rows) error {
		var position int64
		var have correction
		if err := rows.Scan(&position, &have.position, &have.cost, &have.priced, &have.price); err != nil {
			return err //nolint:wrapcheck // wrapped by each
		}
		want := left[position]
		delete(left, position)
		for _, one := range [...][3]string{
			{"corrected_position", have.position, want.position},
			{"corrected_cost_usd", have.cost, want.cost},
			{"corrected_priced", have.priced, want.priced},
			{"corrected_price", have.price, want.price},
		} {
			if one[1] != one[2] && (one[0] != "corrected_price" || !sameJSON(one[1], one[2])) {
				c.differf("position %d: %s is %s in the ledger, and %s in the log", position, one[0], shown(one[1]), shown(one[2]))
			}
		}
		return nil
	})
	for _, position := range slices.Sorted(maps.Keys(left)) {
		c.differf("position %d: the ledger does not say that the call costs %s USD now", position, left[position].cost)
	}
	return err
}

func (c *check) checkBooked(ctx context.Context, tx pgx.Tx) error {
	left := maps.Clone(c.corrections.booked)
	err := each(ctx, tx, "what was booked by day", `select day::text, booked_on::text, spend_usd::text, count from cost_adjusted_days where tenant_id = $1 order by day, booked_on`,
		c.tenant, func(rows pgx.Rows) error {
			var key bookedKey
			var spend string
			var count int64
			if err := rows.Scan(&key.day, &key.on, &spend, &count); err != nil {
				return err //nolint:wrapcheck // wrapped by each
			}
			want := left[key]
			delete(left, key)
			if want == nil {
				want = &bookedSum{spend: new(big.Int)}
			}
			if decimal(want.spend) != spend || want.count != count {
				c.differf("%s, booked on %s: %d differences of %s USD in the sums, and the log comes to %d of %s", key.day, key.on, count, spend, want.count, decimal(want.spend))
			}
			return nil
		})
	for _, key := range slices.SortedFunc(maps.Keys(left), func(a, b bookedKey) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.on, b.on)) }) {
		c.differf("%s, booked on %s: the sums lack it; the log comes to %s USD", key.day, key.on, decimal(left[key].spend))
	}
	return err
}

// checkChains looks at differences and calls side by side: both are the log's by now, so what does not fit was booked wrongly.
func (c *check) checkChains(ctx context.Context, tx pgx.Tx) error {
	return each(ctx, tx, "differences with their calls", `with booked as (
			select call_position, recorded_position, min(call_id::text) as call_id, min(started_at) as started_at, min(key_id::text) as key_id, min(user_id) as user_id,
				min(department_id) as department_id, min(agent_id) as agent_id, min(old_cost_usd) as old, min(new_cost_usd) as new, sum(difference_usd) as difference
			from cost_adjustments where tenant_id = $1 group by call_position, recorded_position),
		chained as (select b.*, lag(new) over (partition by call_position order by recorded_position) as before from booked b)
		select c.recorded_position, c.call_position, case
			when l.tenant_id is null then 'there is no such call'
			when l.id::text <> c.call_id or l.key_id::text is distinct from c.key_id or l.user_id <> c.user_id or l.department_id is distinct from c.department_id
				or l.agent_id is distinct from c.agent_id then 'the call is on another account'
			when c.old <> coalesce(c.before, l.cost_usd, 0) then 'it begins at ' || c.old || ' USD, and the call had come to ' || coalesce(c.before, l.cost_usd, 0)
			when c.new <> c.old + c.difference then 'it ends at ' || c.new || ' USD, and the call has come to ' || c.old + c.difference end
		from chained c left join token_ledger l on l.tenant_id = $1 and l.started_at = c.started_at and l.recorded_position = c.call_position
		order by 1`, c.tenant, func(rows pgx.Rows) error {
		var position, call int64
		var wrong *string
		if err := rows.Scan(&position, &call, &wrong); err != nil {
			return err //nolint:wrapcheck // wrapped by each
		}
		if wrong != nil {
			c.differf("position %d: the difference of the call at position %d does not fit: %s", position, call, *wrong)
		}
		return nil
	})
}

// each reads rows of a tenant.
func each(ctx context.Context, tx pgx.Tx, what, sql, tenant string, row func(rows pgx.Rows) error) error {
	rows, err := tx.Query(ctx, sql, tenant)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return fmt.Errorf("read %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// adjustmentRow is a row of cost_adjustments.
type adjustmentRow struct {
	position, call int64
	part           int
	columns        []string
}

func (r *adjustmentRow) compare(other *adjustmentRow) int {
	return cmp.Or(cmp.Compare(r.position, other.position), cmp.Compare(r.call, other.call), cmp.Compare(r.part, other.part))
}

// String names the row.
func (r *adjustmentRow) String() string {
	return fmt.Sprintf("position %d: the difference of the call at position %d, attempt %d", r.position, r.call, r.part+1)
}

// adjustmentRows reads the rows of a tenant in the order of positions, page by page.
type adjustmentRows struct {
	tx    pgx.Tx
	page  []adjustmentRow
	ended bool
}

func (l *adjustmentRows) open(ctx context.Context) error {
	_, err := l.tx.Exec(ctx, `declare adjustments no scroll cursor for select recorded_position, call_position, part, `+adjustmentColumns+`
		from cost_adjustments where tenant_id = current_setting('app.tenant_id') order by recorded_position, call_position, part`)
	if err != nil {
		return fmt.Errorf("read the differences: %w", err)
	}
	return nil
}

// peek is the next row; found is false behind the last one.
func (l *adjustmentRows) peek(ctx context.Context) (*adjustmentRow, bool, error) {
	if len(l.page) == 0 && !l.ended {
		rows, err := l.tx.Query(ctx, `fetch `+strconv.Itoa(pageSize)+` from adjustments`)
		if err != nil {
			return nil, false, fmt.Errorf("read the differences: %w", err)
		}
		if l.page, err = pgx.CollectRows(rows, scanAdjustment); err != nil {
			return nil, false, fmt.Errorf("read the differences: %w", err)
		}
		l.ended = len(l.page) < pageSize
	}
	if len(l.page) == 0 {
		return nil, false, nil
	}
	return &l.page[0], true, nil
}

func (l *adjustmentRows) pass() { l.page = l.page[1:] }

func scanAdjustment(from pgx.CollectableRow) (adjustmentRow, error) {
	r := adjustmentRow{columns: make([]string, len(adjustmentNames()))}
	into := []any{&r.position, &r.call, &r.part}
	for i := range r.columns {
		into = append(into, &r.columns[i])
	}
	if err := from.Scan(into...); err != nil {
		return r, fmt.Errorf("%w: %w", errCursor, err)
	}
	return r, nil
}
