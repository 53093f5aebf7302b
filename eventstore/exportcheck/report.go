package exportcheck

import (
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/archonhq/archon/eventstore"
)

// Verdict is what a file is.
type Verdict int

// The verdicts; their numbers are the exit codes of `archon audit verify`.
const (
	// Sound: every event is what was signed.
	Sound Verdict = 0
	// Tampered: something is not what was signed, or contradicts an older checkpoint.
	Tampered Verdict = 1
	// Incomplete: nothing is wrong with what is there, but it does not reach a checkpoint, or not one that was given.
	Incomplete Verdict = 2
)

// Options say what to hold an export against.
type Options struct {
	// Keys are the verifier keys, in C2SP's form, of which one has to have signed the checkpoint and each of Since.
	Keys []string
	// Since are older checkpoints, signed notes that were kept elsewhere.
	Since []string
	// Progress, where set, is told the number of events, now and then. It must not block.
	Progress func(events int64)
}

// Report is the outcome.
type Report struct {
	Verdict Verdict
	Tenant  string
	// From and To are the positions of the first and the last event that were read; both 0 where there was none.
	From, To int64
	// Position is the first bad position, 0 where no single one can be named; Reason is a sentence for a person.
	Position int64
	Reason   string
	// Checkpoint is the signed one at the end of the file; Size 0 where there is none that counts.
	Checkpoint eventstore.Checkpoint
	// Older is how many of the older checkpoints the file is consistent with.
	Older int
	// Notes are the two signed notes that contradict each other, where there are two.
	Notes []string
	// NotProven lists what the verdict says nothing of, in sentences for a person.
	NotProven []string
}

// ErrUsage says that the keys or the older checkpoints can't be used, whatever the file is.
var ErrUsage = errors.New("the keys or checkpoints to verify with can't be used")

// signed is an opened note.
type signed struct {
	eventstore.Checkpoint

	note string
}

// verifiers makes the keys ready.
func verifiers(keys []string) (note.Verifiers, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: a key is needed", ErrUsage)
	}
	var list []note.Verifier
	have := map[string]bool{}
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is not a verifier key of the form <origin>+<hash>+<key>", ErrUsage, key)
		}
		if !have[key] { // the same key twice would be ambiguous
			list = append(list, verifier)
		}
		have[key] = true
	}
	return note.VerifierList(list...), nil
}

var errSignature = errors.New("no signature of a given key")

// open verifies a note: one of the keys, of the checkpoint's own name, has to have signed it.
func open(text string, keys note.Verifiers) (signed, error) {
	opened, err := note.Open([]byte(text), keys)
	if unverified, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		if len(unverified.Note.UnverifiedSigs) > 0 {
			return signed{}, fmt.Errorf("%w: it is signed as %q with another key", errSignature, unverified.Note.UnverifiedSigs[0].Name)
		}
		return signed{}, errSignature
	}
	if err != nil {
		return signed{}, fmt.Errorf("not a signed note: %w", err)
	}
	checkpoint, err := eventstore.ParseCheckpoint(opened.Text)
	if err != nil {
		return signed{}, err //nolint:wrapcheck // says what it is
	}
	for _, signature := range opened.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(signature.Base64); err != nil { // the package lets a few bits be anything
			return signed{}, fmt.Errorf("not a signed note: %w", err)
		}
		if signature.Name == checkpoint.Origin {
			return signed{checkpoint, text}, nil
		}
	}
	return signed{}, fmt.Errorf("%w: the key that signed it is not named %q", errSignature, checkpoint.Origin)
}

// notProven is what no verification of a file can say, and what this one did not.
func (r *Report) notProven(forgotten int64, older int) {
	r.NotProven = append(r.NotProven,
		"that what the events say is true: only that it is what was recorded",
		"that nothing happened after the checkpoint was signed, or that was never recorded",
	)
	if older == 0 {
		r.NotProven = append(r.NotProven, "that the log was never rewritten by somebody who holds the signing key: no older checkpoint was given (--since)")
	} else {
		r.NotProven = append(r.NotProven, "that nothing was rewritten after the newest of the older checkpoints by somebody who holds the signing key")
	}
	if r.From > 1 {
		r.NotProven = append(r.NotProven, fmt.Sprintf("what the events up to position %d are, and the versions that the streams had by then: the file does not have them", r.From-1))
	}
	if r.Checkpoint.Size > r.To {
		r.NotProven = append(r.NotProven, fmt.Sprintf("what the events from position %d on are: the file does not have them", r.To+1))
	}
	if forgotten > 0 {
		r.NotProven = append(r.NotProven, fmt.Sprintf("the versions of %d events, whose streams are older than the last %d that were in use", forgotten, maxStreams))
	}
}
