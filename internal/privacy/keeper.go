package privacy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/archonhq/archon/internal/secrets"
)

const (
	defaultKeyTTL    = time.Minute
	defaultStaleTTL  = time.Hour
	defaultCacheSize = 4096

	// loadTimeout bounds one look into the secret store on behalf of all who wait for it.
	loadTimeout = 10 * time.Second
	// staleWait is how long a seal that has an old key waits for the secret store before it uses that.
	staleWait = 250 * time.Millisecond
	// staleRetry is the pause between such waits.
	staleRetry = 5 * time.Second
)

// Config sets how a [Keeper] remembers keys. Zero values are the defaults.
type Config struct {
	// KeyTTL is how long a key, or the fact that it is gone, is used without asking the secret store; 0 means a minute.
	// It is how late another node's erasure may be noticed.
	KeyTTL time.Duration
	// StaleTTL is how old a key may get that is sealed with while the secret store is away; 0 means an hour, negative
	// values mean never.
	StaleTTL time.Duration
	// CacheSize is how many subjects' keys are remembered (about 1 KiB each, twice); 0 means 4096.
	CacheSize int
}

// Keeper seals and opens personal data. It is safe for concurrent use.
type Keeper struct {
	store     secrets.Store
	cfg       Config
	bySubject *lru.Cache[subjectName, sealingKey]
	byID      *lru.Cache[keyName, openingKey]
	loads     singleflight.Group
}

type subjectName struct{ tenant, subject string }

type keyName struct {
	tenant string
	id     uuid.UUID
}

// sealingKey is a remembered key of a subject. It is used without a question before freshUntil, and after that only
// where the store does not answer.
type sealingKey struct {
	key                *subjectKey
	loaded, freshUntil time.Time
}

// openingKey is a remembered key, or (nil) that there is none any more.
type openingKey struct {
	key    *subjectKey
	loaded time.Time
}

// NewKeeper returns a keeper of the keys in store, with the default configuration.
func NewKeeper(store secrets.Store) *Keeper { return NewKeeperWith(store, Config{}) }

// NewKeeperWith returns a keeper of the keys in store. It panics where the configuration has a negative size.
func NewKeeperWith(store secrets.Store, cfg Config) *Keeper {
	cfg.KeyTTL = cmp.Or(cfg.KeyTTL, defaultKeyTTL)
	cfg.StaleTTL = cmp.Or(cfg.StaleTTL, defaultStaleTTL)
	cfg.CacheSize = cmp.Or(cfg.CacheSize, defaultCacheSize)

	bySubject, err := lru.New[subjectName, sealingKey](cfg.CacheSize)
	if err != nil {
		panic(err)
	}

	byID, err := lru.New[keyName, openingKey](cfg.CacheSize)
	if err != nil {
		panic(err)
	}

	return &Keeper{store: store, cfg: cfg, bySubject: bySubject, byID: byID}
}

// Seal encrypts personal data of a subject. The subject is any text that names the person within the tenant for good
// (the OIDC sub). Errors are [ErrInvalid], [ErrTooLarge], those of the secret store, and of ctx.
func (k *Keeper) Seal(ctx context.Context, tenant, subject string, plaintext []byte) (Envelope, error) {
	key, err := k.sealingKey(ctx, subjectName{tenant, subject})
	if err != nil {
		return Envelope{}, fmt.Errorf("seal personal data: %w", err)
	}

	envelope, err := key.seal(tenant, plaintext)
	if err != nil {
		return Envelope{}, fmt.Errorf("seal personal data: %w", err)
	}

	return envelope, nil
}

// Open decrypts an envelope that was found in an event of the tenant. Errors are [ErrErased] where the key is gone,
// [ErrTampered], [ErrInvalid], [ErrMalformed] for the zero envelope, those of the secret store, and of ctx.
func (k *Keeper) Open(ctx context.Context, tenant string, envelope Envelope) ([]byte, error) {
	if envelope.IsZero() {
		return nil, fmt.Errorf("open personal data: %w: there is none", ErrMalformed)
	}

	key, err := k.openingKey(ctx, keyName{tenant, envelope.KeyID})
	if err != nil {
		return nil, fmt.Errorf("open personal data: %w", err)
	}

	plaintext, err := key.open(tenant, envelope)
	if err != nil {
		return nil, fmt.Errorf("open personal data: %w", err)
	}

	return plaintext, nil
}

