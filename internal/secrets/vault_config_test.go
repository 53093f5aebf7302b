package secrets_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

func TestVaultConfigRefusals(t *testing.T) {
	t.Parallel()

	noCertificates := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCertificates, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}

	const address, token = "https://vault:8200", "hvs.token-text"

	for name, test := range map[string]struct {
		cfg  secrets.VaultConfig
		want string
	}{
		"no address":         {secrets.VaultConfig{Token: token}, "http:// or https://"},
		"no scheme":          {secrets.VaultConfig{Address: "vault:8200", Token: token}, "http:// or https://"},
		"another scheme":     {secrets.VaultConfig{Address: "unix:///run/vault", Token: token}, "http:// or https://"},
		"no host":            {secrets.VaultConfig{Address: "http:///x", Token: token}, "no host"},
		"no URL":             {secrets.VaultConfig{Address: "http://u:hunter2@[", Token: token}, "not a URL"},
		"a password":         {secrets.VaultConfig{Address: "http://u:hunter2@vault", Token: token}, "user or password"},
		"a query":            {secrets.VaultConfig{Address: address + "?a=b", Token: token}, "end with the host"},
		"no login":           {secrets.VaultConfig{Address: address}, "give a token, or a role id"},
		"two logins":         {secrets.VaultConfig{Address: address, Token: token, RoleID: "r", SecretID: "s"}, "not both"},
		"half an AppRole":    {secrets.VaultConfig{Address: address, RoleID: "r"}, "both a role id and a secret id"},
		"other half":         {secrets.VaultConfig{Address: address, SecretID: "s"}, "both a role id and a secret id"},
		"a token's line end": {secrets.VaultConfig{Address: address, Token: token + "\n"}, "cannot be printed"},
		"a strange mount":    {secrets.VaultConfig{Address: address, Token: token, Mount: "a b"}, "vault mount"},
		"a strange AppRole":  {secrets.VaultConfig{Address: address, Token: token, AppRoleMount: "../x"}, "vault AppRole mount"},
		"a strange space":    {secrets.VaultConfig{Address: address, Token: token, Namespace: "a\r\nb"}, "vault namespace"},
		"negative time":      {secrets.VaultConfig{Address: address, Token: token, Timeout: -1}, "vault timeout"},
		"no CA file":         {secrets.VaultConfig{Address: address, Token: token, CACertFile: "/no/such"}, "CA certificates"},
		"no CA in it":        {secrets.VaultConfig{Address: address, Token: token, CACertFile: noCertificates}, "holds none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := secrets.OpenVault(context.Background(), test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want it to say %q", err, test.want)
			}

			for _, secret := range []string{token, "hunter2"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
		})
	}
}

func TestVaultConfigIsPrintedWithoutSecrets(t *testing.T) {
	t.Parallel()

	var printed strings.Builder

	cfg := secrets.VaultConfig{Address: "http://vault", RoleID: "the-role", SecretID: "the-secret"}
	slog.New(slog.NewTextHandler(&printed, nil)).Info("opened", slog.Any("config", cfg))

	cfg.Token = "the-token"
	for _, text := range []string{cfg.String(), fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), printed.String()} {
		if !strings.Contains(text, "http://vault") || strings.Contains(text, "the-") {
			t.Errorf("printed as %q", text)
		}
	}
}

// What the environment says to Vault's own tools must not change where secrets go, or as whom.
func TestVaultIgnoresTheEnvironment(t *testing.T) {
	fake := secretstest.NewFakeVault()
	defer fake.Close()

	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "hvs.other")
	t.Setenv("VAULT_NAMESPACE", "other")
	t.Setenv("VAULT_WRAP_TTL", "60s")

	store, err := secrets.OpenVault(context.Background(), secrets.VaultConfig{Address: fake.URL(), Token: fake.RootToken()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	if err := store.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestVaultOverTLS(t *testing.T) {
	t.Parallel()

	fake := secretstest.NewFakeVault()
	defer fake.Close()

	server := httptest.NewUnstartedServer(fake)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are expected
	server.StartTLS()
	defer server.Close()

	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pemOf(server.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}

	for name, test := range map[string]struct {
		caFile string
		want   bool
	}{"with its CA": {caFile, true}, "with the system's": {"", false}} {
		store, err := secrets.OpenVault(context.Background(),
			secrets.VaultConfig{Address: server.URL, Token: fake.RootToken(), CACertFile: test.caFile})
		if err != nil {
			t.Fatal(err)
		}

		if err := store.Check(context.Background()); (err == nil) != test.want {
			t.Errorf("%s: %v", name, err)
		}

		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
