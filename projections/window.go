package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/eventstore"
)

// place is a position in a tenant's chain with the hash at it.
type place struct {
	position int64
	hash     []byte
}

// genesis is the place before a tenant's first event.
func genesis(tenant string) place { return place{hash: eventstore.Genesis(tenant)} }

func (p place) is(other place) bool {
	return p.position == other.position && bytes.Equal(p.hash, other.hash)
}

// window is what was read of a chain after base: events that continue it without a fault, up to end, what they do to the
// tables, and what stands in the way behind them, if anything.
type window struct {
	base, end place
	// handled counts the events that the projector handles; end is behind those that it does not, too. first is when the
	// first of them occurred, in microseconds, and lastType the type of the last one.
	handled  int
	first    int64
	lastType string
	out      *Statements
	// more says that another window of the same batch follows, without which out is not all there is to do.
	more bool
	// bad says that the projector refuses the events of the window; there is no out then.
	bad   error
	fault *fault
}

func (w *window) len() int64 { return w.end.position - w.base.position }

// join makes w the window of a batch of which next is the next part.
func (w *window) join(next *window) *window {
	joined := *next
	joined.base = w.base
	joined.handled += w.handled
	if w.handled > 0 {
		joined.first = w.first
	}
	if next.handled == 0 {
		joined.lastType = w.lastType
	}
	return &joined
}

// readEvents reads the events after a position ($2, or where that is null the checkpoint's), at most $3 of them, and no
// more once $7 bytes are exceeded. Meta and data of events whose type is not in $4 stay in the database, where most of
// them may be toasted and are then not even fetched from disk; $4 null stands for every type.
//
// The select around coalesce matters: coalesce itself is not leakproof to PostgreSQL, so under row-level security the
// index would not be searched for a position, but read from the tenant's first event on.
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
      where tenant_id = $1 and position > (select coalesce($2::bigint, (
        select c.position from projection_checkpoints c where c.tenant_id = $1 and c.projection = $5 and c.version = $6)))
      order by position
      limit $3
    ) e
  ) s
) b
where before < $7
order by position`

// foldEvents is readEvents for a projector that folds: no event is kept, so their bytes need no bound, which costs
// PostgreSQL as much as reading them does; and what folding does not need stays behind.
const foldEvents = `
select null::text, type, position, version, event_id, null::uuid, occurred_at,
  null::bytea, case when $4::text[] is null or type = any($4::text[]) then data end, prev_hash, hash
from events
where tenant_id = $1 and position > (select coalesce($2::bigint, (
  select c.position from projection_checkpoints c where c.tenant_id = $1 and c.projection = $5 and c.version = $6)))
