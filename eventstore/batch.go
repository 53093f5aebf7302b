package eventstore

import (
	"fmt"

	"github.com/google/uuid"
)

// batch is a group of members settled against a head and against each other, hashed, ready to be sent.
type batch struct {
	base    Head
	next    Head
	at      int64
	members []settled
	events  []Recorded
	checks  []check
	known   []*member
	// versions is what the streams that were read or written will be at if the batch lands.
	versions map[string]int64
	// doubted are streams that somebody expects at a higher version than the lane remembers.
	doubted map[string]bool
	// encoded are the statement's arguments, once they have been made.
	encoded []any
}

// settled is a member with its place in the batch: events[from:to].
type settled struct {
	*member
	from, to int
	answer   []byte
}

// check is an expectation that the lane can't settle from what it knows, so the statement has to.
type check struct {
	stream   string
	expected int64
	owner    *member
}

// settle puts members, in their order, on top of the lane's head. Those that contradict an earlier member of the same
// batch come back as deferred: whether they are refused depends on whether the earlier one lands. Those that contradict
// what is already in the log are answered at once.
func (l *lane) settle(members []*member) (*batch, []*member) {
	b := &batch{base: l.head, at: l.timeOfBatch(), versions: make(map[string]int64, len(members)), doubted: map[string]bool{}}
	var deferred []*member
	commands := map[uuid.UUID]bool{}
	for _, m := range members {
		if m.CommandID != uuid.Nil {
			if commands[m.CommandID] {
				deferred = append(deferred, m)
				continue
			}
			commands[m.CommandID] = true
		}
		switch verdict := l.judge(b, m); {
		case verdict == nil:
			if err := l.place(b, m); err != nil {
				m.fail(err)
			}
		case verdict.final:
			l.refuseKnown(m, &verdict.conflict)
		default:
			deferred = append(deferred, m)
		}
	}
	l.chain(b)
	return b, deferred
}

type verdict struct {
	conflict ConflictError
	final    bool
}

// judge holds a member's expectations against the batch so far and the lane's memory; nil means that none is broken as
// far as the lane can tell.
func (l *lane) judge(b *batch, m *member) *verdict {
	for stream, expected := range m.Expect {
		if version, inBatch := b.versions[stream]; inBatch {
			if version != expected {
				return &verdict{}
			}
			continue
		}
		version, remembered := l.version(stream)
		switch {
		case !remembered || version == expected:
		case expected < version: // versions never go back, so this holds however old the memory is
			return &verdict{conflict: ConflictError{Stream: stream, Expected: expected, Actual: version}, final: true}
		default: // another node may have written: let the statement look
			b.doubted[stream] = true
		}
	}
	return nil
}

// refuseKnown answers a member whose expectation the log contradicts: with its first answer where it is a repetition, which
// is why the log has moved on.
func (l *lane) refuseKnown(m *member, conflict *ConflictError) {
	if first, repeated := l.repeated[m.CommandID]; repeated {
		m.succeed(first.result())
		return
	}
	m.fail(conflict)
}

// place gives a member's events their positions and versions.
func (l *lane) place(b *batch, m *member) error {
	from := len(b.events)
	commandID := m.CommandID
	if commandID == uuid.Nil {
		commandID = newID()
	}
	for stream, expected := range m.Expect {
		l.assume(b, m, stream, expected)
	}
	for i := range m.Events {
		event := &m.Events[i]
		version, assumed := b.versions[event.Stream]
		if !assumed {
			version, _ = l.version(event.Stream) // learned after the head, so the compare-and-set vouches for it too
		}
		version++
		b.versions[event.Stream] = version
		b.events = append(b.events, Recorded{
			Tenant: m.Tenant, Stream: event.Stream, Type: event.Type,
			Position: b.base.Position + int64(len(b.events)) + 1, Version: version,
			EventID: newID(), CommandID: commandID, OccurredAt: b.at, Meta: m.Meta, Data: event.Data,
		})
	}
	answer, err := m.answer(b.events[from:])
	if err != nil {
		l.unplace(b, m, from)
		return err
	}
	b.members = append(b.members, settled{member: m, from: from, to: len(b.events), answer: answer})
	if m.CommandID != uuid.Nil {
		b.known = append(b.known, m)
	}
	return nil
}

func (l *lane) assume(b *batch, m *member, stream string, expected int64) {
	if _, assumed := b.versions[stream]; assumed {
		return
	}
	if _, remembered := l.version(stream); !remembered || b.doubted[stream] {
		b.checks = append(b.checks, check{stream: stream, expected: expected, owner: m})
	}
	b.versions[stream] = expected
}

// unplace takes a member out again whose answer could not be made. Its streams keep the versions they had before it.
func (l *lane) unplace(b *batch, m *member, from int) {
	for i := len(b.events) - 1; i >= from; i-- {
		b.versions[b.events[i].Stream] = b.events[i].Version - 1
	}
	b.events = b.events[:from]
	kept := b.checks[:0]
	for _, c := range b.checks {
		if c.owner == m {
			delete(b.versions, c.stream)
			continue
		}
		kept = append(kept, c)
	}
	b.checks = kept
}

// answer runs the caller's function, whose panic must not take the lane with it.
func (m *member) answer(events []Recorded) (answer []byte, err error) {
	if m.Remember.Answer == nil {
		return nil, nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: making the answer panicked: %v", ErrInvalid, cause)
		}
	}()
	answer, err = m.Remember.Answer(events)
	if err != nil {
		return nil, fmt.Errorf("make the answer to remember: %w", err)
	}
	if len(answer) > MaxEventBytes {
		return nil, fmt.Errorf("%w: the answer to remember is larger than %d bytes", ErrInvalid, MaxEventBytes)
	}
	return answer, nil
}

// chain hashes the batch's events onto its base.
func (l *lane) chain(b *batch) {
	b.next = b.base
	hashes := make([]byte, 0, len(b.events)*HashSize)
	for i := range b.events {
		event := &b.events[i]
		event.PrevHash = b.next.Hash
		var sum [HashSize]byte
		sum, l.frame = hashInto(l.frame, event)
		hashes = append(hashes, sum[:]...)
		event.Hash = hashes[len(hashes)-HashSize:]
		b.next = Head{Position: event.Position, Hash: event.Hash, OccurredAt: event.OccurredAt}
	}
}

func newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		panic("no randomness for an event id: " + err.Error()) // crypto/rand never fails on a working system
	}
	return id
}
