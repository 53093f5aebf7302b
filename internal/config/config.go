// Package config reads Archon's settings from ARCHON_* environment variables.
//
// Its invariant: one table ([settings]) names every setting once; reading, `archon help config` and
// docs/configuration.md all come from that table, so none of them can disagree with the others. No error,
// warning or print of a [Config] ever shows the value of a secret.
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// LogFormat is how log lines are written.
type LogFormat string

// The log formats. LogFormatUnset lets the command choose: text for `archon dev`, JSON for `archon serve`.
const (
	LogFormatUnset LogFormat = ""
	LogFormatText  LogFormat = "text"
	LogFormatJSON  LogFormat = "json"
)

// UsageRecording is when a call through the data plane is recorded.
type UsageRecording string

// The ways to record calls.
const (
	// UsageDurable records a call before the last byte of its answer goes out: nothing that was served is ever lost.
	UsageDurable UsageRecording = "durable"
	// UsageAsync records it after the answer: faster, and kill -9 may lose the last calls.
	UsageAsync UsageRecording = "async"
)

// Config holds all settings, one field a variable. A field whose variable is unset has the default that
// `archon help config` shows; where there is none the field is empty and the part it configures is off or embedded.
type Config struct {
	// HTTPAddr is the host:port to listen on; port 0 takes any free one.
	HTTPAddr string
	// TrustedProxies are the peers whose X-Forwarded-For is believed for the client's address.
	TrustedProxies []netip.Prefix
	// ShutdownTimeout bounds draining after SIGTERM.
	ShutdownTimeout time.Duration
	// ReadYourWritesTimeout bounds how long an answer waits for the read tables; 0 does not wait.
	ReadYourWritesTimeout time.Duration
	// Deployment names this installation in signed checkpoints.
	Deployment string
	// AnchorDir and AnchorURL are where signed checkpoints are put; empty means nowhere.
	AnchorDir, AnchorURL string
	// NodeName tells this process from its siblings in logs and locks.
	NodeName string

	// AllowedOrigins are those whose pages may open sockets, besides the server's own.
	AllowedOrigins []string
	// MaxSockets and MaxTenantSockets bound the sockets of this process, and those of a tenant among them.
	MaxSockets, MaxTenantSockets int32

	// DataDir is the absolute folder of the embedded parts.
	DataDir string
	// PGBin is the folder of the PostgreSQL programs; empty looks for them.
	PGBin string

	// DatabaseURL is where the requests' role logs in; empty means the embedded cluster where there may be one.
	DatabaseURL Secret
	// WorkerDatabaseURL is the login of projectors and jobs; empty means DatabaseURL.
	WorkerDatabaseURL Secret
	// MigrateDatabaseURL is the owner's login, for `archon migrate`; empty means DatabaseURL.
	MigrateDatabaseURL Secret
	// DatabaseMaxConns is the size of each pool.
	DatabaseMaxConns int32
	// RedisURL is a redis:// or rediss:// URL; empty means the embedded one where there may be one.
	RedisURL Secret

	// VaultAddr is the URL of a HashiCorp Vault; empty means the encrypted file in DataDir.
	VaultAddr string
	// VaultToken, or the content of VaultTokenFile, is the token to log in with.
	VaultToken     Secret
	VaultTokenFile string
	// VaultRoleID with VaultSecretID, or the content of VaultSecretIDFile, is the AppRole to log in with.
	VaultRoleID       string
	VaultSecretID     Secret
	VaultSecretIDFile string
	// VaultMount is the path of the KV v2 engine, without slashes at its ends.
	VaultMount string
	// VaultNamespace is Vault Enterprise's namespace; empty means none.
	VaultNamespace string

	// OIDCIssuer is the exact `iss` of tokens; empty means the embedded issuer where there may be one.
	OIDCIssuer string
	// OIDCAudience must be in the `aud` of a token.
	OIDCAudience string
	// OIDCTenantClaim, OIDCRolesClaim and OIDCDepartmentClaim name claims; a dot descends into an object.
	OIDCTenantClaim     string
	OIDCRolesClaim      string
	OIDCDepartmentClaim string

	// ProviderAllowedCIDRs are the otherwise refused ranges that providers may live in.
	ProviderAllowedCIDRs []netip.Prefix
	// ProbeInterval is how often an idle provider is probed.
	ProbeInterval time.Duration
	// ConnectTimeout, FirstByteTimeout, IdleTimeout and CallTimeout bound an attempt at a provider: connecting, waiting for
	// the answer to begin, silence within it, and all of it.
	ConnectTimeout, FirstByteTimeout, IdleTimeout, CallTimeout time.Duration
	// UsageRecording is when a call is recorded.
	UsageRecording UsageRecording
	// DefaultMaxTokens is what a call under a budget may generate where neither client nor model say.
	DefaultMaxTokens int64

	// LogLevel is the least level that is logged.
	LogLevel slog.Level
	// LogFormat is LogFormatUnset unless chosen.
	LogFormat LogFormat
	// OTELEndpoint is the base URL of an OTLP/HTTP collector (to which v1/traces is added); empty means no traces.
	OTELEndpoint string
}
