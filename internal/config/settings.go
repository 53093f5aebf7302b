package config

import (
	"cmp"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// prefix starts the name of every variable that is Archon's.
const prefix = "ARCHON_"

// setting is one row of the table that drives reading, help and documentation.
type setting struct {
	// name is the variable's name after the prefix.
	name string
	// def is the value of an unset variable, written as a user would; empty means that there is none.
	def string
	// defNote replaces def in help where the default depends on the machine or on the command.
	defNote string
	// doc says what the setting does, in whole sentences.
	doc string
	// example is a value that parses.
	example string
	// secret marks values that are never shown.
	secret bool
	// standard is a variable of a wider convention that counts where ours is unset.
	standard string
	// parse stores a value; its error continues the sentence "ARCHON_NAME …" and never quotes a secret.
	parse func(*Config, string) error
}

// variable is the full name of the environment variable.
func (s setting) variable() string { return prefix + s.name }

// group is a heading of the help and the settings under it.
type group struct {
	title    string
	settings []setting
}

// groups lists every setting, in the order in which help shows them.
func groups(env environment) []group {
	return []group{
		{"Server", append(serverSettings(), anchorSettings(env)...)},
		{"Sockets", socketSettings()},
		{"Embedded parts", embeddedSettings(env)},
		{"PostgreSQL and Redis", storeSettings()},
		{"Vault", vaultSettings()},
		{"Identity", identitySettings()},
		{"Providers", providerSettings()},
		{"Calls of models", callSettings()},
		{"Logs and traces", telemetrySettings()},
	}
}

// settings is groups without the headings.
func settings(env environment) []setting {
	var all []setting
	for _, g := range groups(env) {
		all = append(all, g.settings...)
	}

	return all
}

func serverSettings() []setting {
	return []setting{
		{
			name: "HTTP_ADDR", def: "localhost:8080", example: "0.0.0.0:8080",
			doc:   "Address to listen on, host:port. Without a host all interfaces are meant; port 0 takes any free one.",
			parse: into(func(c *Config) *string { return &c.HTTPAddr }, parseHostPort),
		},
		{
			name: "TRUSTED_PROXIES", example: "10.0.0.0/8,127.0.0.1",
			doc:   "Comma-separated CIDRs of the proxies whose X-Forwarded-For is believed for the client's address.",
			parse: into(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }, parseCIDRs),
		},
		{
			name: "SHUTDOWN_TIMEOUT", def: "20s", example: "45s",
			doc:   "How long SIGTERM waits for requests, appends and projectors to finish, at most 10m.",
			parse: into(func(c *Config) *time.Duration { return &c.ShutdownTimeout }, durationBetween(minWait, maxShutdownTimeout)),
		},
		{
			name: "READ_YOUR_WRITES_TIMEOUT", def: "2s", example: "500ms",
			doc:   "How long the answer to a write waits until the read tables show it, at most 1m; 0s does not wait.",
			parse: into(func(c *Config) *time.Duration { return &c.ReadYourWritesTimeout }, durationBetween(0, maxReadYourWrites)),
		},
		{
			name: "DEPLOYMENT", def: "archon", example: "archon-eu",
			doc:   "Name of this installation, the first part of a signed checkpoint's origin. Don't change it later: old checkpoints carry it.",
			parse: into(func(c *Config) *string { return &c.Deployment }, parseName),
		},
		{
			name: "NODE_NAME", def: hostName(), defNote: "the host's name", example: "archon-1",
			doc:   "Name of this process in logs and locks; give each node of a deployment its own.",
			parse: into(func(c *Config) *string { return &c.NodeName }, parseName),
		},
	}
}

func anchorSettings(env environment) []setting {
	return []setting{
		{
			name: "ANCHOR_DIR", example: "/mnt/append-only/archon",
			doc: "Folder into which every signed checkpoint is written, a file each, and never changed: best on storage that the database's owner can't rewrite, " +
				"such as a mounted bucket with object lock.",
			parse: into(func(c *Config) *string { return &c.AnchorDir }, pathUnder(env)),
		},
		{
			name: "ANCHOR_URL", example: "https://witness.example.com/archon",
			doc:   "Endpoint to which every signed checkpoint is posted as text/plain; it has to take the same one twice. What it answers is kept in the log.",
			parse: into(func(c *Config) *string { return &c.AnchorURL }, parseHTTPURL),
		},
	}
}

