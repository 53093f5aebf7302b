package exportcheck

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
)

// kind is what a line is.
type kind int

const (
	isEvent kind = iota
	isAnchor
	isSeal
)

// line is one line of an export. Its bytes are good until the next one is parsed.
type line struct {
	kind  kind
	event eventstore.Recorded

	// anchor is the position and hash that the first event follows, and the subtrees up to there; subtrees is nil where the line has none.
	anchor struct {
		position int64
		hash     []byte
		subtrees []tlog.Hash
	}
	// note and consistency end the export; consistency is nil where the line has none.
	note        string
	consistency []tlog.Hash

	seen    seen
	buffers [fieldCount][]byte
	types   map[string]string
}

// The members that mean something. The events' come first.
const (
	fieldTenant = iota
	fieldPosition
	fieldStream
	fieldVersion
	fieldEventID
	fieldType
	fieldOccurredAt
	fieldCommandID
	fieldMeta
	fieldData
	fieldPrevHash
	fieldHash
	fieldAnchor
	fieldCheckpoint
	fieldConsistency
	fieldCount
)

// seen is a set of members.
type seen uint

const eventFields seen = 1<<fieldAnchor - 1

func fieldOf(name []byte) int { //nolint:gocyclo // a table
	switch string(name) {
	case "tenant_id":
		return fieldTenant
	case "position":
		return fieldPosition
	case "stream":
		return fieldStream
	case "version":
		return fieldVersion
	case "event_id":
		return fieldEventID
	case "type":
		return fieldType
	case "occurred_at":
		return fieldOccurredAt
	case "command_id":
		return fieldCommandID
	case "meta":
		return fieldMeta
	case "data":
		return fieldData
	case "prev_hash":
		return fieldPrevHash
	case "hash":
		return fieldHash
	case "anchor":
		return fieldAnchor
	case "checkpoint":
		return fieldCheckpoint
	case "consistency":
		return fieldConsistency
	}
	return -1
}

var (
	errUTF8   = errors.New("is not UTF-8")
	errMember = errors.New("has a member that does not fit")
	errLine   = errors.New("is neither an event, an anchor nor a checkpoint")
)

// parse reads a line, without its line break.
func (l *line) parse(text []byte) error {
	if !utf8.Valid(text) {
		return errUTF8
	}
	l.seen, l.note, l.consistency, l.anchor.subtrees = 0, "", nil, nil
	r := &reader{line: text}
	if err := r.object(func(name []byte) error { return l.member(r, fieldOf(name)) }); err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	switch {
	case l.seen == eventFields:
		l.kind = isEvent
	case l.seen == 1<<fieldAnchor:
		l.kind = isAnchor
	case l.seen&^(1<<fieldConsistency) == 1<<fieldCheckpoint:
		l.kind = isSeal
	default:
		return errLine
	}
	return nil
}

// member reads the value of a member of a line.
func (l *line) member(r *reader, field int) error {
	if field < 0 {
		return r.skip(0)
	}
	if l.seen&(1<<field) != 0 {
		return fmt.Errorf("%w: it stands twice, at byte %d", errMember, r.at+1)
	}
	l.seen |= 1 << field
	var err error
	switch field {
	case fieldPosition:
		l.event.Position, err = r.integer()
		return err
	case fieldVersion:
		l.event.Version, err = r.integer()
		return err
	case fieldAnchor:
		return l.readAnchor(r)
	case fieldConsistency:
		l.consistency, err = hashes(r)
		return err
	}
	text, err := r.text(l.buffers[field][:0])
	if err != nil {
		return err
	}
	if cap(text) > cap(l.buffers[field]) && len(text) > 0 && !within(r.line, text) {
		l.buffers[field] = text // it has grown
	}
	return l.set(field, text)
}

// within tells whether text is a piece of line, which is not ours to keep.
func within(line, text []byte) bool {
	return cap(line) > 0 && &line[:cap(line)][cap(line)-1] == &text[:cap(text)][cap(text)-1]
}

func (l *line) set(field int, text []byte) (err error) {
	e := &l.event
	switch field {
	case fieldTenant:
		if e.Tenant != string(text) {
			e.Tenant = string(text)
		}
	case fieldStream:
		e.Stream = string(text)
	case fieldType:
		e.Type = l.intern(text)
	case fieldEventID:
		e.EventID, err = parseUUID(text)
	case fieldCommandID:
		e.CommandID, err = parseUUID(text)
	case fieldOccurredAt:
		e.OccurredAt, err = parseTime(text)
	case fieldMeta:
		e.Meta = text
	case fieldData:
		e.Data = text
	case fieldPrevHash:
		e.PrevHash, err = parseHash(e.PrevHash, text)
	case fieldHash:
		e.Hash, err = parseHash(e.Hash, text)
	case fieldCheckpoint:
		l.note = string(text)
	}
	return err
}

