package eventstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// selectWindow is how many positions one statement looks at where the selection does not name a single stream: a filter
// that nothing fits must not read a whole log at once.
const selectWindow = 20_000

// Selection says which events of a tenant's chain are wanted.
type Selection struct {
	// After is the position that the first one comes after.
	After int64
	// UpTo, where not 0, is the last position that is looked at.
	UpTo int64
	// Streams and Types select by name.
	Streams, Types Names
	// Limit is the most events there may be, at least 1. MaxBytes, where not 0, ends them once their data and meta exceed
	// it; the one that does so is among them.
	Limit, MaxBytes int
}

// Selected is a stretch of the chain.
type Selected struct {
	// Events are those that were selected, in order.
	Events []Recorded
	// UpTo is how far the stretch goes: of the positions after Selection.After and up to it, Events has every event that was
	// to be selected. It is no less than Selection.After, and grows from call to call until it is Head.
	UpTo int64
	// Head was the last position of the chain at that moment.
	Head int64
}

// Select returns the next events of the tenant's chain that a selection lets through. It looks at a bounded number of
// positions, so none may be found though there are some: where Selected.UpTo is less than Selected.Head, ask again after
// it.
func (s *Store) Select(ctx context.Context, tenant string, selection Selection) (Selected, error) {
	sql, args, end := selection.statement(tenant)
	found := Selected{UpTo: selection.After}
	bytes := 0
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		bytes, err = found.collect(tenant, rows)
		return err
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return Selected{}, fmt.Errorf("select after position %d: %w", selection.After, Unavailable(err))
	}
	isCut := len(found.Events) >= selection.Limit || (selection.MaxBytes > 0 && bytes > selection.MaxBytes)
	if isCut {
		found.UpTo = found.Events[len(found.Events)-1].Position
	} else {
		found.UpTo = max(found.UpTo, min(end, found.Head))
	}
	return found, nil
}

// statement is the query, with the last position that it looks at. It reads the head and the events in one snapshot.
// Conditions are only written out where something is selected, so that each form gets the plan that it needs.
func (s *Selection) statement(tenant string) (sql string, args []any, end int64) {
	const furthest = 1<<63 - 1
	args = []any{tenant, s.After, s.Limit}
	param := func(value any) string {
		args = append(args, value)
		return fmt.Sprintf("$%d", len(args))
	}
	var where strings.Builder
	end, order := min(furthest-selectWindow, s.After)+selectWindow, "position"
	if stream, only := s.Streams.one(); only {
		// In a stream versions and positions have the same order, and the index is by version.
		name := param(stream)
		fmt.Fprintf(&where, ` and stream = %s and version > coalesce((select max(version) from events
			where tenant_id = $1 and stream = %s and position <= $2), 0)`, name, name)
		end, order = furthest, "version"
	} else {
		where.WriteString(s.Streams.condition("stream", param))
	}
	where.WriteString(s.Types.condition("type", param))
	if s.UpTo > 0 {
		end = min(end, s.UpTo)
	}
	bytes := ""
	if s.MaxBytes > 0 {
		bytes = " where bytes - own <= " + param(s.MaxBytes)
	}
	return `select h.position, e.* from chain_heads h left join lateral (
		select ` + columns + `, own from (
			select ` + columns + `, octet_length(meta) + octet_length(data) as own,
				sum(octet_length(meta) + octet_length(data)) over (order by ` + order + ` rows unbounded preceding) as bytes
			from events where tenant_id = $1 and position > $2 and position <= least(h.position, ` + param(end) + `)` + where.String() + `
			order by ` + order + ` limit $3) w` + bytes + `) e on true
		where h.tenant_id = $1 order by e.position`, args, end
}

// condition selects by a column; it is empty where all are.
func (n Names) condition(column string, param func(any) string) string {
	switch {
	case n.All():
		return ""
	case len(n.prefixes) == 0:
		return " and " + column + " = any(" + param(n.exact) + ")"
	case len(n.exact) == 0:
		return " and " + column + " like any(" + param(n.patterns()) + ")"
	}
	return " and (" + column + " = any(" + param(n.exact) + ") or " + column + " like any(" + param(n.patterns()) + "))"
}

// collect reads rows of head and event; where no event was selected there is one row without. It returns how many bytes
// the events' meta and data have together.
func (s *Selected) collect(tenant string, rows pgx.Rows) (bytes int, err error) {
	for rows.Next() {
		var position, version *int64
		var stream, typ *string
		var own *int
		var eventID, commandID *uuid.UUID
		var at *time.Time
		event := Recorded{Tenant: tenant}
		if err := rows.Scan(&s.Head, &stream, &typ, &position, &version, &eventID, &commandID, &at,
			&event.Meta, &event.Data, &event.PrevHash, &event.Hash, &own); err != nil {
			return 0, fmt.Errorf("scan an event: %w", err)
		}
		if position == nil {
			continue
		}
		event.Stream, event.Type, event.Position, event.Version = *stream, *typ, *position, *version
		event.EventID, event.CommandID, event.OccurredAt = *eventID, *commandID, at.UnixMicro()
		s.Events = append(s.Events, event)
		bytes += *own
	}
	return bytes, rows.Err() //nolint:wrapcheck // the caller wraps
}