func socketSettings() []setting {
	return []setting{
		{
			name: "ALLOWED_ORIGINS", defNote: "the server's own alone", example: "https://console.example.com,http://localhost:5173",
			doc:   "Comma-separated origins, scheme://host[:port], whose pages may open sockets here besides those of this server.",
			parse: into(func(c *Config) *[]string { return &c.AllowedOrigins }, parseOrigins),
		},
		{
			name: "MAX_SOCKETS", def: "10000", example: "2000",
			doc:   "Sockets that this process holds at once, from 1 to 1000000; one takes about 30 KB.",
			parse: into(func(c *Config) *int32 { return &c.MaxSockets }, intBetween(1, maxSockets)),
		},
		{
			name: "MAX_TENANT_SOCKETS", def: "2500", example: "100",
			doc:   "Sockets of one tenant that this process holds at once, from 1 to 1000000.",
			parse: into(func(c *Config) *int32 { return &c.MaxTenantSockets }, intBetween(1, maxSockets)),
		},
	}
}

func embeddedSettings(env environment) []setting {
	return []setting{
		{
			name: "DATA_DIR", def: defaultDataDir(env), example: "/var/lib/archon",
			defNote: "$XDG_DATA_HOME/archon, else ~/.local/share/archon, else /var/lib/archon",
			doc: "Folder of everything embedded: the PostgreSQL cluster, Redis, the encrypted secrets, the local issuer's key. " +
				"Processes with different folders run side by side.",
			parse: into(func(c *Config) *string { return &c.DataDir }, pathUnder(env)),
		},
		{
			name: "PG_BIN", defNote: "looked for on PATH and where distributions put it", example: "/usr/lib/postgresql/16/bin",
			doc:   "Folder of the PostgreSQL programs (initdb, postgres) for the embedded cluster; version 15 or later.",
			parse: into(func(c *Config) *string { return &c.PGBin }, pathUnder(env)),
		},
	}
}

func storeSettings() []setting {
	return []setting{
		{
			name: "DATABASE_URL", secret: true, example: "postgres://archon_app:PASSWORD@db:5432/archon?sslmode=verify-full",
			doc:   "PostgreSQL connection string of the runtime role, as a URL or as keywords (host=db dbname=archon).",
			parse: into(func(c *Config) *Secret { return &c.DatabaseURL }, parsePostgres),
		},
		{
			name: "WORKER_DATABASE_URL", secret: true, defNote: "ARCHON_DATABASE_URL",
			example: "postgres://archon_worker:PASSWORD@db:5432/archon",
			doc:     "PostgreSQL connection string for projectors and jobs, where they log in separately.",
			parse:   into(func(c *Config) *Secret { return &c.WorkerDatabaseURL }, parsePostgres),
		},
		{
			name: "MIGRATE_DATABASE_URL", secret: true, defNote: "ARCHON_DATABASE_URL",
			example: "postgres://archon_owner:PASSWORD@db:5432/archon",
			doc:     "PostgreSQL connection string of the tables' owner, for `archon migrate`.",
			parse:   into(func(c *Config) *Secret { return &c.MigrateDatabaseURL }, parsePostgres),
		},
		{
			name: "DATABASE_MAX_CONNS", def: "20", example: "50",
			doc:   "Connections in each PostgreSQL pool, at most 1000.",
			parse: into(func(c *Config) *int32 { return &c.DatabaseMaxConns }, intBetween(1, maxDatabaseConns)),
		},
		{
			name: "REDIS_URL", secret: true, example: "redis://:PASSWORD@redis:6379/0",
			doc:   "URL of a Redis 7 server: redis:// or, with TLS, rediss://.",
			parse: into(func(c *Config) *Secret { return &c.RedisURL }, parseRedis),
		},
	}
}

