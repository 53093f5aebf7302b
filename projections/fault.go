package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// fault is what keeps a projection from going on behind a position.
type fault struct {
	kind      faultKind
	err       error
	position  int64
	eventType string
}

type faultKind int

const (
	// poison is an event that can't be projected; the projection stalls.
	poison faultKind = iota + 1
	// broken is a chain that does not continue the checkpoint; the projection stalls, and somebody should look at the log.
	broken
	// unknown is an event type or a version that a newer program knows; only this node stops.
	unknown
)

func (k faultKind) String() string {
	switch k {
	case poison:
		return "poison"
	case broken:
		return "broken_chain"
	case unknown:
		return "unknown"
	}
	return "none"
}

func (f *fault) halted() error {
	return fmt.Errorf("%w at position %d: %w", ErrHalted, f.position, f.err)
}

var errBrokenChain = errors.New("the chain does not continue the checkpoint")

// dataError marks an error as the fault of the events that were being projected.
type dataError struct{ error }

func (e dataError) Unwrap() error { return e.error }

// passing are the classes of SQLSTATE that say nothing about the events: connection, authorisation and database of the
// session, transaction state (a standby is read-only), serialisation and deadlock, resources, locks, the operator, the
// machine.
const passing = "08 28 3D 25 40 53 55 57 58"

// classify makes an error of a statement a dataError where it is the events' fault. closed says that the connection did
// not survive it, which no statement of ours causes.
func classify(err error, closed bool) error {
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, errLostCheckpoint), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &refused):
		if strings.Contains(passing, refused.Code[:2]) {
			return err
		}
		return dataError{err}
	case closed:
		return err
	}
	return dataError{err} // an argument that pgx can't encode
}

// maxErrorBytes bounds the text of an error that is stored.
const maxErrorBytes = 2000

// storableText is text that PostgreSQL takes: valid UTF-8 without NUL, and not overlong.
func storableText(text string, maxBytes int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && !utf8.RuneStart(text[maxBytes]) {
		maxBytes--
	}
	return text[:maxBytes]
}
