package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/secrets"
)

// Credentials and header values of a provider are one secret, so that one version names both. The prefixes keep a
// credential field and a header of the same name apart.
const (
	credentialPrefix = "credential."
	headerPrefix     = "header."
)

// vaultMount is what the paths that users see begin with; the store's paths are relative to it.
const vaultMount = "secret/"

// ProviderSecret is what is secret about a provider.
type ProviderSecret struct {
	Credentials map[string]string
	Headers     map[string]string
}

func (s ProviderSecret) encode() map[string]string {
	flat := make(map[string]string, len(s.Credentials)+len(s.Headers))
	for name, value := range s.Credentials {
		flat[credentialPrefix+name] = value
	}
	for name, value := range s.Headers {
		flat[headerPrefix+name] = value
	}
	return flat
}

func decodeSecret(flat map[string]string) ProviderSecret {
	secret := ProviderSecret{Credentials: map[string]string{}, Headers: map[string]string{}}
	for name, value := range flat {
		if credential, ok := strings.CutPrefix(name, credentialPrefix); ok {
			secret.Credentials[credential] = value
		} else if header, ok := strings.CutPrefix(name, headerPrefix); ok {
			secret.Headers[header] = value
		}
	}
	return secret
}

// putSecret writes a new version of a provider's secret and names it.
func (p *Providers) putSecret(ctx context.Context, tenant, id string, secret ProviderSecret) (providers.Secret, error) {
	path := secrets.ProviderPath(tenant, id)
	version, err := p.Secrets.Put(ctx, path, secret.encode())
	if err != nil {
		return providers.Secret{}, fmt.Errorf("write the provider's secret: %w", err)
	}
	return providers.Secret{VaultPath: vaultMount + path, SecretVersion: version}, nil
}

// Secret reads the version of a provider's secret that its events name.
func (p *Providers) Secret(ctx context.Context, named providers.Secret) (ProviderSecret, error) {
	flat, _, err := p.Secrets.Get(ctx, strings.TrimPrefix(named.VaultPath, vaultMount), named.SecretVersion)
	if err != nil {
		return ProviderSecret{}, fmt.Errorf("read the provider's secret: %w", err)
	}
	return decodeSecret(flat), nil
}

// dropSecret takes back a version that no event names, after the command it was written for has failed. It is an
// attempt: what it misses is an orphan for the sweeper.
func (p *Providers) dropSecret(ctx context.Context, named providers.Secret) {
	path := strings.TrimPrefix(named.VaultPath, vaultMount)
	ctx = context.WithoutCancel(ctx)
	err := p.Secrets.DestroyVersions(ctx, path, named.SecretVersion)
	if named.SecretVersion == 1 {
		err = p.Secrets.Destroy(ctx, path)
	}
	if err != nil && !errors.Is(err, secrets.ErrNotFound) {
		p.Handler.Logger.WarnContext(ctx, "a secret version that nothing refers to stays until it is swept", slog.String("path", path), slog.Any("error", err))
	}
}