func vaultSettings() []setting {
	return []setting{
		{
			name: "VAULT_ADDR", example: "https://vault:8200",
			doc:   "URL of a HashiCorp Vault. With it goes either a token or an AppRole.",
			parse: into(func(c *Config) *string { return &c.VaultAddr }, parseHTTPURL),
		},
		{
			name: "VAULT_TOKEN", secret: true, example: "hvs.EXAMPLE",
			doc:   "Token to log in to Vault with; it is renewed while Archon runs.",
			parse: into(func(c *Config) *Secret { return &c.VaultToken }, parseToken),
		},
		{
			name: "VAULT_TOKEN_FILE", example: "/run/secrets/vault-token",
			doc:   "File that holds the token, instead of ARCHON_VAULT_TOKEN.",
			parse: into(func(c *Config) *string { return &c.VaultTokenFile }, parsePath),
		},
		{
			name: "VAULT_ROLE_ID", example: "8f1c3f0e-0d4c-4a53-9a40-6a3e6f5b1c11",
			doc:   "AppRole to log in to Vault with, together with its secret id.",
			parse: into(func(c *Config) *string { return &c.VaultRoleID }, parsePrintable),
		},
		{
			name: "VAULT_SECRET_ID", secret: true, example: "SECRET-ID",
			doc:   "Secret id of the AppRole.",
			parse: into(func(c *Config) *Secret { return &c.VaultSecretID }, parseToken),
		},
		{
			name: "VAULT_SECRET_ID_FILE", example: "/run/secrets/vault-secret-id",
			doc:   "File that holds the secret id, instead of ARCHON_VAULT_SECRET_ID.",
			parse: into(func(c *Config) *string { return &c.VaultSecretIDFile }, parsePath),
		},
		{
			name: "VAULT_MOUNT", def: "secret", example: "kv/archon",
			doc:   "Path at which the KV version 2 engine is mounted.",
			parse: into(func(c *Config) *string { return &c.VaultMount }, parseVaultPath),
		},
		{
			name: "VAULT_NAMESPACE", example: "team-a",
			doc:   "Namespace, for Vault Enterprise.",
			parse: into(func(c *Config) *string { return &c.VaultNamespace }, parseVaultPath),
		},
	}
}

func identitySettings() []setting {
	return []setting{
		{
			name: "OIDC_ISSUER", defNote: "the embedded issuer in `archon dev`", example: "https://keycloak.example.com/realms/archon",
			doc: "URL of the OpenID Connect issuer whose tokens are accepted, exactly as it stands in their `iss`. " +
				"Its discovery document must be below it.",
			parse: into(func(c *Config) *string { return &c.OIDCIssuer }, parseIssuer),
		},
		{
			name: "OIDC_AUDIENCE", def: "archon", example: "archon-api",
			doc:   "Audience that a token must name in its `aud`.",
			parse: into(func(c *Config) *string { return &c.OIDCAudience }, parsePrintable),
		},
		{
			name: "OIDC_TENANT_CLAIM", def: "tenant_id", example: "organization.id",
			doc:   "Claim that holds the tenant's id. A dot descends into an object.",
			parse: into(func(c *Config) *string { return &c.OIDCTenantClaim }, parseClaim),
		},
		{
			name: "OIDC_ROLES_CLAIM", def: "roles", example: "realm_access.roles",
			doc:   "Claim that holds the roles, as a list or separated by spaces. A dot descends into an object.",
			parse: into(func(c *Config) *string { return &c.OIDCRolesClaim }, parseClaim),
		},
		{
			name: "OIDC_DEPARTMENT_CLAIM", def: "department", example: "organization.cost_center",
			doc: "Claim that holds the id of the department on whose account a user's calls are, as a string or a list of one. It is believed, " +
				"so users must not be able to set it themselves. A dot descends into an object.",
			parse: into(func(c *Config) *string { return &c.OIDCDepartmentClaim }, parseClaim),
		},
	}
}

func providerSettings() []setting {
	return []setting{
		{
			name: "PROVIDER_ALLOWED_CIDRS", defNote: "none; `archon dev` adds loopback", example: "10.20.0.0/16,192.168.7.4",
			doc:   "Comma-separated CIDRs of private or loopback networks in which a provider's base_url, or a tenant's alert webhook, may be. Public addresses need no entry.",
			parse: into(func(c *Config) *[]netip.Prefix { return &c.ProviderAllowedCIDRs }, parseCIDRs),
		},
		{
			name: "PROBE_INTERVAL", def: "60s", example: "5m",
			doc:   "How often a provider without traffic is probed, from 1s to 24h.",
			parse: into(func(c *Config) *time.Duration { return &c.ProbeInterval }, durationBetween(minProbeInterval, maxProbeInterval)),
		},
	}
}

