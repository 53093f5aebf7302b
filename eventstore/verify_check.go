package eventstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/uuid"
)

// The fields of a row in the order of verifyColumns.
const (
	fieldTenant = iota
	fieldStream
	fieldType
	fieldPosition
	fieldVersion
	fieldEventID
	fieldCommandID
	fieldOccurredAt
	fieldMeta
	fieldData
	fieldPrevHash
	fieldHash
	fieldCount
)

// postgresEpoch is 2000-01-01 UTC, from which PostgreSQL counts, in microseconds since 1970.
const postgresEpoch = 946_684_800_000_000

// checker holds the rows of one chain, which come in the order of their positions, against each other and the head.
//
// A single wrong row can be told from its neighbours: a row whose hash is not that of its columns was changed itself. But a row
// that was rewritten together with its hash looks right and makes the next one look wrong. So where a row is consistent in
// itself and only its link fails, the judgement waits for the row after it: where that one links to it, it is as it was written,
// and the row before it is the changed one.
type checker struct {
	tenant string
	head   chainHead
	// from is at least 1; to is 0 where the range reaches the head.
	from, to int64
	progress func(int64)

	checked int64
	// last is the row before, with its own memory for the hashes; position from-1 where there is none yet.
	last struct {
		position       int64
		at             int64
		hash, prevHash []byte
		// real is false for the genesis, which nobody can change.
		real bool
	}
	// waiting is true while the link between last and the row before it is broken, but last is consistent in itself.
	waiting bool
	// stray is the position of a row outside of every chain (below 1, or null), of which there are strays.
	stray  int64
	strays int64

	event Recorded
	frame []byte
	types map[string]string

	badPosition int64
	reason      string
}

func newChecker(tenant string, head chainHead, opts VerifyOptions) *checker {
	c := &checker{tenant: tenant, head: head, from: max(opts.From, 1), progress: opts.Progress, types: map[string]string{}}
	if opts.To < head.Position {
		c.to = opts.To
	}
	c.last.position = c.from - 1
	if c.from == 1 {
		c.last.hash, c.last.at = Genesis(tenant), math.MinInt64
	} else {
		c.last.position-- // the anchor is still to come
	}
	return c
}

func (c *checker) report() Report {
	return Report{OK: c.badPosition == 0, Checked: c.checked, Head: c.head.Head, FirstBadPosition: c.badPosition, Reason: c.reason}
}

// badf notes the first bad position and stops the reading.
func (c *checker) badf(position int64, format string, args ...any) {
	c.badPosition, c.reason = max(position, 1), fmt.Sprintf(format, args...)
	if c.strays > 0 {
		c.reason += fmt.Sprintf("; %d rows have positions that no chain has, one of them %d", c.strays, c.stray)
	}
}

// row takes the next row of the chain. After the first bad one the others are only read past.
func (c *checker) row(fields [][]byte) error {
	if c.badPosition != 0 {
		return nil
	}
	null, err := c.parse(fields)
	if err != nil {
		return err
	}
	position := c.event.Position
	switch {
	case fields[fieldPosition] == nil || position < 1:
		c.strays, c.stray = c.strays+1, position
	case position == c.last.position && c.last.real:
		c.badf(position, "position %d stands twice", position)
	case position < c.from: // the row before the range, which is taken on trust
		c.advance()
	case c.to > 0 && position > c.to:
		c.beyond()
	default:
		c.within(null)
	}
	return nil
}

// within takes a row of the range.
func (c *checker) within(null int) {
	c.checked++
	if c.progress != nil && c.checked%progressEvery == 0 {
		c.progress(c.checked)
	}
	if c.event.Position > c.last.position+1 {
		c.missing()
		return
	}
	c.judge(null)
	c.advance()
}

// parse reads fields into c.event, whose bytes stay the fields'. It returns the number of a column that is null, or -1.
func (c *checker) parse(fields [][]byte) (null int, err error) {
	if len(fields) != fieldCount {
		return 0, fmt.Errorf("%w: %d columns", errCopyFormat, len(fields))
	}
	null = -1
	for i, field := range fields {
		size := len(field)
		switch {
		case field == nil:
			null = i
		case (i == fieldPosition || i == fieldVersion || i == fieldOccurredAt) && size != int64Size,
			(i == fieldEventID || i == fieldCommandID) && size != len(uuid.UUID{}):
			return 0, fmt.Errorf("%w: column %d has %d bytes", errCopyFormat, i, size)
		}
	}
	e := &c.event
	e.Tenant = c.tenant
	if string(fields[fieldTenant]) != c.tenant {
		e.Tenant = string(fields[fieldTenant])
	}
	e.Stream, e.Type = string(fields[fieldStream]), c.intern(fields[fieldType])
	e.Position, e.Version = integer(fields[fieldPosition]), integer(fields[fieldVersion])
	e.OccurredAt = integer(fields[fieldOccurredAt]) + postgresEpoch // wraps for infinity, which then has no right hash
	copy(e.EventID[:], fields[fieldEventID])
	copy(e.CommandID[:], fields[fieldCommandID])
	e.Meta, e.Data = fields[fieldMeta], fields[fieldData]
	e.PrevHash, e.Hash = fields[fieldPrevHash], fields[fieldHash]
	return null, nil
}

// intern returns the type's name without making a new string for each row.
func (c *checker) intern(name []byte) string {
	const most = 1024
	if known, found := c.types[string(name)]; found {
		return known
	}
	if len(c.types) >= most {
		clear(c.types)
	}
	made := string(name)
	c.types[made] = made
	return made
}

func integer(field []byte) int64 {
	if field == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(field)) //nolint:gosec // two's complement is the format
}

