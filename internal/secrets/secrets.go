package secrets

import (
	"context"
	"errors"
)

// Errors of a [Store], matched with errors.Is.
var (
	// ErrNotFound says that there is no such path, no such version of it, or that the version was destroyed.
	ErrNotFound = errors.New("secret not found")
	// ErrVersionMismatch says that a check-and-set met another newest version than expected: read and decide again.
	ErrVersionMismatch = errors.New("secret has another version than expected")
	// ErrUnavailable says that the store could not answer (away, sealed, overloaded, misconfigured mount). Nothing
	// is known about the secret; answer 503 and try again later. A write may or may not have happened.
	ErrUnavailable = errors.New("secret store is unavailable")
	// ErrDenied says that the store refused the node's own identity or its policy. An operator has to act.
	ErrDenied = errors.New("secret store denied access")
	// ErrInvalid says that a path, version or value is outside of what any store accepts. It is a caller's mistake.
	ErrInvalid = errors.New("secret path or value is not valid")
	// ErrCorrupt says that a stored secret could not be understood: damaged, moved, or encrypted to another identity.
	ErrCorrupt = errors.New("stored secret is damaged")
)

// Kinds of stores, as [Store.Kind] names them.
const (
	KindVault    = "vault"
	KindEmbedded = "embedded"
)

// KeptVersions is how many of the newest versions of a path stay readable. It is KV v2's default of max_versions.
const KeptVersions = 10

// Store keeps versioned secrets. A value is a JSON object of strings. All methods are safe for concurrent use, by
// several processes too, and return an error that wraps one of this package's when the store says no.
type Store interface {
	// Put writes a new newest version and returns its number, which starts at 1. A crash or a lost answer may leave a
	// version that nobody knows of; it holds what the caller meant to write and is harmless.
	Put(ctx context.Context, path string, value map[string]string) (version int, err error)
	// PutIfVersion writes a new newest version if the newest one is expected; 0 means that the path must not exist,
	// which a path whose versions were all destroyed does. Otherwise it returns [ErrVersionMismatch].
	PutIfVersion(ctx context.Context, path string, expected int, value map[string]string) (version int, err error)
	// Get returns the value of a version and its number; version 0 asks for the newest. It returns [ErrNotFound] for
	// what was never there and for what was destroyed: a destroyed newest version does not uncover the one before.
	Get(ctx context.Context, path string, version int) (value map[string]string, v int, err error)
	// Destroy removes all versions of a path and all knowledge of it. It is idempotent.
	Destroy(ctx context.Context, path string) error
	// DestroyVersions removes the values of some versions, for good. Versions that are not there are ignored.
	DestroyVersions(ctx context.Context, path string, versions ...int) error
	// List returns the names directly below prefix, sorted; a name that has paths below it ends with "/", and a name
	// that is both appears twice. Prefix "" is the top. What is not there lists as nothing.
	List(ctx context.Context, prefix string) ([]string, error)
	// Check returns nil if the store can serve this node now, else why not. It is meant for /health.
	Check(ctx context.Context) error
	// Kind names the implementation: [KindVault] or [KindEmbedded].
	Kind() string
	// Close stops background work and waits for it. Calls after it return [ErrUnavailable]. It may be called twice.
	Close() error
}

// ProviderPath returns the path of a model provider's credentials. Users are shown it as "secret/" + this.
func ProviderPath(tenant, id string) string {
	return "tenants/" + tenant + "/providers/" + id
}

// AlertWebhookPath returns the path of the secret that a tenant's alerts are signed with.
func AlertWebhookPath(tenant string) string { return "tenants/" + tenant + "/alert-webhook" }
