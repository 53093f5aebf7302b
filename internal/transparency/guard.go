package transparency

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/internal/secrets"
)

// Fields of the secrets.
const (
	fieldSeed        = "seed"
	fieldIncarnation = "incarnation"
	fieldSize        = "size"
	fieldRoot        = "root"
)

func keyPath(tenant string) string   { return "tenants/" + tenant + "/audit/key" }
func guardPath(tenant string) string { return "tenants/" + tenant + "/audit/guard" }

// guard is what was signed last of a tenant's log.
type guard struct {
	incarnation int
	size        int64
	root        tlog.Hash
	// version is the secret's, for check-and-set.
	version int
}

var errGuardCorrupt = errors.New("what the secret store has of the log's last signature can't be understood")

// vault reads and writes the secrets of signing.
type vault struct{ secrets secrets.Store }

// open returns the tenant's key and guard. Where there is neither, both are made, unless mayBegin objects. One without the other
// is refused: somebody has taken away the memory of what was signed, and starting over would be what they want.
func (v vault) open(ctx context.Context, tenant string, mayBegin func() error) (ed25519.PrivateKey, guard, error) {
	key, err := v.key(ctx, tenant)
	if errors.Is(err, secrets.ErrNotFound) {
		if err = mayBegin(); err == nil {
			key, err = v.begin(ctx, tenant)
		}
	}
	if err != nil {
		return nil, guard{}, err
	}
	last, err := v.guard(ctx, tenant)
	if errors.Is(err, secrets.ErrNotFound) {
		return nil, guard{}, &Refusal{Tenant: tenant, Reason: "the secret store has lost what was signed last, though it has the key"}
	}
	return key, last, err
}

// begin makes the guard and then the key, so that a crash between the two can be told from a guard that was taken away.
func (v vault) begin(ctx context.Context, tenant string) (ed25519.PrivateKey, error) {
	_, err := v.put(ctx, tenant, guard{incarnation: 1})
	if errors.Is(err, secrets.ErrVersionMismatch) {
		err = v.unsigned(ctx, tenant)
	}
	if err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	_, err = v.secrets.PutIfVersion(ctx, keyPath(tenant), 0, map[string]string{fieldSeed: base64.StdEncoding.EncodeToString(seed)})
	if err != nil && !errors.Is(err, secrets.ErrVersionMismatch) {
		return nil, fmt.Errorf("keep a new signing key: %w", err)
	}
	return v.key(ctx, tenant) // another node's, where it was faster
}

// unsigned fails where something was signed and the key is gone. Another node that is faster makes the key before it signs.
func (v vault) unsigned(ctx context.Context, tenant string) error {
	last, err := v.guard(ctx, tenant)
	if err != nil || last.size == 0 {
		return err
	}
	if _, err = v.key(ctx, tenant); errors.Is(err, secrets.ErrNotFound) {
		return &Refusal{
			Tenant: tenant, SignedSize: last.size, SignedRoot: last.root,
			Reason: "the secret store has lost the signing key, though it has what was signed last",
		}
	}
	return err
}

func (v vault) key(ctx context.Context, tenant string) (ed25519.PrivateKey, error) {
	value, _, err := v.secrets.Get(ctx, keyPath(tenant), 0)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	seed, err := base64.StdEncoding.DecodeString(value[fieldSeed])
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read the signing key: %w", secrets.ErrCorrupt)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (v vault) guard(ctx context.Context, tenant string) (guard, error) {
	value, version, err := v.secrets.Get(ctx, guardPath(tenant), 0)
	if err != nil {
		return guard{}, fmt.Errorf("read what was signed last: %w", err)
	}
	last := guard{version: version}
	var root []byte
	if last.incarnation, err = strconv.Atoi(value[fieldIncarnation]); err == nil {
		if last.size, err = strconv.ParseInt(value[fieldSize], 10, 64); err == nil {
			root, err = base64.StdEncoding.DecodeString(value[fieldRoot])
		}
	}
	if err != nil || last.incarnation < 1 || last.size < 0 || len(root) != tlog.HashSize {
		return guard{}, fmt.Errorf("%w: %s", errGuardCorrupt, guardPath(tenant))
	}
	last.root = tlog.Hash(root)
	return last, nil
}

// put moves the guard; it fails with secrets.ErrVersionMismatch where another node has moved it.
func (v vault) put(ctx context.Context, tenant string, next guard) (guard, error) {
	version, err := v.secrets.PutIfVersion(ctx, guardPath(tenant), next.version, map[string]string{
		fieldIncarnation: strconv.Itoa(next.incarnation), fieldSize: strconv.FormatInt(next.size, 10),
		fieldRoot: base64.StdEncoding.EncodeToString(next.root[:]),
	})
	if err != nil {
		return guard{}, fmt.Errorf("keep what is about to be signed: %w", err)
	}
	next.version = version
	return next, nil
}
