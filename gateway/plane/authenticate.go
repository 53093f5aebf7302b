package plane

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/archonhq/archon/domain/keys"
)

// OwnedKey is an API key with the tenant that it belongs to.
type OwnedKey struct {
	Tenant string
	keys.Key
}

// newKeyPatience is how old the configuration may be in which a key is not found: a key works from the moment its answer
// was sent, and who makes keys up costs a look at the log this often.
const newKeyPatience = 25 * time.Millisecond

// Authenticate finds the API key of a token. It looks it up in memory.
func (p *Plane) Authenticate(ctx context.Context, token string) (*OwnedKey, *Problem) {
	tenant, id, secret, ok := keys.Parse(token)
	if !ok {
		return nil, invalidKey()
	}
	snapshot, err := p.Directory.Get(ctx, tenant)
	if err != nil {
		return nil, p.fault(ctx, "look an API key up", err)
	}
	key, found := snapshot.Keys[id]
	if !found {
		if snapshot, err = p.Directory.Since(ctx, tenant, p.Now().Add(-newKeyPatience)); err != nil {
			return nil, p.fault(ctx, "look an API key up", err)
		}
		key, found = snapshot.Keys[id]
	}
	if matches := key.Matches(secret); !found || !matches || key.Status(p.Now()) != keys.StatusActive {
		return nil, invalidKey()
	}
	return &OwnedKey{Tenant: tenant, Key: key}, nil
}

func invalidKey() *Problem {
	return &Problem{
		Status: http.StatusUnauthorized, Type: typeInvalid, Code: "invalid_api_key",
		Message: "The API key is not valid: it is unknown, revoked or expired.",
	}
}

// OfferedModel is a model that calls can ask for by name.
type OfferedModel struct {
	Name string
	// ProviderName is the provider that lists it, the first by name where several do.
	ProviderName string
}

// Models lists what the caller may ask for, by name: the supported models of enabled providers.
func (p *Plane) Models(ctx context.Context, caller Caller) ([]OfferedModel, *Problem) {
	snapshot, err := p.Directory.Get(ctx, caller.Tenant)
	if err != nil {
		return nil, p.fault(ctx, "list models", err)
	}
	offered := []OfferedModel{}
	seen := map[string]bool{}
	for i := range snapshot.Providers {
		provider := &snapshot.Providers[i]
		if !provider.Config.IsEnabled {
			continue
		}
		for _, name := range provider.Config.SupportedModels {
			if seen[name] || (caller.Key != nil && !caller.Key.AllowsModel(name)) {
				continue
			}
			seen[name] = true
			offered = append(offered, OfferedModel{Name: name, ProviderName: provider.Config.Name})
		}
	}
	slices.SortFunc(offered, func(a, b OfferedModel) int { return strings.Compare(a.Name, b.Name) })
	return offered, nil
}
