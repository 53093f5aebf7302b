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

// lookApart is the least time between two looks at the log for keys that are not found: a key works from the moment its
// answer was sent, on every node, and who makes keys up waits, and costs a look this often.
const lookApart = 25 * time.Millisecond

// Authenticate finds the API key of a token. It looks it up in memory.
func (p *Plane) Authenticate(ctx context.Context, token string) (*OwnedKey, *Problem) {
	tenant, id, secret, ok := keys.Parse(token)
	if !ok {
		return nil, invalidKey()
	}
	arrived := p.Now()
	snapshot, err := p.Directory.Get(ctx, tenant)
	if err != nil {
		return nil, p.fault(ctx, "look an API key up", err)
	}
	key, found := snapshot.Keys[id]
	if !found && !snapshot.Checked.After(arrived) {
		pause(ctx, lookApart-p.Now().Sub(snapshot.Checked))
		if snapshot, err = p.Directory.Since(ctx, tenant, arrived); err != nil {
			return nil, p.fault(ctx, "look an API key up", err)
		}
		key, found = snapshot.Keys[id]
	}
	if matches := key.Matches(secret); !found || !matches || key.Status(p.Now()) != keys.StatusActive {
		return nil, invalidKey()
	}
	return &OwnedKey{Tenant: tenant, Key: key}, nil
}

func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
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