// Erase destroys the keys of a subject, and so all that was sealed for it so far. It is idempotent and may be tried
// again after an error; a subject without a key is erased already. See the package's documentation for how soon other
// nodes notice.
func (k *Keeper) Erase(ctx context.Context, tenant, subject string) error {
	if err := validateSubject(tenant, subject); err != nil {
		return fmt.Errorf("erase personal data: %w", err)
	}

	generations, err := eraseKeys(ctx, k.store, tenant, subject, time.Now())

	k.bySubject.Remove(subjectName{tenant, subject})

	for generation := range generations {
		k.byID.Remove(keyName{tenant, KeyID(tenant, subject, generation)})
	}

	if err != nil {
		return fmt.Errorf("erase personal data: %w", err)
	}

	return nil
}

// sealingKey returns a subject's key: remembered, from the store, or made. A key that is past its time still serves
// where the store does not answer soon.
func (k *Keeper) sealingKey(ctx context.Context, name subjectName) (*subjectKey, error) {
	now := time.Now()

	old, known := k.bySubject.Get(name)
	if known && now.Before(old.freshUntil) {
		return old.key, nil
	}

	if err := validateSubject(name.tenant, name.subject); err != nil {
		return nil, err
	}

	var patience <-chan time.Time
	if known = known && now.Before(old.loaded.Add(k.cfg.StaleTTL)); known {
		timer := time.NewTimer(staleWait)
		defer timer.Stop()

		patience = timer.C
	}

	key, err := k.load(ctx, patience, "seal\x00"+name.tenant+"\x00"+name.subject, func(ctx context.Context) (*subjectKey, error) {
		return k.loadSealingKey(ctx, name)
	})
	if known && errors.Is(err, secrets.ErrUnavailable) {
		old.freshUntil = now.Add(staleRetry)
		k.bySubject.Add(name, old)

		return old.key, nil
	}

	return key, err
}

func (k *Keeper) loadSealingKey(ctx context.Context, name subjectName) (*subjectKey, error) {
	begun := time.Now() // what is erased from here on may be missed

	key, err := currentKey(ctx, k.store, name.tenant, name.subject)
	if err != nil {
		return nil, err
	}

	k.bySubject.Add(name, sealingKey{key: key, loaded: begun, freshUntil: begun.Add(k.cfg.KeyTTL)})
	k.byID.Add(keyName{name.tenant, key.id}, openingKey{key: key, loaded: begun})

	return key, nil
}

// openingKey returns the key with this id, or ErrErased.
func (k *Keeper) openingKey(ctx context.Context, name keyName) (*subjectKey, error) {
	if held, known := k.byID.Get(name); known && time.Since(held.loaded) < k.cfg.KeyTTL {
		return held.result()
	}

	if err := validateTenant(name.tenant); err != nil {
		return nil, err
	}

	return k.load(ctx, nil, "open\x00"+name.tenant+"\x00"+name.id.String(), func(ctx context.Context) (*subjectKey, error) {
		return k.loadOpeningKey(ctx, name)
	})
}

func (k *Keeper) loadOpeningKey(ctx context.Context, name keyName) (*subjectKey, error) {
	begun := time.Now()

	key, _, err := fetchKey(ctx, k.store, name.tenant, name.id)
	if err != nil && !errors.Is(err, ErrErased) && !errors.Is(err, secrets.ErrNotFound) {
		return nil, err
	}

	held := openingKey{key: key, loaded: begun}
	k.byID.Add(name, held)

	return held.result()
}

func (o openingKey) result() (*subjectKey, error) {
	if o.key == nil {
		return nil, ErrErased
	}

	return o.key, nil
}

// errNoAnswerYet says that the caller's patience is over; the load goes on for others.
var errNoAnswerYet = fmt.Errorf("%w: it has not answered yet", secrets.ErrUnavailable)

// load runs one load of a key at a time, for all who want it, and returns its result, or when ctx or patience ends.
func (k *Keeper) load(
	ctx context.Context, patience <-chan time.Time, name string, load func(context.Context) (*subjectKey, error),
) (*subjectKey, error) {
	flight := k.loads.DoChan(name, func() (any, error) {
		// Whoever came first may go away; the others still want the key.
		loadCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()

		return load(loadCtx)
	})

	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience:
		return nil, errNoAnswerYet
	case result := <-flight:
		key, _ := result.Val.(*subjectKey)

		return key, result.Err
	}
}
