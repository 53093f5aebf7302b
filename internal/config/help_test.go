package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/config"
)

// required are the settings that users' scripts rely on, as the contract and the operations guide name them.
func required() []string {
	return strings.Fields(`HTTP_ADDR DATA_DIR DATABASE_URL WORKER_DATABASE_URL MIGRATE_DATABASE_URL DATABASE_MAX_CONNS REDIS_URL
		VAULT_ADDR VAULT_TOKEN VAULT_TOKEN_FILE VAULT_ROLE_ID VAULT_SECRET_ID VAULT_SECRET_ID_FILE VAULT_MOUNT VAULT_NAMESPACE
		OIDC_ISSUER OIDC_AUDIENCE OIDC_TENANT_CLAIM OIDC_ROLES_CLAIM OIDC_DEPARTMENT_CLAIM PROVIDER_ALLOWED_CIDRS PROBE_INTERVAL CALL_CONNECT_TIMEOUT
		CALL_FIRST_BYTE_TIMEOUT CALL_IDLE_TIMEOUT CALL_TIMEOUT CALL_RECORDING CALL_DEFAULT_MAX_TOKENS SHUTDOWN_TIMEOUT
		READ_YOUR_WRITES_TIMEOUT LOG_LEVEL LOG_FORMAT PG_BIN NODE_NAME OTEL_ENDPOINT TRUSTED_PROXIES DEPLOYMENT
		ANCHOR_DIR ANCHOR_URL ALLOWED_ORIGINS MAX_SOCKETS MAX_TENANT_SOCKETS`)
}

func help(t *testing.T) string {
	t.Helper()

	var text bytes.Buffer
	if err := config.Help(&text); err != nil {
		t.Fatal(err)
	}

	return text.String()
}

func TestHelpAndMarkdownListEverySetting(t *testing.T) {
	t.Parallel()

	text, page := help(t), config.Markdown()
	for _, name := range required() {
		if !regexp.MustCompile(`(?m)^  ARCHON_`+name+`( \(secret\))?$`).MatchString(text) || !strings.Contains(page, "| `ARCHON_"+name+"`") {
			t.Errorf("ARCHON_%s is not in both texts", name)
		}
	}

	rows := regexp.MustCompile("(?m)^\\| `ARCHON_.*$").FindAllString(page, -1)
	if len(rows) != len(required()) {
		t.Errorf("%d rows, want %d", len(rows), len(required()))
	}

	for _, row := range rows {
		if strings.Count(row, " | ") != 3 || !strings.HasSuffix(row, " |") {
			t.Errorf("not four cells: %s", row)
		}
	}

	for line := range strings.Lines(text) {
		if len(line) > 120 {
			t.Errorf("long line: %s", line)
		}
	}

	if !strings.Contains(text, "      Default: localhost:8080\n      Example: 0.0.0.0:8080\n") {
		t.Error("a default or an example is missing")
	}
}

func TestEveryExampleIsAccepted(t *testing.T) {
	t.Parallel()

	row := regexp.MustCompile("(?m)^\\| `(ARCHON_\\w+)`.* \\| `([^`]+)` \\|$")
	for _, match := range row.FindAllStringSubmatch(config.Markdown(), -1) {
		environ := []string{match[1] + "=" + match[2]}

		switch match[1] {
		case "ARCHON_VAULT_ADDR":
			environ = append(environ, "ARCHON_VAULT_TOKEN=t")
		case "ARCHON_VAULT_ROLE_ID":
			environ = append(environ, "ARCHON_VAULT_SECRET_ID=s")
		case "ARCHON_VAULT_SECRET_ID", "ARCHON_VAULT_SECRET_ID_FILE":
			environ = append(environ, "ARCHON_VAULT_ROLE_ID=r")
		}

		if _, _, err := config.Load(environ); err != nil {
			t.Errorf("the example of %s: %v", match[1], err)
		}
	}
}

func TestTextsAreTheSameOnEveryMachine(t *testing.T) {
	t.Parallel()

	for _, text := range []string{help(t), config.Markdown()} {
		for _, want := range []string{"the host's name", "$XDG_DATA_HOME/archon, else ~/.local/share/archon, else"} {
			if !strings.Contains(text, want) {
				t.Errorf("a default of this machine stands in place of %q", want)
			}
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestHelpReportsABrokenPipe(t *testing.T) {
	t.Parallel()

	if err := config.Help(brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()

	const value = "hunter2"

	cfg := config.Config{DatabaseURL: value}

	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}

	var logged bytes.Buffer

	slog.New(slog.NewTextHandler(&logged, nil)).Info("start", "url", cfg.DatabaseURL, "config", cfg)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "url", cfg.DatabaseURL, "config", cfg)

	texts := []string{cfg.DatabaseURL.String(), string(encoded), logged.String()}
	for verb := range strings.FieldsSeq("%v %+v %#v %s %q %x %d %T") {
		texts = append(texts, fmt.Sprintf(verb, cfg), fmt.Sprintf(verb, cfg.DatabaseURL), fmt.Sprintf(verb, &cfg))
	}

	hex := fmt.Sprintf("%x", []byte(value))
	for _, text := range texts {
		if strings.Contains(text, value) || strings.Contains(text, hex) {
			t.Errorf("shown: %s", text)
		}
	}

	if cfg.DatabaseURL.String() != "[redacted]" || config.Secret("").String() != "" || config.Secret("").IsSet() {
		t.Error("a set secret should read [redacted], an unset one be empty")
	}
}
