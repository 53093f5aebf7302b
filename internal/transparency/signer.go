package transparency

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/secrets"
)

// ErrEmpty says that the tenant has no events, so that there is nothing to sign.
var ErrEmpty = errors.New("the log has no events yet")

// Refusal says that a checkpoint was not signed because the log contradicts what was signed before: rows were changed or lost,
// or an older backup was restored. A person has to look; where a backup was restored on purpose, `archon audit incarnate` says so.
type Refusal struct {
	Tenant string
	// SignedSize and SignedRoot are what was signed last; zero where that is not known.
	SignedSize int64
	SignedRoot tlog.Hash
	// Reason is a sentence for a person.
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("the log of %s is not signed: %s", r.Tenant, r.Reason)
}

// Log is the part of the event store that is signed.
type Log interface {
	GrowTree(ctx context.Context, tenant string) (*eventstore.Tree, error)
	KeepCheckpoint(ctx context.Context, tenant string, checkpoint eventstore.Checkpoint, note string) error
	KeepRefusal(ctx context.Context, tenant, reason string) error
	NewestCheckpoint(ctx context.Context, tenant string) (note string, err error)
}

var _ Log = (*eventstore.Store)(nil)

// Signed is a signed checkpoint.
type Signed struct {
	eventstore.Checkpoint

	// Note is the signed note, ready to be handed out.
	Note string
	// Tree is what it was signed of.
	Tree *eventstore.Tree
}

// lanes is how many tenants can be signed at the same time on a node. Calls for the same tenant queue up, since the guard lets
// only one of them pass.
const lanes = 64

// Signer signs the logs of tenants. It is safe for concurrent use, on any number of nodes.
type Signer struct {
	Log     Log
	Secrets secrets.Store
	// Deployment is the first part of every origin.
	Deployment string
	Logger     *slog.Logger
	// Metrics, where set, counts.
	Metrics *Metrics

	once  sync.Once
	seed  maphash.Seed
	queue [lanes]chan struct{}
}

// Metrics counts what was signed and what was refused.
type Metrics struct{ signed, refused prometheus.Counter }

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		signed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "archon_audit_checkpoints_signed_total", Help: "Checkpoints of logs that were signed."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "archon_audit_checkpoints_refused_total", Help: "Checkpoints that were not signed, because the log contradicts what was signed before. Anything but 0 needs a person."}),
	}
	registry.MustRegister(m.signed, m.refused)
	return m
}

// maxRaces bounds how often a checkpoint is begun anew because other nodes were faster; each time one of them was signed.
const maxRaces = 20

var errRaces = errors.New("other nodes sign the same log all the time")

// Checkpoint signs the tenant's log as it is now, or a moment later. It fails with a *Refusal where the log contradicts what was
// signed before, and with ErrEmpty where there is none.
func (s *Signer) Checkpoint(ctx context.Context, tenant string) (Signed, error) {
	leave, err := s.enter(ctx, tenant)
	if err != nil {
		return Signed{}, err
	}
	defer leave()
	signed, err := s.checkpoint(ctx, tenant)
	if refusal, refused := errors.AsType[*Refusal](err); refused {
		s.refused(ctx, refusal)
	}
	return signed, err
}

// enter waits for the tenant's lane.
func (s *Signer) enter(ctx context.Context, tenant string) (leave func(), err error) {
	s.once.Do(func() {
		s.seed = maphash.MakeSeed()
		for i := range s.queue {
			s.queue[i] = make(chan struct{}, 1)
		}
	})
	lane := s.queue[maphash.String(s.seed, tenant)%lanes]
	select {
	case lane <- struct{}{}:
		return func() { <-lane }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to sign: %w", context.Cause(ctx))
	}
}

func (s *Signer) refused(ctx context.Context, refusal *Refusal) {
	s.Logger.ErrorContext(ctx, "a log is not signed because it contradicts what was signed before; see docs/audit-format.md",
		slog.String("tenant", refusal.Tenant), slog.String("reason", refusal.Reason), slog.Int64("signed_size", refusal.SignedSize))
	if s.Metrics != nil {
		s.Metrics.refused.Inc()
	}
	if err := s.Log.KeepRefusal(ctx, refusal.Tenant, refusal.Reason); err != nil {
		s.Logger.WarnContext(ctx, "that a log is not signed could not be kept", slog.String("tenant", refusal.Tenant), slog.Any("error", err))
	}
}

func (s *Signer) checkpoint(ctx context.Context, tenant string) (Signed, error) {
	for range maxRaces {
		signed, err := s.attempt(ctx, tenant)
		if errors.Is(err, secrets.ErrVersionMismatch) {
			continue
		}
		return signed, err
	}
	return Signed{}, fmt.Errorf("sign the log of %s: %w", tenant, errRaces)
}