func callSettings() []setting {
	return []setting{
		{
			name: "CALL_CONNECT_TIMEOUT", def: "5s", example: "2s",
			doc:   "How long connecting to a provider may take, from 100ms to 1h.",
			parse: into(func(c *Config) *time.Duration { return &c.ConnectTimeout }, durationBetween(minCallTimeout, maxCallTimeout)),
		},
		{
			name: "CALL_FIRST_BYTE_TIMEOUT", def: "60s", example: "20s",
			doc:   "How long a provider may take until its answer begins, from 100ms to 1h. Then the next one of the fallback chain is tried.",
			parse: into(func(c *Config) *time.Duration { return &c.FirstByteTimeout }, durationBetween(minCallTimeout, maxCallTimeout)),
		},
		{
			name: "CALL_IDLE_TIMEOUT", def: "30s", example: "15s",
			doc:   "How long a provider may be silent within an answer, from 100ms to 1h.",
			parse: into(func(c *Config) *time.Duration { return &c.IdleTimeout }, durationBetween(minCallTimeout, maxCallTimeout)),
		},
		{
			name: "CALL_TIMEOUT", def: "10m", example: "2m",
			doc:   "How long one attempt at a provider may take in all, from 100ms to 1h.",
			parse: into(func(c *Config) *time.Duration { return &c.CallTimeout }, durationBetween(minCallTimeout, maxCallTimeout)),
		},
		{
			name: "CALL_RECORDING", def: string(UsageDurable), example: string(UsageAsync),
			doc:   "`durable` records a call before the last byte of its answer goes out, so that nothing that was served is lost; `async` records it after the answer, which is faster and may lose the last calls to a crash.",
			parse: into(func(c *Config) *UsageRecording { return &c.UsageRecording }, parseUsageRecording),
		},
		{
			name: "CALL_DEFAULT_MAX_TOKENS", def: "4096", example: "1024",
			doc:   "How many tokens a call under a budget may generate where neither the client nor the model's own limit say less, from 1 to 1000000.",
			parse: into(func(c *Config) *int64 { return &c.DefaultMaxTokens }, parseMaxTokens),
		},
	}
}

func telemetrySettings() []setting {
	return []setting{
		{
			name: "LOG_LEVEL", def: "info", example: "debug",
			doc:   "Least level that is logged: debug, info, warn or error.",
			parse: into(func(c *Config) *slog.Level { return &c.LogLevel }, parseLogLevel),
		},
		{
			name: "LOG_FORMAT", defNote: "text in `archon dev`, json in `archon serve`", example: "json",
			doc:   "Form of log lines: text or json.",
			parse: into(func(c *Config) *LogFormat { return &c.LogFormat }, parseLogFormat),
		},
		{
			name: "OTEL_ENDPOINT", defNote: "no traces", example: "http://otel-collector:4318", standard: "OTEL_EXPORTER_OTLP_ENDPOINT",
			doc:   "Base URL of an OpenTelemetry collector that takes OTLP over HTTP; /v1/traces is added to it.",
			parse: into(func(c *Config) *string { return &c.OTELEndpoint }, parseHTTPURL),
		},
	}
}

// serviceDataDir is the data folder of a process without a home, as a service often is.
const serviceDataDir = "/var/lib/archon"

// defaultDataDir is one stable place a user, so that `archon dev` finds its data from any working directory.
func defaultDataDir(env environment) string {
	// The XDG specification says to ignore a relative XDG_DATA_HOME.
	if dir := env["XDG_DATA_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "archon")
	}

	if home := env["HOME"]; filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "archon")
	}

	return serviceDataDir
}

// hostName is the default node name; a host that can't tell its name still gets one that parses.
func hostName() string {
	name, err := os.Hostname()
	if err == nil {
		name, err = parseName(name)
	}

	if err != nil {
		return "node"
	}

	return cmp.Or(name, "node")
}
