package eventstore

import (
	"time"

	"github.com/google/uuid"
)

// NewEvent is an event that is to be appended. Its version, position, id, time and hash are given by the store.
type NewEvent struct {
	// Stream is "<noun>-<uuid>", at most MaxNameBytes of valid UTF-8.
	Stream string
	// Type is the stored name, "<context>.<fact>.v<n>".
	Type string
	// Data is stored and hashed byte for byte.
	Data []byte
}

// Recorded is an event as it stands in the log.
type Recorded struct {
	Tenant   string
	Stream   string
	Type     string
	Position int64
	Version  int64
	EventID  uuid.UUID
	// OccurredAt is in microseconds since 1970 UTC, as it is hashed; it never goes back within a chain.
	OccurredAt int64
	CommandID  uuid.UUID
	Meta       []byte
	Data       []byte
	PrevHash   []byte
	Hash       []byte
}

// Time is OccurredAt as a UTC time.
func (r *Recorded) Time() time.Time { return time.UnixMicro(r.OccurredAt).UTC() }

// Head is the end of a tenant's chain. A chain without events has position 0 and the genesis hash.
type Head struct {
	Position   int64
	Hash       []byte
	OccurredAt int64
}

// Append is one command's worth of events: all of them are written, in this order, or none.
type Append struct {
	Tenant string
	// CommandID, where set, makes the append idempotent: a second one with the same id writes nothing and gets the
	// first one's positions and answer, for as long as Remember.TTL says. The zero value stands for a command that
	// can't come twice; the store gives it an id and remembers nothing.
	CommandID uuid.UUID
	// Expect names the version of every stream that the decision read, written or not; 0 is a stream without events. A
	// stream that is written but not named here takes the events at whatever version it has.
	Expect map[string]int64
	Events []NewEvent
	// Meta is stored and hashed with each of the events, byte for byte.
	Meta []byte
	// Remember is what a repeated command gets; it needs a CommandID.
	Remember Remember
}

// Remember describes what the store keeps of a command that may be repeated.
type Remember struct {
	// Fingerprint is opaque to the store: the caller compares it, to tell a repetition from another command under the
	// same id.
	Fingerprint []byte
	// Answer, where set, makes the bytes that a repetition gets. It is called with the events as they are about to be
	// written, possibly several times, in the store's own goroutine: it must be quick and must not block.
	Answer func(events []Recorded) ([]byte, error)
	// TTL is how long the command is remembered; zero means DefaultRememberTTL.
	TTL time.Duration
}

// Result tells where an append landed.
type Result struct {
	// First and Last are the positions of the first and the last event.
	First, Last int64
	// OccurredAt is in microseconds since 1970 UTC; zero for a duplicate.
	OccurredAt int64
	// Versions holds the new version of every stream that was written; nil for a duplicate.
	Versions map[string]int64
	// Duplicate is true where the command had been appended before; nothing was written now.
	Duplicate bool
	// Fingerprint and Answer are those remembered with the command.
	Fingerprint, Answer []byte
}