// attempt signs unless another node moves the guard meanwhile. The guard is read before the tree grows: whatever was signed by
// then is in an honest log by now, so a shorter one is not honest.
func (s *Signer) attempt(ctx context.Context, tenant string) (Signed, error) {
	key, last, err := s.open(ctx, tenant)
	if err != nil {
		return Signed{}, err
	}
	tree, err := s.Log.GrowTree(ctx, tenant)
	if err != nil {
		return Signed{}, broken(tenant, err)
	}
	root, err := prove(ctx, tree, last)
	if err != nil {
		return Signed{}, err
	}
	if tree.Size == 0 {
		return Signed{}, ErrEmpty
	}
	if tree.Size > last.size {
		next := guard{incarnation: last.incarnation, size: tree.Size, root: root, version: last.version}
		if last, err = (vault{s.Secrets}).put(ctx, tenant, next); err != nil {
			return Signed{}, err
		}
	}
	return s.sign(ctx, tree, root, last, key)
}

// open returns the key and the guard, and makes both for a log that has events: who reads a log that nobody has written leaves
// nothing behind.
func (s *Signer) open(ctx context.Context, tenant string) (ed25519.PrivateKey, guard, error) {
	return vault{s.Secrets}.open(ctx, tenant, func() error {
		tree, err := s.Log.GrowTree(ctx, tenant)
		if err != nil {
			return broken(tenant, err)
		}
		if tree.Size == 0 {
			return ErrEmpty
		}
		return nil
	})
}

// broken makes a log that contradicts its own tree a refusal.
func broken(tenant string, err error) error {
	if errors.Is(err, eventstore.ErrTreeBroken) {
		return &Refusal{Tenant: tenant, Reason: err.Error()}
	}
	return err
}

// prove computes the tree's root and proves that it continues what was signed last, with the proof that anybody else would be given.
func prove(ctx context.Context, tree *eventstore.Tree, last guard) (tlog.Hash, error) {
	refuse := func(format string, args ...any) error {
		return &Refusal{Tenant: tree.Tenant, SignedSize: last.size, SignedRoot: last.root, Reason: fmt.Sprintf(format, args...)}
	}
	if tree.Size < last.size {
		return tlog.Hash{}, refuse("it has %d events, and %d were signed: events were lost, or an older backup was restored", tree.Size, last.size)
	}
	root, err := tree.Root(ctx, tree.Size)
	if err != nil {
		return tlog.Hash{}, broken(tree.Tenant, err)
	}
	switch {
	case last.size == 0:
		return root, nil
	case last.size == tree.Size && last.root != root:
		return tlog.Hash{}, refuse("its %d events are not those that were signed", tree.Size)
	case last.size == tree.Size:
		return root, nil
	}
	proof, err := tree.Consistency(ctx, last.size, tree.Size)
	if err != nil {
		return tlog.Hash{}, broken(tree.Tenant, err)
	}
	if tlog.CheckTree(proof, tree.Size, root, last.size, last.root) != nil {
		return tlog.Hash{}, refuse("its first %d events are not those that were signed", last.size)
	}
	return root, nil
}

func (s *Signer) sign(ctx context.Context, tree *eventstore.Tree, root tlog.Hash, last guard, key ed25519.PrivateKey) (Signed, error) {
	checkpoint := eventstore.Checkpoint{Origin: eventstore.Origin(s.Deployment, tree.Tenant, last.incarnation), Size: tree.Size, Root: root}
	note, err := sign(&checkpoint, key)
	if err != nil {
		return Signed{}, err
	}
	if err := s.Log.KeepCheckpoint(ctx, tree.Tenant, checkpoint, note); err != nil {
		return Signed{}, err //nolint:wrapcheck // says what it did
	}
	if s.Metrics != nil {
		s.Metrics.signed.Inc()
	}
	return Signed{Checkpoint: checkpoint, Note: note, Tree: tree}, nil
}

// Key returns the origin of the tenant's log and the key that its checkpoints are verified with, in C2SP's form; the key is made
// where there is none yet. It fails with ErrEmpty where the log has no events.
func (s *Signer) Key(ctx context.Context, tenant string) (origin, vkey string, err error) {
	key, last, err := s.open(ctx, tenant)
	if err != nil {
		return "", "", err
	}
	origin = eventstore.Origin(s.Deployment, tenant, last.incarnation)
	vkey, err = verifierKey(origin, key)
	return origin, vkey, err
}
