package privacy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/internal/secrets"
)

const (
	// keyNamespace is the namespace of key ids; it is part of the published format.
	keyNamespace = "6f0a3c52-5d0b-4c4e-9b7a-2f1f0f5b8a71"

	// Fields of a subject's secret: the key (base64url), or when it was erased (RFC 3339).
	fieldKey    = "key"
	fieldErased = "erased"

	// maxGenerations is how often one subject can be erased. It only bounds a loop.
	maxGenerations = 1000
)

var (
	// ErrErased says that the key of an envelope is gone: the subject was erased, and the data with it.
	ErrErased = errors.New("personal data was erased")
	// ErrInvalid says that a tenant or subject cannot have a key.
	ErrInvalid = errors.New("tenant or subject is not valid")
)

// KeyID returns the id of a subject's key. The generation is how often the subject was erased before.
func KeyID(tenant, subject string, generation int) uuid.UUID {
	name := tenant + "\x00" + strconv.Itoa(generation) + "\x00" + subject

	return uuid.NewSHA1(uuid.MustParse(keyNamespace), []byte(name))
}

// KeyPath returns where in the secret store a key is.
func KeyPath(tenant string, id uuid.UUID) string {
	return "tenants/" + tenant + "/subjects/" + id.String()
}

func validateTenant(tenant string) error {
	if strings.Contains(tenant, "/") || secrets.ValidatePath(tenant) != nil {
		return fmt.Errorf("%w: the tenant cannot be part of a path", ErrInvalid)
	}

	return nil
}

func validateSubject(tenant, subject string) error {
	if subject == "" {
		return fmt.Errorf("%w: the subject is empty", ErrInvalid)
	}

	return validateTenant(tenant)
}

// fetchKey reads a key. It returns ErrErased, with the version of the tombstone, where it was erased, and
// secrets.ErrNotFound where there is nothing.
func fetchKey(ctx context.Context, store secrets.Store, tenant string, id uuid.UUID) (*subjectKey, int, error) {
	value, version, err := store.Get(ctx, KeyPath(tenant, id), 0)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch subject key: %w", err)
	}

	if _, erased := value[fieldErased]; erased {
		return nil, version, ErrErased
	}

	secret, err := base64.RawURLEncoding.DecodeString(value[fieldKey])
	if err != nil {
		return nil, 0, fmt.Errorf("fetch subject key %s: %w", id, secrets.ErrCorrupt)
	}

	key, err := newSubjectKey(id, secret)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch subject key %s: %w: %w", id, secrets.ErrCorrupt, err)
	}

	return key, version, nil
}

// createKey makes a key unless somebody else just has, and returns the one that counts.
func createKey(ctx context.Context, store secrets.Store, tenant string, id uuid.UUID) (*subjectKey, error) {
	secret := make([]byte, keyBytes)
	_, _ = rand.Read(secret) // never fails: the program would have ended

	value := map[string]string{fieldKey: base64.RawURLEncoding.EncodeToString(secret)}

	_, err := store.PutIfVersion(ctx, KeyPath(tenant, id), 0, value)
	if errors.Is(err, secrets.ErrVersionMismatch) {
		key, _, err := fetchKey(ctx, store, tenant, id)
		if errors.Is(err, secrets.ErrNotFound) {
			return nil, ErrErased // there was something, and it is gone
		}

		return key, err
	}

	if err != nil {
		return nil, fmt.Errorf("create subject key: %w", err)
	}

	return newSubjectKey(id, secret)
}

// currentKey returns the key that a subject's data is sealed with now: that of the first generation not erased.
func currentKey(ctx context.Context, store secrets.Store, tenant, subject string) (*subjectKey, error) {
	for generation := range maxGenerations {
		id := KeyID(tenant, subject, generation)

		key, _, err := fetchKey(ctx, store, tenant, id)
		if errors.Is(err, secrets.ErrNotFound) {
			key, err = createKey(ctx, store, tenant, id)
		}

		if !errors.Is(err, ErrErased) {
			return key, err
		}
	}

	return nil, fmt.Errorf("%w: the subject was erased %d times", ErrInvalid, maxGenerations)
}

// eraseKeys destroys all keys that a subject has had, and returns how many generations it looked at. It writes the
// tombstone before it destroys the key, so that whoever is interrupted in between can go on, and no moment looks as if
// there had never been a key. A gap of one is looked over: somebody may have destroyed a key by hand.
func eraseKeys(ctx context.Context, store secrets.Store, tenant, subject string, now time.Time) (int, error) {
	for generation, missing := 0, 0; generation < maxGenerations; generation++ {
		id := KeyID(tenant, subject, generation)

		_, version, err := fetchKey(ctx, store, tenant, id)
		if errors.Is(err, secrets.ErrNotFound) {
			missing++
			if missing > 1 {
				return generation, nil
			}

			continue
		}

		missing = 0

		if err == nil || errors.Is(err, secrets.ErrCorrupt) {
			tombstone := map[string]string{fieldErased: now.UTC().Format(time.RFC3339)}
			version, err = store.Put(ctx, KeyPath(tenant, id), tombstone)
		}

		if err == nil || errors.Is(err, ErrErased) {
			err = store.DestroyVersions(ctx, KeyPath(tenant, id), numbersBelow(version)...)
		}

		if err != nil {
			return generation + 1, fmt.Errorf("destroy subject key: %w", err)
		}
	}

	return maxGenerations, nil
}

func numbersBelow(version int) []int {
	numbers := make([]int, 0, version)
	for number := 1; number < version; number++ {
		numbers = append(numbers, number)
	}

	return numbers
}
