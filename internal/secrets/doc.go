// Package secrets keeps the values that may never reach PostgreSQL, an event, a log line or an answer: credentials
// of providers, keys of data subjects, signing keys. It is a small versioned key-value store with two
// implementations that behave alike, HashiCorp Vault KV v2 ([OpenVault]) and age-encrypted files ([OpenEmbedded]).
//
// Its one invariant: a version, once written, never changes meaning. Version n of a path is either the value that
// was written as n or gone ([ErrNotFound]), so an event that names a path and a version always means the same bytes,
// and check-and-set ([Store.PutIfVersion]) is enough for any number of nodes to agree. The one way to start over is
// [Store.Destroy], after which versions count from 1 again, as KV v2 has it.
//
//	store, err := secrets.OpenEmbedded(filepath.Join(dataDir, "secrets"))
//	…
//	path := secrets.ProviderPath(tenant, providerID)
//	version, err := store.Put(ctx, path, map[string]string{"api_key": key})
//	value, version, err := store.Get(ctx, path, version)
//
// # Paths
//
// A path is "/"-separated segments of [A-Za-z0-9._-], none of them "." or with ".." in it: at most [MaxPathBytes] long,
// of at most [MaxPathDepth] segments. It is the part below the mount; users are shown "secret/" in front of it.
//
// # Versions
//
// The newest [KeptVersions] versions of a path can be read; what is older may be gone (KV v2's default; a mount may be
// set to keep more). [Store.DestroyVersions] removes the value of a version and remembers that the version was there:
// the numbers go on, and a destroyed newest version reads as ErrNotFound.
//
// # Errors
//
// Every error says what was attempted and on which path, and never holds a value, a token or a text from the far
// side that might echo one. Match them with errors.Is: [ErrNotFound], [ErrVersionMismatch], [ErrUnavailable],
// [ErrDenied], [ErrInvalid], [ErrCorrupt]. A cancelled context comes back as context.Canceled.
//
// # What Vault must allow
//
// Policy for the token or the AppRole, for mount "secret" (create and update for Put, delete for Destroy):
//
//	path "secret/data/*"     { capabilities = ["create", "read", "update"] }
//	path "secret/metadata/*" { capabilities = ["list", "delete"] }
//	path "secret/destroy/*"  { capabilities = ["update"] }
//
// and the "default" policy, for token lookup and renewal. The mount must be KV version 2 with delete_version_after
// off, or keys vanish by themselves.
package secrets
