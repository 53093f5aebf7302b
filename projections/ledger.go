package projections

import (
	"fmt"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
)

// LedgerName is the name of the projection of what calls have consumed and cost.
const LedgerName = "ledger"

// Ledger builds token_ledger, cost_daily and cost_executions, and of differences cost_adjustments and cost_adjusted_days. It
// folds a batch in memory: ledger rows are inserted in the order of the log, and each row of cost_daily is written once a
// batch, in the order of its primary key, and once more where there are differences.
type Ledger struct{}

var (
	_ Folder      = Ledger{}
	_ Rebuildable = Ledger{}
	_ rowTaker    = Ledger{}
)

// Name implements Projector.
func (Ledger) Name() string { return LedgerName }

// Version implements Projector.
func (Ledger) Version() int { return 1 }

// Tables implements Rebuildable.
func (Ledger) Tables() []string {
	return []string{"token_ledger", "cost_daily", "cost_executions", "cost_adjustments", "cost_adjusted_days"}
}

// Handles implements Projector.
func (Ledger) Handles() []string {
	return []string{usage.Recorded{}.EventType(), costs.CallRepriced{}.EventType()}
}

// RowType implements rowTaker.
func (Ledger) RowType() string { return ledgerRowType }

// Project implements Projector.
func (l Ledger) Project(events []Event, out *Statements) error {
	fold := l.Fold()
	for i := range events {
		event := events[i]
		event.Payload = pointer(event.Payload)
		if err := fold.Add(&event); err != nil {
			return err //nolint:wrapcheck // it is our own
		}
	}
	fold.Write(out)
	return nil
}

// Fold implements Folder.
func (Ledger) Fold() Fold {
	return &ledgerFold{rows: newLedgerRows(0), days: map[dayKey]*daySum{}, executions: map[executionKey]*firstCall{}}
}

type ledgerFold struct {
	tenant     string
	rows       ledgerRows
	held       int
	days       map[dayKey]*daySum
	executions map[executionKey]*firstCall
	// adjusted are the differences of calls that were priced again.
	adjusted adjustments
}

// Bytes that a row of a kind takes in memory, about.
const (
	daySumBytes       = 200
	executionRowBytes = 200
)

// Add implements Fold.
func (f *ledgerFold) Add(event *Event) error {
	if repriced, is := event.Payload.(*costs.CallRepriced); is {
		bytes, err := f.adjusted.add(event, repriced)
		f.held += bytes
		return err
	}
	recorded, ok := event.Payload.(*usage.Recorded)
	if !ok || !Ledgered(recorded) {
		return nil
	}
	call, err := CallOf(recorded, event.Position, event.Time())
	if err != nil {
		return fmt.Errorf("project position %d: %w", event.Position, err)
	}
	f.tenant = event.Tenant
	before := len(f.rows.rows.elements)
	f.rows.add(&call)
	f.held += len(f.rows.rows.elements) - before
	f.sum(&call)
	return nil
}

// Bytes implements Fold.
func (f *ledgerFold) Bytes() int {
	return f.held + len(f.days)*daySumBytes + len(f.executions)*executionRowBytes + f.adjusted.bytes()
}

// Part implements Fold.
func (f *ledgerFold) Part(out *Statements) {
	f.rows.write(f.tenant, out)
	f.rows = newLedgerRows(len(f.rows.rows.elements)) // the next part has about as many
	f.adjusted.writeRows(out)
}

// Write implements Fold.
func (f *ledgerFold) Write(out *Statements) {
	f.Part(out)
	f.writeDays(out)
	f.writeExecutions(out)
	f.adjusted.writeSums(out)
}
