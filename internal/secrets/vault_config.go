package secrets

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"
)

const (
	// defaultVaultTimeout lets a request wait no longer for a dead Vault than a person waits for a page.
	defaultVaultTimeout = 3 * time.Second
	defaultMount        = "secret"
	defaultAppRoleMount = "approle"
)

// VaultConfig says where Vault is and who this node is to it: a Token, or an AppRole. Nothing is taken from VAULT_*
// environment variables.
type VaultConfig struct {
	// Address is Vault's URL: http or https, a host, and a path where a proxy needs one.
	Address string
	// Mount is where the KV version 2 engine is mounted; "" means "secret".
	Mount string
	// Namespace is the Vault Enterprise namespace of all requests; "" means none.
	Namespace string
	// CACertFile holds the PEM certificates that Vault's is checked against; "" means the system's.
	CACertFile string
	// Token is a Vault token. It is renewed for as long as Vault allows that; past that only a new one helps, so an
	// AppRole or a periodic token is the better choice.
	Token string
	// RoleID and SecretID log in through AppRole, again whenever the token that they got ends.
	RoleID, SecretID string
	// AppRoleMount is where the AppRole method is mounted; "" means "approle".
	AppRoleMount string
	// Timeout bounds each call as a whole, with its login and its retry; 0 means 3 s.
	Timeout time.Duration
	// Logger is told of logins and of tokens that cannot be renewed; nil means nobody is.
	Logger *slog.Logger
}

// String shows the configuration without what must stay secret.
func (c VaultConfig) String() string {
	login := "token"
	if c.RoleID != "" {
		login = "approle " + c.AppRoleMount
	}

	return fmt.Sprintf("vault at %s, mount %q, namespace %q, %s", c.Address, c.Mount, c.Namespace, login)
}

// LogValue implements slog.LogValuer, without what must stay secret.
func (c VaultConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// withDefaults returns the configuration ready for use, or a sentence that says what is wrong with it.
func (c VaultConfig) withDefaults() (VaultConfig, error) {
	c.Mount = strings.Trim(cmp.Or(c.Mount, defaultMount), "/")
	c.AppRoleMount = strings.Trim(cmp.Or(c.AppRoleMount, defaultAppRoleMount), "/")
	c.Timeout = cmp.Or(c.Timeout, defaultVaultTimeout)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))

	if err := validateAddress(c.Address); err != nil {
		return c, err
	}

	if err := c.validateLogin(); err != nil {
		return c, err
	}

	for name, mount := range map[string]string{"mount": c.Mount, "AppRole mount": c.AppRoleMount} {
		if err := ValidatePath(mount); err != nil {
			return c, fmt.Errorf("vault %s: %w", name, err)
		}
	}

	if !isPrintable(c.Namespace) {
		return c, errors.New("vault namespace: it has characters that cannot be printed")
	}

	if c.Timeout < 0 {
		return c, errors.New("vault timeout: it must be positive")
	}

	return c, nil
}

func validateAddress(address string) error {
	parsed, err := url.Parse(address)

	switch {
	case err != nil: // it may quote a password
		return errors.New("vault address: it is not a URL")
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return errors.New("vault address: it must begin with http:// or https://")
	case parsed.Host == "":
		return errors.New("vault address: it names no host")
	case parsed.User != nil:
		return errors.New("vault address: it must not hold a user or password")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return errors.New("vault address: it must end with the host or a path")
	default:
		return nil
	}
}

func (c VaultConfig) validateLogin() error {
	switch {
	case c.Token != "" && (c.RoleID != "" || c.SecretID != ""):
		return errors.New("vault login: give a token or an AppRole, not both")
	case c.Token == "" && c.RoleID == "" && c.SecretID == "":
		return errors.New("vault login: give a token, or a role id and secret id")
	case c.Token == "" && (c.RoleID == "" || c.SecretID == ""):
		return errors.New("vault login: an AppRole needs both a role id and a secret id")
	case !isPrintable(c.Token):
		return errors.New("vault login: the token has characters that cannot be printed (a line end?)")
	default:
		return nil
	}
}

func isPrintable(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func (c VaultConfig) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CACertFile == "" {
		return config, nil
	}

	pem, err := os.ReadFile(c.CACertFile)
	if err != nil {
		return nil, fmt.Errorf("read vault's CA certificates: %w", err)
	}

	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read vault's CA certificates: %s holds none", c.CACertFile)
	}

	return config, nil
}
