package privacy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/archonhq/archon/internal/secrets"
)

// fingerprintPath is where the key of request fingerprints is.
const fingerprintPath = "system/fingerprint"

// FingerprintKey returns the deployment's key for HMACs of request bodies, 32 bytes, and makes it where there is none:
// all nodes get the same. A body may hold a secret, so what is stored of it must not be open to guessing. Errors are
// those of the secret store.
func FingerprintKey(ctx context.Context, store secrets.Store) ([]byte, error) {
	key, err := readFingerprintKey(ctx, store)
	if !errors.Is(err, secrets.ErrNotFound) {
		return key, err
	}

	key = make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails: the program would have ended

	value := map[string]string{fieldKey: base64.RawURLEncoding.EncodeToString(key)}

	_, err = store.PutIfVersion(ctx, fingerprintPath, 0, value)
	if errors.Is(err, secrets.ErrVersionMismatch) { // another node was first
		return readFingerprintKey(ctx, store)
	}

	if err != nil {
		return nil, fmt.Errorf("make fingerprint key: %w", err)
	}

	return key, nil
}

func readFingerprintKey(ctx context.Context, store secrets.Store) ([]byte, error) {
	value, _, err := store.Get(ctx, fingerprintPath, 0)
	if err != nil {
		return nil, fmt.Errorf("read fingerprint key: %w", err)
	}

	key, err := base64.RawURLEncoding.DecodeString(value[fieldKey])
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("read fingerprint key: %w", secrets.ErrCorrupt)
	}

	return key, nil
}
