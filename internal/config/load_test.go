package config_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archonhq/archon/internal/config"
)

// load fails the test unless environ is good.
func load(t *testing.T, environ ...string) (config.Config, []config.Warning) {
	t.Helper()

	cfg, warnings, err := config.Load(environ)
	if err != nil {
		t.Fatalf("Load(%q): %v", environ, err)
	}

	return cfg, warnings
}

func TestDefaults(t *testing.T) {
	t.Parallel()

	got, warnings := load(t, "HOME=/home/ada", "PATH=/bin")
	if len(warnings) > 0 {
		t.Errorf("warnings %v", warnings)
	}

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}

	want := config.Config{
		HTTPAddr: "localhost:8080", ShutdownTimeout: 20 * time.Second, ReadYourWritesTimeout: 2 * time.Second,
		Deployment: "archon", NodeName: host, DataDir: "/home/ada/.local/share/archon", DatabaseMaxConns: 20,
		VaultMount: "secret", OIDCAudience: "archon", OIDCTenantClaim: "tenant_id", OIDCRolesClaim: "roles", OIDCDepartmentClaim: "department",
		ProbeInterval: time.Minute, LogLevel: slog.LevelInfo,
		ConnectTimeout: 5 * time.Second, FirstByteTimeout: time.Minute, IdleTimeout: 30 * time.Second, CallTimeout: 10 * time.Minute,
		UsageRecording: config.UsageDurable, DefaultMaxTokens: 4096, MaxSockets: 10_000, MaxTenantSockets: 2500,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestEverySettingReachesItsField(t *testing.T) {
	t.Parallel()

	got, warnings := load(
		t,
		"ARCHON_HTTP_ADDR=[::1]:9000", "ARCHON_TRUSTED_PROXIES=10.1.2.3/8, ::1 ,", "ARCHON_SHUTDOWN_TIMEOUT=45s",
		"ARCHON_READ_YOUR_WRITES_TIMEOUT=0s", "ARCHON_DEPLOYMENT=eu.1", "ARCHON_NODE_NAME=n_1", "ARCHON_DATA_DIR=/d",
		"ARCHON_PG_BIN=/pg/bin", "ARCHON_DATABASE_URL=postgres://a:p@h/db", "ARCHON_WORKER_DATABASE_URL=host=h dbname=db",
		"ARCHON_MIGRATE_DATABASE_URL=postgresql://o@h/db", "ARCHON_DATABASE_MAX_CONNS=7", "ARCHON_REDIS_URL=rediss://:p@h:1/2",
		"ARCHON_VAULT_ADDR=https://v:8200/", "ARCHON_VAULT_ROLE_ID=role", "ARCHON_VAULT_SECRET_ID=sid",
		"ARCHON_VAULT_MOUNT=/kv/x/", "ARCHON_VAULT_NAMESPACE=ns", "ARCHON_OIDC_ISSUER=https://i/realms/r/",
		"ARCHON_OIDC_AUDIENCE=aud", "ARCHON_OIDC_TENANT_CLAIM=https://x.example/tenant", "ARCHON_OIDC_ROLES_CLAIM=realm_access.roles", "ARCHON_OIDC_DEPARTMENT_CLAIM=org.unit",
		"ARCHON_PROVIDER_ALLOWED_CIDRS=192.168.7.4", "ARCHON_PROBE_INTERVAL=1s", "ARCHON_LOG_LEVEL=WARN", "ARCHON_LOG_FORMAT=json",
		"ARCHON_OTEL_ENDPOINT=http://otel:4318/",
		"ARCHON_CALL_CONNECT_TIMEOUT=1s", "ARCHON_CALL_FIRST_BYTE_TIMEOUT=2s", "ARCHON_CALL_IDLE_TIMEOUT=3s", "ARCHON_CALL_TIMEOUT=4s",
		"ARCHON_CALL_RECORDING=Async", "ARCHON_CALL_DEFAULT_MAX_TOKENS=77",
		"ARCHON_ALLOWED_ORIGINS=https://Console.example.com/, http://localhost:5173,", "ARCHON_MAX_SOCKETS=20", "ARCHON_MAX_TENANT_SOCKETS=3",
	)
	if len(warnings) > 0 {
		t.Errorf("warnings %v", warnings)
	}

	want := config.Config{
		HTTPAddr:        "[::1]:9000",
		TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		ShutdownTimeout: 45 * time.Second, ReadYourWritesTimeout: 0, Deployment: "eu.1", NodeName: "n_1", DataDir: "/d",
		PGBin: "/pg/bin", DatabaseURL: "postgres://a:p@h/db", WorkerDatabaseURL: "host=h dbname=db",
		MigrateDatabaseURL: "postgresql://o@h/db", DatabaseMaxConns: 7, RedisURL: "rediss://:p@h:1/2",
		VaultAddr: "https://v:8200", VaultRoleID: "role", VaultSecretID: "sid", VaultMount: "kv/x", VaultNamespace: "ns",
		OIDCIssuer: "https://i/realms/r/", OIDCAudience: "aud", OIDCTenantClaim: "https://x.example/tenant",
		OIDCRolesClaim:       "realm_access.roles",
		OIDCDepartmentClaim:  "org.unit",
		ProviderAllowedCIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.7.4/32")},
		ProbeInterval:        time.Second, LogLevel: slog.LevelWarn, LogFormat: config.LogFormatJSON, OTELEndpoint: "http://otel:4318",
		ConnectTimeout: time.Second, FirstByteTimeout: 2 * time.Second, IdleTimeout: 3 * time.Second, CallTimeout: 4 * time.Second,
		UsageRecording: config.UsageAsync, DefaultMaxTokens: 77,
		AllowedOrigins: []string{"https://console.example.com", "http://localhost:5173"}, MaxSockets: 20, MaxTenantSockets: 3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}

	token, _ := load(t, "ARCHON_VAULT_ADDR=http://v", "ARCHON_VAULT_TOKEN=hvs.1")
	if token.VaultToken.Reveal() != "hvs.1" || !token.VaultToken.IsSet() {
		t.Errorf("token %q", token.VaultToken.Reveal())
	}

	files, _ := load(t, "ARCHON_VAULT_ADDR=http://v", "ARCHON_VAULT_ROLE_ID=r", "ARCHON_VAULT_SECRET_ID_FILE=/run/s")
	if files.VaultSecretIDFile != "/run/s" || files.VaultSecretID.IsSet() {
		t.Errorf("secret id file %q", files.VaultSecretIDFile)
	}

	tokenFile, _ := load(t, "ARCHON_VAULT_ADDR=http://v", "ARCHON_VAULT_TOKEN_FILE=/run/t")
	if tokenFile.VaultTokenFile != "/run/t" {
		t.Errorf("token file %q", tokenFile.VaultTokenFile)
	}
}

func TestPlacesAndPrecedence(t *testing.T) {
	t.Parallel()

	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}

	dataDir := func(c config.Config) string { return c.DataDir }
	otel := func(c config.Config) string { return c.OTELEndpoint }
	level := func(c config.Config) string { return c.LogLevel.String() }

	for name, tt := range map[string]struct {
		environ []string
		field   func(config.Config) string
		want    string
	}{
		"XDG":                  {[]string{"XDG_DATA_HOME=/x", "HOME=/h"}, dataDir, "/x/archon"},
		"relative XDG ignored": {[]string{"XDG_DATA_HOME=x", "HOME=/h"}, dataDir, "/h/.local/share/archon"},
		"no home":              {nil, dataDir, "/var/lib/archon"},
		"tilde":                {[]string{"HOME=/h", "ARCHON_DATA_DIR=~/d"}, dataDir, "/h/d"},
		"relative":             {[]string{"ARCHON_DATA_DIR=./d"}, dataDir, filepath.Join(wd, "d")},
		"standard OTEL":        {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1"}, otel, "http://a:1"},
		"our OTEL wins":        {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", "ARCHON_OTEL_ENDPOINT=http://b:2"}, otel, "http://b:2"},
		"empty is unset":       {[]string{"ARCHON_LOG_LEVEL="}, level, "INFO"},
		"space is trimmed":     {[]string{"ARCHON_LOG_LEVEL= debug\n"}, level, "DEBUG"},
		"first wins":           {[]string{"ARCHON_LOG_LEVEL=error", "ARCHON_LOG_LEVEL=debug"}, level, "ERROR"},
		"not an assignment":    {[]string{"ARCHON_LOG_LEVEL"}, level, "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if got, _ := load(t, tt.environ...); tt.field(got) != tt.want {
				t.Errorf("got %q, want %q", tt.field(got), tt.want)
			}
		})
	}
}