// advance makes the row the last one.
func (c *checker) advance() {
	c.last.position, c.last.at, c.last.real = c.event.Position, c.event.OccurredAt, true
	c.last.hash = append(c.last.hash[:0], c.event.Hash...)
	c.last.prevHash = append(c.last.prevHash[:0], c.event.PrevHash...)
}

// missing is for a gap after the last row.
func (c *checker) missing() {
	if c.waiting {
		c.rewritten()
		return
	}
	c.badf(c.last.position+1, "position %d is missing", c.last.position+1)
}

// rewritten is for a row before the last one that was changed together with its hash.
func (c *checker) rewritten() {
	c.badf(c.last.position-1, "position %d was changed together with its hash: position %d names another one as its predecessor's",
		c.last.position-1, c.last.position)
}

// relinked is for a last row that was changed together with its prev_hash and its hash.
func (c *checker) relinked(witness string) {
	c.badf(c.last.position, "position %d was changed together with its hashes: it does not name position %d's, and %s does not name its",
		c.last.position, c.last.position-1, witness)
}

// judge holds the row, which is at the next position, against the last one.
func (c *checker) judge(null int) {
	e := &c.event
	linked := bytes.Equal(e.PrevHash, c.last.hash)
	consistent := null < 0 && c.hashedWith(e.Position, e.PrevHash)
	switch {
	case c.waiting && consistent && !linked:
		c.relinked(fmt.Sprintf("position %d", e.Position))
	case c.waiting:
		c.rewritten()
	case null >= 0:
		c.badf(e.Position, "position %d was changed: a column is null", e.Position)
	case linked && !consistent:
		c.badf(e.Position, "position %d was changed: its hash is not that of its columns", e.Position)
	case linked && e.OccurredAt < c.last.at:
		c.badf(e.Position, "time goes back at position %d", e.Position)
	case !linked:
		c.unlinked(consistent)
	}
}

// unlinked is for a row that does not name the last one's hash.
func (c *checker) unlinked(consistent bool) {
	e := &c.event
	switch {
	case consistent && c.last.real:
		c.waiting = true
	case consistent && c.from > 1:
		c.badf(e.Position, "position %d was changed together with its hash: it does not name the anchor's", e.Position)
	case consistent:
		c.badf(e.Position, "position %d was changed together with its hash: it does not begin at the genesis", e.Position)
	case c.hashedWith(e.Position, c.last.hash):
		c.badf(e.Position, "position %d was changed: its prev_hash is not the hash of position %d", e.Position, c.last.position)
	case c.last.real && bytes.Equal(e.PrevHash, c.last.prevHash) && c.hashedWith(c.last.position, e.PrevHash):
		c.badf(c.last.position, "position %d was inserted: the row that was written there stands at %d", c.last.position, e.Position)
	default:
		c.badf(e.Position, "position %d was changed or misplaced: neither its hash nor its prev_hash is right", e.Position)
	}
}

// hashedWith tells whether the row's hash is that of its columns, with this position and previous hash.
func (c *checker) hashedWith(position int64, prevHash []byte) bool {
	e := c.event
	e.Position, e.PrevHash = position, prevHash
	var sum [HashSize]byte
	sum, c.frame = hashInto(c.frame, &e)
	return bytes.Equal(sum[:], e.Hash)
}

// beyond takes the row after the range, which is only a witness of the range's last row.
func (c *checker) beyond() {
	e := &c.event
	consistent := e.Position == c.to+1 && c.hashedWith(e.Position, e.PrevHash)
	linked := bytes.Equal(e.PrevHash, c.last.hash)
	switch {
	case c.last.position < c.to:
		c.missing()
	case c.waiting && consistent && !linked:
		c.relinked(fmt.Sprintf("position %d", e.Position))
	case c.waiting:
		c.rewritten()
	case consistent && !linked && c.last.real:
		c.badf(c.last.position, "position %d was changed together with its hash: position %d names another one as its predecessor's",
			c.last.position, e.Position)
	}
}

// end holds the last row against the end of the range.
func (c *checker) end() {
	switch {
	case c.badPosition != 0:
	case c.from > 1 && !c.last.real:
		c.badf(c.from-1, "position %d, which anchors the range, is missing", c.from-1)
	case c.to > 0 && c.last.position < c.to:
		c.missing()
	case c.to > 0 && c.waiting:
		c.rewritten()
	case c.to == 0:
		c.endAtHead()
	}
	if c.badPosition == 0 && c.strays > 0 {
		strays := c.strays
		c.strays = 0
		c.badf(1, "%d rows have positions that no chain has, one of them %d", strays, c.stray)
	}
}

// endAtHead holds the last row against the head.
func (c *checker) endAtHead() {
	last := c.last.position
	same := bytes.Equal(c.head.Hash, c.last.hash)
	switch {
	case c.waiting && c.head.found && c.head.Position == last && !same:
		c.relinked("the head")
	case c.waiting:
		c.rewritten()
	case !c.head.found && last > 0:
		c.badf(last+1, "the head row is missing, so that rows from position %d on may be missing too", last+1)
	case c.head.Position > last:
		c.badf(last+1, "position %d is missing: the head is at %d", last+1, c.head.Position)
	case c.head.Position < last:
		c.badf(c.head.Position+1, "position %d is not in the chain: the head is at %d", c.head.Position+1, c.head.Position)
	case !same:
		c.badf(last, "position %d or the head was changed: the head names another hash", last)
	case c.last.real && c.head.OccurredAt != c.last.at:
		c.badf(last, "the head was changed: it names another time than position %d", last)
	}
}