// intern returns the type's name without making a new string for each line.
func (l *line) intern(name []byte) string {
	const most = 1024
	if known, found := l.types[string(name)]; found {
		return known
	}
	if l.types == nil || len(l.types) >= most {
		l.types = map[string]string{}
	}
	made := string(name)
	l.types[made] = made
	return made
}

func (l *line) readAnchor(r *reader) error {
	var have seen
	const position, hash, subtrees = 1, 2, 4
	note := func(member seen) error {
		if have&member != 0 {
			return fmt.Errorf("%w: the anchor says something twice", errMember)
		}
		have |= member
		return nil
	}
	err := r.object(func(name []byte) (err error) {
		switch string(name) {
		case "position":
			if err = note(position); err == nil {
				l.anchor.position, err = r.integer()
			}
		case "hash":
			var text []byte
			if err = note(hash); err == nil {
				text, err = r.text(nil)
			}
			if err == nil {
				l.anchor.hash, err = parseHash(nil, text)
			}
		case "subtrees":
			if err = note(subtrees); err == nil {
				l.anchor.subtrees, err = hashes(r)
			}
		default:
			err = r.skip(1)
		}
		return err
	})
	if err == nil && have&(position|hash) != position|hash || err == nil && l.anchor.position < 1 {
		return fmt.Errorf("%w: an anchor needs a position of 1 or more and a hash", errMember)
	}
	return err
}

// hashes reads a list of hashes, none of which is an empty list, not nil. No tree has more than 64 levels, and no proof more than two
// hashes of each.
func hashes(r *reader) ([]tlog.Hash, error) {
	const most = 128
	read := []tlog.Hash{}
	err := r.list(func() error {
		text, err := r.text(nil)
		if err != nil {
			return err
		}
		raw, err := parseHash(nil, text)
		if err != nil {
			return err
		}
		if len(read) == most {
			return fmt.Errorf("%w: a proof of more than %d hashes", errMember, most)
		}
		read = append(read, tlog.Hash(raw))
		return nil
	})
	return read, err
}

// parseHash reads 32 bytes of lower-case hex into buffer.
func parseHash(buffer, text []byte) ([]byte, error) {
	if len(text) != hex.EncodedLen(eventstore.HashSize) {
		return nil, fmt.Errorf("%w: a hash has 64 digits", errMember)
	}
	if upper(text) {
		return nil, fmt.Errorf("%w: a hash is in lower case", errMember)
	}
	buffer, err := hex.AppendDecode(buffer[:0], text)
	if err != nil {
		return nil, fmt.Errorf("%w: a hash is hexadecimal", errMember)
	}
	return buffer, nil
}

// upper tells whether there is a digit in upper case. One form of each value means that no byte of a file can be changed unnoticed.
func upper(text []byte) bool {
	for _, c := range text {
		if c >= 'A' && c <= 'F' {
			return true
		}
	}
	return false
}

// parseUUID reads the 36 characters of a UUID's text.
func parseUUID(text []byte) (uuid.UUID, error) {
	const size = 36 // the package takes other forms too
	if len(text) != size || upper(text) {
		return uuid.UUID{}, fmt.Errorf("%w: a UUID has 36 characters, in lower case", errMember)
	}
	id, err := uuid.ParseBytes(text)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("%w: not a UUID", errMember)
	}
	return id, nil
}

// parseTime reads "2025-02-03T04:05:06.000007Z" as microseconds since 1970.
func parseTime(text []byte) (int64, error) {
	const form = "0000-00-00T00:00:00.000000Z"
	if len(text) != len(form) {
		return 0, fmt.Errorf("%w: a time is %d characters", errMember, len(form))
	}
	var part [7]int // year, month, day, hour, minute, second, microsecond
	at := 0
	for i, c := range text {
		switch {
		case form[i] != '0' && c != form[i], form[i] == '0' && (c < '0' || c > '9'):
			return 0, fmt.Errorf("%w: a time looks like %s", errMember, form)
		case form[i] != '0':
			at++
		default:
			part[at] = part[at]*10 + int(c-'0')
		}
	}
	when := time.Date(part[0], time.Month(part[1]), part[2], part[3], part[4], part[5], part[6]*int(time.Microsecond), time.UTC)
	if when.Year() != part[0] || int(when.Month()) != part[1] || when.Day() != part[2] || when.Hour() != part[3] || when.Minute() != part[4] ||
		when.Second() != part[5] || part[0] == 0 {
		return 0, fmt.Errorf("%w: a time that no calendar has", errMember)
	}
	return when.UnixMicro(), nil
}
