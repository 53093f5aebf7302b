package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/eventstore"
)

// place is a position in a tenant's chain with the hash at it.
type place struct {
	position int64
	hash     []byte
}

func (p place) is(other place) bool {
	return p.position == other.position && bytes.Equal(p.hash, other.hash)
}

// window is what was read of a chain after base: events that continue it without a fault, up to end, and what stands in
// the way behind them, if anything.
type window struct {
	base, end place
	// events are those that the projector handles; end is behind those that it does not, too.
	events []Event
	fault  *fault
}

func (w *window) len() int64 { return w.end.position - w.base.position }

// first is when the first handled event of the window occurred, in microseconds, or 0.
func (w *window) first() int64 {
	if len(w.events) == 0 {
		return 0
	}
	return w.events[0].OccurredAt
}

// readEvents reads the events after a position ($2, or where that is null the checkpoint's), at most $3 of them, and no
// more once $5 bytes are exceeded. Meta and data of events whose type is not in $4 stay in the database, where most of
// them may be toasted and are then not even fetched from disk; $4 null stands for every type.
const readEvents = `
select stream, type, position, version, event_id, command_id, occurred_at,
  case when handled then meta end, case when handled then data end, prev_hash, hash
from (
  select *, sum(size) over (order by position rows unbounded preceding) - size as before
  from (
    select *, case when handled then octet_length(meta) + octet_length(data) else 0 end as size
    from (
      select *, ($4::text[] is null or type = any($4::text[])) as handled
      from events
      where tenant_id = $1 and position > coalesce($2::bigint, (
        select c.position from projection_checkpoints c where c.tenant_id = $1 and c.projection = $6 and c.version = $7))
      order by position
      limit $3
    ) e
  ) s
) b
where before < $5
order by position`

func (p *projection) readArguments(tenant string, after *int64, limit int64, maxBytes int) []any {
	return []any{tenant, after, limit, p.handles, maxBytes, p.name, p.version}
}

// The columns of readEvents.
const (
	columnStream = iota
	columnType
	columnPosition
	columnVersion
	columnEventID
	columnCommandID
	columnOccurredAt
	columnMeta
	columnData
	columnPrevHash
	columnHash
)

// postgresEpoch is 2000-01-01 in microseconds since 1970: timestamps travel relative to it.
const postgresEpoch = 946_684_800_000_000

var errTextFormat = errors.New("the connection delivers events as text; the runner needs the binary format (pgx's default)")

// collect reads rows of readEvents into a window that begins at base, until the first fault. It takes the raw values
// instead of scanning, and keeps them in chunks instead of one by one: this is where a catch-up spends its time.
func (p *projection) collect(tenant string, base place, rows pgx.Rows) (*window, error) {
	w := &window{base: base, end: base}
	var keep chunks
	types := map[string]string{}
	for rows.Next() {
		if w.len() == 0 && !isBinary(rows) {
			return nil, errTextFormat
		}
		if w.fault != nil {
			continue // the rest is drained
		}
		values := rows.RawValues()
		eventType, seen := types[string(values[columnType])]
		if !seen {
			eventType = string(values[columnType])
			types[eventType] = eventType
		}
		w.add(p, tenant, eventType, values, &keep)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return w, nil
}

func isBinary(rows pgx.Rows) bool {
	fields := rows.FieldDescriptions()
	for _, column := range []int{columnPosition, columnVersion, columnEventID, columnCommandID, columnOccurredAt, columnMeta, columnData, columnPrevHash, columnHash} {
		if fields[column].Format != pgtype.BinaryFormatCode {
			return false
		}
	}
	return true
}

// add puts the next row into the window, or finds what is wrong with it.
func (w *window) add(p *projection, tenant, eventType string, values [][]byte, keep *chunks) {
	position := integer(values[columnPosition])
	w.fault = w.judge(p, eventType, position, values[columnPrevHash])
	if w.fault != nil {
		return
	}
	hash := keep.copy(values[columnHash])
	if p.takes(eventType) {
		event := Event{Recorded: eventstore.Recorded{
			Tenant: tenant, Stream: string(values[columnStream]), Type: eventType, Position: position,
			Version: integer(values[columnVersion]), EventID: [16]byte(values[columnEventID]), CommandID: [16]byte(values[columnCommandID]),
			OccurredAt: integer(values[columnOccurredAt]) + postgresEpoch,
			Meta:       keep.copy(values[columnMeta]), Data: keep.copy(values[columnData]), PrevHash: w.end.hash, Hash: hash,
		}}
		if p.handles != nil {
			payload, err := p.codec.Decode(eventType, event.Data)
			if err != nil {
				w.fault = &fault{kind: poison, err: err, position: position, eventType: eventType}
				return
			}
			event.Payload = payload
		}
		w.events = append(w.events, event)
	}
	w.end = place{position: position, hash: hash}
}

// judge holds an event against the one before it and against what this program knows.
func (w *window) judge(p *projection, eventType string, position int64, prevHash []byte) *fault {
	found := fault{position: position, eventType: eventType}
	switch {
	case position != w.end.position+1:
		found.kind, found.err = broken, fmt.Errorf("%w: position %d is followed by %d", errBrokenChain, w.end.position, position)
	case !bytes.Equal(prevHash, w.end.hash):
		found.kind, found.err = broken, fmt.Errorf("%w: prev_hash of position %d is not the hash of position %d", errBrokenChain, position, w.end.position)
	case !p.codec.Knows(eventType):
		found.kind, found.err = unknown, fmt.Errorf("%w %s: a newer Archon wrote it and has to project it", eventstore.ErrUnknownType, eventType)
	default:
		return nil
	}
	return &found
}

func integer(value []byte) int64 {
	return int64(binary.BigEndian.Uint64(value)) //nolint:gosec // two's complement is the format
}

// chunks keeps copies of many small values in few allocations. The values live as long as their chunk does, which is as
// long as the window: its events are used and dropped together.
type chunks struct {
	free []byte
}

const chunkBytes = 64 << 10

func (c *chunks) copy(value []byte) []byte {
	if len(value) > cap(c.free)-len(c.free) {
		if len(value) > chunkBytes/4 {
			return bytes.Clone(value)
		}
		c.free = make([]byte, 0, chunkBytes)
	}
	start := len(c.free)
	c.free = append(c.free, value...)
	return c.free[start:len(c.free):len(c.free)]
}