order by position
limit $3`

// query is what reads the events after a position, or after the checkpoint's.
func (p *projection) query(tenant string, after *int64, limit int64, maxBytes int) (sql string, args []any) {
	args = []any{tenant, after, limit, p.handles, p.name, p.version}
	if p.folder != nil {
		return foldEvents, args
	}
	return readEvents, append(args, maxBytes)
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

// Bounds of a batch that is read ahead for a projector that folds: how many reads of Config.MaxBatchEvents it has, how
// large the sum and how old the batch may be before the last of them.
const (
	maxFoldReads = 32
	maxFoldBytes = 32 << 20
	maxFoldTime  = 2 * time.Second
)

// collector makes a window of rows. It takes the raw values instead of scanning, and keeps them in chunks instead of one
// by one: this is where a catch-up spends its time.
type collector struct {
	p      *projection
	tenant string
	w      *window
	keep   chunks
	types  map[string]string
	// events are those that are kept for Project; fold and decoder take their place where the projector folds.
	events   []Event
	fold     Fold
	event    Event // the one that fold is given
	decoder  *eventstore.Decoder
	lastHash []byte
	handled  bool // whether an earlier window of the batch has events that the projector handles
}

func (p *projection) collector(tenant string, base place) *collector {
	c := &collector{p: p, tenant: tenant, w: &window{base: base, end: base}, types: map[string]string{}}
	if p.folder != nil {
		c.fold, c.decoder = p.folder.Fold(), p.codec.Decoder()
	}
	return c
}

// wantsMore tells whether the window may go on.
func (c *collector) wantsMore() bool {
	return c.fold != nil && c.w.fault == nil && c.w.bad == nil && c.fold.Bytes() < maxFoldBytes
}

// collect takes rows of a query into the window, until the first fault, and returns how many there were.
func (c *collector) collect(rows pgx.Rows) (read int64, err error) {
	for rows.Next() {
		read++
		if read == 1 && !isBinary(rows) {
			return read, errTextFormat
		}
		if c.w.fault != nil || c.w.bad != nil {
			continue // the rest is drained
		}
		values := rows.RawValues()
		eventType, seen := c.types[string(values[columnType])]
		if !seen {
			eventType = string(values[columnType])
			c.types[eventType] = eventType
		}
		c.add(eventType, values)
	}
	if err := rows.Err(); err != nil {
		return read, fmt.Errorf("read events: %w", err)
	}
	return read, nil
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
func (c *collector) add(eventType string, values [][]byte) {
	w, position := c.w, integer(values[columnPosition])
	w.fault = w.judge(c.p, eventType, position, values[columnPrevHash])
	if w.fault != nil {
		return
	}
	hash := c.keepHash(values[columnHash])
	if c.p.takes(eventType) {
		if err := c.take(eventType, position, values, hash); err != nil {
			w.fault = &fault{kind: poison, err: err, position: position, eventType: eventType}
			return
		}
		if w.handled == 0 {
			w.first = integer(values[columnOccurredAt]) + postgresEpoch
		}
		w.handled++
		w.lastType = eventType
	}
	w.end = place{position: position, hash: hash}
}

// keepHash copies a hash, where the projector folds over the one before it, which nobody needs any more.
func (c *collector) keepHash(hash []byte) []byte {
	if c.fold == nil {
		return c.keep.copy(hash)
	}
	c.lastHash = append(c.lastHash[:0], hash...)
	return c.lastHash
}

// take gives an event to the fold, or keeps it for Project. It fails where the event can't be decoded.
func (c *collector) take(eventType string, position int64, values [][]byte, hash []byte) error {
	if c.fold != nil {
		return c.sum(eventType, position, values, hash)
	}
	event := Event{Recorded: eventstore.Recorded{
		Tenant: c.tenant, Stream: string(values[columnStream]), Type: eventType, Position: position,
		Version: integer(values[columnVersion]), EventID: [16]byte(values[columnEventID]), CommandID: [16]byte(values[columnCommandID]),
		OccurredAt: integer(values[columnOccurredAt]) + postgresEpoch,
		Meta:       c.keep.copy(values[columnMeta]), Data: c.keep.copy(values[columnData]), PrevHash: c.w.end.hash, Hash: hash,
	}}
	if c.p.handles != nil {
		payload, err := c.p.codec.Decode(eventType, event.Data)
		if err != nil {
			return err //nolint:wrapcheck // names the type
		}
		event.Payload = payload
	}
	c.events = append(c.events, event)
	return nil
}

// sum gives an event to the fold, whose own error is the window's.
func (c *collector) sum(eventType string, position int64, values [][]byte, hash []byte) error {
	event := &c.event
	*event = Event{Recorded: eventstore.Recorded{
		Tenant: c.tenant, Type: eventType, Position: position, Version: integer(values[columnVersion]), EventID: [16]byte(values[columnEventID]),
		OccurredAt: integer(values[columnOccurredAt]) + postgresEpoch, Data: values[columnData], Hash: hash,
	}}
	if c.p.handles != nil {
		payload, err := c.decoder.Decode(eventType, event.Data)
		if err != nil {
			return err //nolint:wrapcheck // names the type
		}
		event.Payload = payload
	}
	c.w.bad = c.addToFold()
	return nil
}

// addToFold is blamed for Fold.Add, without a closure an event.
func (c *collector) addToFold() (err error) {
	defer func() { err = blame(err, recover()) }()
	if err := c.fold.Add(&c.event); err != nil {
		return dataError{err}
	}
	return nil
}

// part ends the window and begins another one of the same batch.
func (c *collector) part() *window {
	w := c.w
	w.out, w.more = &Statements{}, true
	w.end.hash = bytes.Clone(w.end.hash)
	w.bad = blamed(func() error {
		c.fold.Part(w.out)
		return nil
	})
	c.w = &window{base: w.end, end: w.end}
	c.handled = c.handled || w.handled > 0
	return w
}

// finish ends the batch: the projector says what its events do.
func (c *collector) finish() *window {
	w := c.w
	w.out = &Statements{}
	if (w.handled == 0 && !c.handled) || w.bad != nil {
		return w
	}
	w.bad = blamed(func() error {
		if c.fold != nil {
			c.fold.Write(w.out)
			return nil
		}
		return c.p.Project(c.events, w.out)
	})
	return w
}

// blamed runs a projector; its error, or panic, is the fault of the events.
func blamed(run func() error) (err error) {
	defer func() { err = blame(err, recover()) }()
	if err := run(); err != nil {
		return dataError{err}
	}
	return nil
}

// blame makes a panic, if there was one, an error of the events.
func blame(err error, panicked any) error {
	if panicked == nil {
		return err
	}
	return dataError{fmt.Errorf("the projector panicked: %v", panicked)}
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