func TestMalformedValues(t *testing.T) {
	t.Parallel()

	for entry, want := range map[string]string{
		"ARCHON_HTTP_ADDR=localhost":                                 "isn't of the form host:port",
		"ARCHON_HTTP_ADDR=http://localhost:8080":                     "is a URL",
		"ARCHON_HTTP_ADDR=localhost:http":                            `has the port "http"`,
		"ARCHON_HTTP_ADDR=localhost:65536":                           "from 0 to 65535",
		"ARCHON_HTTP_ADDR=a b:80":                                    `has the host "a b"`,
		"ARCHON_TRUSTED_PROXIES=10.0.0.0/8,nonsense":                 `has the entry "nonsense"`,
		"ARCHON_TRUSTED_PROXIES=10.0.0.0/33":                         `has the entry "10.0.0.0/33"`,
		"ARCHON_PROVIDER_ALLOWED_CIDRS=::ffff:10.0.0.0/104":          "write it as IPv4",
		"ARCHON_PROVIDER_ALLOWED_CIDRS=fe80::1%eth0":                 "neither a network nor an address",
		"ARCHON_ALLOWED_ORIGINS=https://x/app":                       "has a path",
		"ARCHON_ALLOWED_ORIGINS=*":                                   "isn't a web address",
		"ARCHON_MAX_SOCKETS=0":                                       "a whole number from 1 to 1000000",
		"ARCHON_SHUTDOWN_TIMEOUT=20":                                 "for example 20s or 20ms",
		"ARCHON_SHUTDOWN_TIMEOUT=soon":                               "isn't a length of time",
		"ARCHON_SHUTDOWN_TIMEOUT=0s":                                 "from 1s to 10m0s",
		"ARCHON_READ_YOUR_WRITES_TIMEOUT=-1s":                        "from 0s to 1m0s",
		"ARCHON_CALL_TIMEOUT=99ms":                                   "from 100ms to 1h0m0s",
		"ARCHON_CALL_RECORDING=sometimes":                            "choose durable or async",
		"ARCHON_CALL_DEFAULT_MAX_TOKENS=0":                           "a whole number from 1 to 1000000",
		"ARCHON_CALL_DEFAULT_MAX_TOKENS=1e3":                         "a whole number from 1 to 1000000",
		"ARCHON_PROBE_INTERVAL=999ms":                                "from 1s to 24h0m0s",
		"ARCHON_PROBE_INTERVAL=25h":                                  "from 1s to 24h0m0s",
		"ARCHON_DEPLOYMENT=a/b":                                      "letters, digits",
		"ARCHON_NODE_NAME=" + strings.Repeat("n", 64):                "at most 63",
		"ARCHON_DATA_DIR=~/x":                                        "HOME isn't set",
		"ARCHON_DATA_DIR=/a\x00b":                                    "NUL",
		"ARCHON_DATABASE_URL=mysql://u:hunter2@h/db?a=b":             "must start with postgres://",
		"ARCHON_DATABASE_URL=hunter2":                                "isn't a connection string",
		"ARCHON_DATABASE_URL=postgres://u:hunter2@h:port/db":         "isn't a connection string",
		"ARCHON_DATABASE_URL=postgres://u:hunter2@h/db?sslmode=nope": "check sslmode",
		"ARCHON_WORKER_DATABASE_URL=host":                            "isn't a connection string",
		"ARCHON_MIGRATE_DATABASE_URL=host":                           "isn't a connection string",
		"ARCHON_DATABASE_MAX_CONNS=0":                                "from 1 to 1000",
		"ARCHON_DATABASE_MAX_CONNS=1e3":                              "whole number",
		"ARCHON_DATABASE_MAX_CONNS=4294967297":                       "whole number",
		"ARCHON_REDIS_URL=localhost:6379":                            "isn't a URL of a Redis server",
		"ARCHON_VAULT_ADDR=vault:8200":                               "isn't a web address",
		"ARCHON_VAULT_ADDR=https://u:hunter2@vault":                  "holds a user name or password",
		"ARCHON_VAULT_ADDR=https://vault:99999":                      "has a port outside",
		"ARCHON_VAULT_ADDR=https://vault?x":                          "has a query",
		"ARCHON_VAULT_TOKEN=hun ter2":                                "holds a space",
		"ARCHON_VAULT_SECRET_ID=hunter2\x01":                         "holds a space",
		"ARCHON_VAULT_ROLE_ID=r r":                                   "printable",
		"ARCHON_VAULT_MOUNT=/":                                       "write a path",
		"ARCHON_VAULT_MOUNT=a/../b":                                  "write a path",
		"ARCHON_VAULT_NAMESPACE=a//b":                                "write a path",
		"ARCHON_OIDC_ISSUER=ftp://i":                                 "isn't a web address",
		"ARCHON_OIDC_ISSUER=https://i#f":                             "has a query or a fragment",
		"ARCHON_OIDC_AUDIENCE=two words":                             "printable",
		"ARCHON_OIDC_TENANT_CLAIM=.a":                                "between dots",
		"ARCHON_OIDC_ROLES_CLAIM=a..b":                               "between dots",
		"ARCHON_LOG_LEVEL=loud":                                      "choose debug, info, warn or error",
		"ARCHON_LOG_FORMAT=xml":                                      "choose text or json",
		"ARCHON_OTEL_ENDPOINT=collector:4318":                        "isn't a web address",
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318":                 "isn't a web address",
	} {
		t.Run(strings.ReplaceAll(entry, "/", "_"), func(t *testing.T) {
			t.Parallel()

			cfg, _, err := config.Load([]string{entry})

			var malformed *config.Error
			if !errors.As(err, &malformed) {
				t.Fatalf("Load(%q) = %v", entry, err)
			}

			if !reflect.DeepEqual(cfg, config.Config{}) {
				t.Error("a half-read configuration was returned")
			}

			name, _, _ := strings.Cut(entry, "=")

			sentence := malformed.Problems[0]
			if !strings.HasPrefix(sentence, name+" ") || !strings.Contains(sentence, want) || !strings.HasSuffix(sentence, ".") {
				t.Errorf("%q should name %s and say %q", sentence, name, want)
			}

			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
				t.Errorf("a secret is shown: %s", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()

	_, warnings, err := config.Load([]string{"ARCHON_LOG_FORMAT=x", "ARCHON_HTTP_ADDR=x", "ARCHON_VAULT_ADDR=https://v", "ARCHON_NOPE=1"})

	var malformed *config.Error
	if !errors.As(err, &malformed) || len(malformed.Problems) != 3 {
		t.Fatalf("got %v", err)
	}

	if lines := strings.Split(err.Error(), "\n"); !slices.Equal(lines, malformed.Problems) {
		t.Errorf("got %q", lines)
	}

	if len(warnings) != 1 {
		t.Errorf("warnings %v", warnings)
	}
}

func TestVaultLogins(t *testing.T) {
	t.Parallel()

	const addr = "ARCHON_VAULT_ADDR=https://v"

	for name, tt := range map[string]struct {
		environ []string
		want    string
	}{
		"no login":          {[]string{addr}, "without a way to log in"},
		"role without id":   {[]string{addr, "ARCHON_VAULT_ROLE_ID=r"}, "without a secret id"},
		"id without role":   {[]string{addr, "ARCHON_VAULT_SECRET_ID_FILE=/f"}, "without a role"},
		"token twice":       {[]string{addr, "ARCHON_VAULT_TOKEN=t", "ARCHON_VAULT_TOKEN_FILE=/f"}, "are both set"},
		"secret id twice":   {[]string{addr, "ARCHON_VAULT_ROLE_ID=r", "ARCHON_VAULT_SECRET_ID=s", "ARCHON_VAULT_SECRET_ID_FILE=/f"}, "are both set"},
		"token and AppRole": {[]string{addr, "ARCHON_VAULT_TOKEN=t", "ARCHON_VAULT_ROLE_ID=r", "ARCHON_VAULT_SECRET_ID=s"}, "Both a Vault token and"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, _, err := config.Load(tt.environ)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()

	for name, tt := range map[string]struct {
		environ []string
		want    []string
	}{
		"nearest name":         {[]string{"ARCHON_HTP_ADDR=x"}, []string{"the nearest is ARCHON_HTTP_ADDR"}},
		"nearest of many":      {[]string{"ARCHON_DATABSE_URL=x"}, []string{"the nearest is ARCHON_DATABASE_URL"}},
		"sorted":               {[]string{"ARCHON_Z=1", "ARCHON_A=1"}, []string{"ARCHON_A is not", "ARCHON_Z is not"}},
		"line breaks quoted":   {[]string{"ARCHON_\nX=1"}, []string{`"ARCHON_\nX" is not`}},
		"bounded":              {[]string{"ARCHON_" + strings.Repeat("X", 5000) + "=1"}, []string{"XXX is not a setting"}},
		"other prefixes":       {[]string{"VAULT_ADDR=x", "ARCHO=1"}, nil},
		"plain http issuer":    {[]string{"ARCHON_OIDC_ISSUER=http://keycloak:8080/realms/a"}, []string{"between here and keycloak"}},
		"http on loopback":     {[]string{"ARCHON_OIDC_ISSUER=http://127.0.0.1:8080/a"}, nil},
		"http on ::1":          {[]string{"ARCHON_OIDC_ISSUER=http://[::1]:8080/a"}, nil},
		"http on localhost":    {[]string{"ARCHON_OIDC_ISSUER=http://Localhost:8080/a"}, nil},
		"http on x.localhost":  {[]string{"ARCHON_OIDC_ISSUER=http://kc.localhost/a"}, nil},
		"https":                {[]string{"ARCHON_OIDC_ISSUER=https://keycloak/a"}, nil},
		"vault unused":         {[]string{"ARCHON_VAULT_TOKEN=t"}, []string{"ARCHON_VAULT_TOKEN has no effect"}},
		"vault mount unused":   {[]string{"ARCHON_VAULT_MOUNT=m"}, []string{"ARCHON_VAULT_MOUNT has no effect"}},
		"the value isn't told": {[]string{"ARCHON_PASSWORD=hunter2"}, []string{"ARCHON_PASSWORD is not a setting"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, warnings := load(t, tt.environ...)
			if len(warnings) != len(tt.want) {
				t.Fatalf("got %v, want %q", warnings, tt.want)
			}

			for i, warning := range warnings {
				text := warning.String()
				if !strings.Contains(text, tt.want[i]) || strings.Contains(text, "hunter2") || len(text) > 600 {
					t.Errorf("got %q, want %q", text, tt.want[i])
				}
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("ARCHON_HTTP_ADDR", "localhost:8080")
	f.Add("ARCHON_TRUSTED_PROXIES", "10.0.0.0/8,,::1")
	f.Add("ARCHON_REDIS_URL", "redis://:p@h:6379/0")
	f.Add("ARCHON_OIDC_ISSUER", "http://[::1%25a]:80/x")
	f.Add("ARCHON_VAULT_MOUNT", "a/b")
	f.Add("ARCHON_\xff", "\x00")
	f.Add("ARCHON_PROBE_INTERVAL", "1e9")

	f.Fuzz(func(t *testing.T, name, value string) {
		// The driver opens the files that a connection string names, which are not the fuzzer's to choose.
		if strings.HasSuffix(name, "DATABASE_URL") {
			return
		}

		environ := []string{name + "=" + value, "HOME=/h"}

		cfg, warnings, err := config.Load(environ)
		for _, warning := range warnings {
			if warning.Variable == "" || !strings.HasSuffix(warning.Message, ".") {
				t.Errorf("warning %q", warning)
			}
		}

		var malformed *config.Error
		if err != nil && !errors.As(err, &malformed) {
			t.Fatalf("error of type %T", err)
		}

		if err == nil && (cfg.HTTPAddr == "" || !filepath.IsAbs(cfg.DataDir) || cfg.ProbeInterval < time.Second) {
			t.Errorf("Load(%q) took %+v", environ, cfg)
		}

		again, _, errAgain := config.Load(environ)
		if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(cfg, again) {
			t.Error("reading twice differs")
		}
	})
}
