// Package costcheck holds the ledger of calls and the sums of days against a fresh fold of the log: `archon costs check`.
//
// Its invariant: it reads the tables in one snapshot and the log up to the position that they had reached in it, so that
// what is recorded meanwhile is no difference, and a difference is always one.
package costcheck

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

// Checker checks tenants. It writes nothing.
type Checker struct {
	// Pool's sessions may read the tables of any tenant once app.tenant_id is set.
	Pool *pgxpool.Pool
	Log  *eventstore.Store
}

// Report is what a check came to.
type Report struct {
	// Position is how far the ledger is, Head the log.
	Position, Head int64
	// Calls and Spend, a decimal of USD, are the ledger's according to the log, Unpriced the calls that have no price.
	Calls, Unpriced int64
	Spend           string
	// Adjustments are the differences that were booked because calls were priced again, Adjusted how much of Spend they are.
	Adjustments int64
	Adjusted    string
	// Differences is how many were told.
	Differences int64
}

// pageSize is how many events and rows are read at once.
const pageSize = 2000

// Check checks a tenant and tells every difference, a line each.
func (c *Checker) Check(ctx context.Context, tenant string, tell func(difference string)) (Report, error) {
	check := &check{tenant: tenant, log: c.Log, codec: eventcodec.New(), tell: tell, fold: newFold()}
	head, err := c.Log.Head(ctx, tenant)
	if err != nil {
		return Report{}, fmt.Errorf("read the head: %w", err)
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, c.Pool, snapshot, func(tx pgx.Tx) error { return check.run(ctx, tx) })
	if err != nil {
		return Report{}, fmt.Errorf("check the costs of %s: %w", tenant, err)
	}
	report := check.report
	report.Head = max(head.Position, report.Position)
	report.Calls, report.Unpriced, report.Spend = check.fold.calls, check.fold.unpriced, decimal(check.fold.spend)
	report.Adjustments, report.Adjusted = check.fold.adjustments, decimal(check.fold.adjusted)
	return report, nil
}

// check is the check of one tenant.
type check struct {
	tenant string
	log    *eventstore.Store
	codec  *eventstore.Codec
	tell   func(difference string)
	fold   *fold
	report Report
	// corrections are those that the log has so far.
	corrections corrections
}

func (c *check) differf(format string, args ...any) {
	c.report.Differences++
	c.tell(fmt.Sprintf(format, args...))
}

func (c *check) run(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, c.tenant); err != nil {
		return err //nolint:wrapcheck // wrapped by Check
	}
	err := tx.QueryRow(ctx, `select coalesce(max(position), 0) from projection_checkpoints where tenant_id = $1 and projection = $2 and version = $3`,
		c.tenant, projections.LedgerName, projections.Ledger{}.Version()).Scan(&c.report.Position)
	if err != nil {
		return fmt.Errorf("read how far the ledger is: %w", err)
	}
	if err := c.checkRows(ctx, tx); err != nil {
		return err
	}
	if err := c.checkDays(ctx, tx); err != nil {
		return err
	}
	return c.checkExecutions(ctx, tx)
}

// checkRows walks through log and ledger side by side, in the order of positions.
func (c *check) checkRows(ctx context.Context, tx pgx.Tx) error {
	rows := &ledger{tx: tx, tenant: c.tenant}
	if err := rows.open(ctx); err != nil {
		return err
	}
	if err := c.openAdjustments(ctx, tx); err != nil {
		return err
	}
	for after := int64(0); after < c.report.Position; {
		events, err := c.log.Read(ctx, c.tenant, after, pageSize)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if len(events) == 0 {
			c.differf("the ledger is at position %d, and the log ends at %d", c.report.Position, after)
			break
		}
		for i := range events {
			if after = events[i].Position; after > c.report.Position {
				break
			}
			if err := c.checkEvent(ctx, &events[i], rows); err != nil {
				return err
			}
		}
	}
	if err := c.passRows(ctx, rows, 0); err != nil {
		return err
	}
	return c.checkCorrections(ctx, tx)
}

func (c *check) checkEvent(ctx context.Context, event *eventstore.Recorded, rows *ledger) error {
	if event.Type != (usage.Recorded{}).EventType() && event.Type != (costs.CallRepriced{}).EventType() {
		return nil
	}
	payload, err := c.codec.Decode(event.Type, event.Data)
	if err != nil {
		c.differf("position %d: the event can't be decoded: %v", event.Position, err)
		return nil
	}
	if repriced, is := payload.(costs.CallRepriced); is {
		return c.checkRepriced(ctx, event, &repriced)
	}
	recorded, ok := payload.(usage.Recorded)
	if !ok || !projections.Ledgered(&recorded) {
		return nil // a row of it will be found to be one too many
	}
	call, err := projections.CallOf(&recorded, event.Position, event.Time())
	if err != nil {
		c.differf("position %d: the event can't be booked: %v", event.Position, err)
		return nil
	}
	c.fold.add(&call)
	if err := c.passRows(ctx, rows, event.Position); err != nil {
		return err
	}
	row, found, err := rows.peek(ctx)
	if err != nil {
		return err
	}
	if !found || row.position != event.Position {
		c.differf("position %d: the ledger lacks call %s", event.Position, call.ID)
		return nil
	}
	for _, one := range row.differences(&call) {
		c.differf("position %d: %s is %s in the ledger, and %s in the log", event.Position, one.column, one.have, one.want)
	}
	rows.pass()
	return nil
}

// passRows tells the ledger's rows before a position, which no event stands behind; 0 stands for all of them.
func (c *check) passRows(ctx context.Context, rows *ledger, before int64) error {
	for {
		row, found, err := rows.peek(ctx)
		if err != nil || !found || (before > 0 && row.position >= before) {
			return err
		}
		c.differf("position %d: the ledger has call %s of %s USD, and the log has none there", row.position, row.id, row.cost)
		rows.pass()
	}
}

// decimal is an amount in 10⁻¹⁰ USD as PostgreSQL writes a numeric with ten places.
func decimal(units *big.Int) string {
	digits := new(big.Int).Abs(units).String()
	const places = 10
	for len(digits) <= places {
		digits = "0" + digits
	}
	text := digits[:len(digits)-places] + "." + digits[len(digits)-places:]
	if units.Sign() < 0 {
		return "-" + text
	}
	return text
}

// errCursor says that a row does not have the columns that were asked for: a fault of this package.
var errCursor = errors.New("a row of the ledger can't be read")
