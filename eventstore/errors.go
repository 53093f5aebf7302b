package eventstore

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable says that nothing was written because the database could not be reached: answer 503 with
	// Retry-After, and try again.
	ErrUnavailable = errors.New("the event store is not available; nothing was written")

	// ErrOutcomeUnknown says that the connection was lost during a commit and the database has stayed away since, so that
	// it is not known whether the events were written. Repeat the command under the same command id: it has one effect.
	ErrOutcomeUnknown = errors.New("the event store was lost during a commit and the outcome is not known yet")

	// ErrBusy says that the tenant's queue is full and nothing was written: answer 503 with Retry-After.
	ErrBusy = errors.New("too many appends are waiting; nothing was written")

	// ErrClosed says that the store is draining and takes no more appends.
	ErrClosed = errors.New("the event store is shutting down; nothing was written")

	// ErrClockBehind says that this node's clock is further behind the head of the chain than MaxClockLag, so that it
	// must not write: mend the node's clock.
	ErrClockBehind = errors.New("this node's clock is behind the log; nothing was written until it is set right")

	// ErrChainBroken says that rows of the log contradict its head, which honest writers can't cause: run
	// `archon audit verify`.
	ErrChainBroken = errors.New("the log contradicts its head; nothing was written")

	// ErrInvalid says that the append itself is malformed, which is a fault of the caller's code.
	ErrInvalid = errors.New("invalid append")
)

// ConflictError says that a stream was not at the version the command expected; nothing of the command was written. Load
// the stream again and decide anew, or tell the client that its version is stale.
type ConflictError struct {
	Stream           string
	Expected, Actual int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("stream %s is at version %d, expected %d", e.Stream, e.Actual, e.Expected)
}
