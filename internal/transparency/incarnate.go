package transparency

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/secrets"
)

// ErrContinues says that the log continues what was signed of it, so that there is nothing to declare.
var ErrContinues = errors.New("the log continues what was signed of it last; there is no restored backup to declare")

// Incarnation is what is declared of a restored backup.
type Incarnation struct {
	// Number is the new incarnation's.
	Number int
	// Surviving is the last checkpoint that the restored log still is the continuation of; Size 0 where none is known.
	Surviving eventstore.Checkpoint
	// Lost is what had been signed last.
	Lost eventstore.Checkpoint
}

// Incarnate declares that the tenant's log was restored from a backup on purpose: from then on it is signed under a new origin, to which
// nothing that was signed before is held. declare has to write that into the log, and is called before it holds. It fails with
// ErrContinues where nothing was restored, and with a *Refusal where the log and its tree contradict each other: that is no backup.
func (s *Signer) Incarnate(ctx context.Context, tenant string, declare func(ctx context.Context, incarnation Incarnation) error) (Incarnation, error) {
	leave, err := s.enter(ctx, tenant)
	if err != nil {
		return Incarnation{}, err
	}
	defer leave()
	key, last, err := s.open(ctx, tenant)
	if err != nil {
		return Incarnation{}, err
	}
	tree, err := s.Log.GrowTree(ctx, tenant)
	if err != nil {
		return Incarnation{}, broken(tenant, err)
	}
	_, err = prove(ctx, tree, last)
	if err == nil {
		return Incarnation{}, ErrContinues
	}
	if _, refused := errors.AsType[*Refusal](err); !refused {
		return Incarnation{}, err
	}
	origin := eventstore.Origin(s.Deployment, tenant, last.incarnation)
	made := Incarnation{Number: last.incarnation + 1, Lost: eventstore.Checkpoint{Origin: origin, Size: last.size, Root: last.root}}
	if made.Surviving, err = s.surviving(ctx, tree, origin, key); err != nil {
		return Incarnation{}, err
	}
	if err := declare(ctx, made); err != nil {
		return Incarnation{}, err
	}
	_, err = (vault{s.Secrets}).put(ctx, tenant, guard{incarnation: made.Number, version: last.version})
	if errors.Is(err, secrets.ErrVersionMismatch) {
		return Incarnation{}, fmt.Errorf("declare a restored backup of %s: somebody else signs or declares it at the same time; look again: %w", tenant, err)
	}
	return made, err
}

// surviving is the newest stored checkpoint, where it was really signed and the tree continues it.
func (s *Signer) surviving(ctx context.Context, tree *eventstore.Tree, origin string, key ed25519.PrivateKey) (eventstore.Checkpoint, error) {
	text, err := s.Log.NewestCheckpoint(ctx, tree.Tenant)
	if err != nil || text == "" {
		return eventstore.Checkpoint{}, err //nolint:wrapcheck // says what it did
	}
	vkey, err := verifierKey(origin, key)
	if err != nil {
		return eventstore.Checkpoint{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return eventstore.Checkpoint{}, fmt.Errorf("read our own key: %w", err)
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return eventstore.Checkpoint{}, nil //nolint:nilerr // what we did not sign did not survive
	}
	checkpoint, err := eventstore.ParseCheckpoint(opened.Text)
	if err != nil || checkpoint.Size > tree.Size {
		return eventstore.Checkpoint{}, nil //nolint:nilerr // see above
	}
	root, err := tree.Root(ctx, checkpoint.Size)
	if err != nil {
		return eventstore.Checkpoint{}, broken(tree.Tenant, err)
	}
	if root != checkpoint.Root {
		return eventstore.Checkpoint{}, nil
	}
	return checkpoint, nil
}
