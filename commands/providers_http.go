package commands

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/httpx"
)

// tables are the projections that show what happened to a provider, and the audit trail.
var tables = []string{"providers", "audit_index"} //nolint:gochecknoglobals // a constant list

// RegisterProvider implements api.StrictServerInterface.
func (p *Providers) RegisterProvider(ctx context.Context, request api.RegisterProviderRequestObject) (api.RegisterProviderResponseObject, error) {
	sent := request.Body
	credentials, err := credentialsOf(sent.APIKey, sent.Credentials)
	if err != nil {
		return nil, err
	}
	config := providers.Config{
		Name: sent.Name, Type: providers.Type(sent.Type), BaseURL: orZero(sent.BaseURL), IsEnabled: orTrue(sent.IsEnabled),
		RateLimitRPM: sent.RateLimitRPM, RateLimitTPM: sent.RateLimitTPM,
		SupportedModels: orNone(sent.SupportedModels), Capabilities: namesOf(orNone(sent.Capabilities)),
	}
	caller := callerOf(ctx)
	done, err := p.register(ctx, caller, config, ProviderSecret{Credentials: credentials, Headers: orNoHeaders(sent.CustomHeaders)})
	return p.finish(ctx, caller, done, err)
}

// ChangeProvider implements api.StrictServerInterface.
func (p *Providers) ChangeProvider(ctx context.Context, request api.ChangeProviderRequestObject) (api.ChangeProviderResponseObject, error) {
	id, err := providerID(request.ID)
	if err != nil {
		return nil, err
	}
	sent := request.Body
	change := func(config *providers.Config) {
		set(&config.Name, sent.Name)
		set(&config.BaseURL, sent.BaseURL)
		set(&config.IsEnabled, sent.IsEnabled)
		set(&config.SupportedModels, sent.SupportedModels)
		if sent.Type != nil {
			config.Type = providers.Type(*sent.Type)
		}
		if sent.Capabilities != nil {
			config.Capabilities = namesOf(*sent.Capabilities)
		}
		config.RateLimitRPM = sent.RateLimitRPM.Apply(config.RateLimitRPM)
		config.RateLimitTPM = sent.RateLimitTPM.Apply(config.RateLimitTPM)
	}
	var headers map[string]string
	if sent.CustomHeaders != nil {
		headers = orNoHeaders(sent.CustomHeaders)
	}
	caller := callerOf(ctx)
	done, err := p.update(ctx, caller, id, change, headers)
	return p.finish(ctx, caller, done, err)
}

// RemoveProvider implements api.StrictServerInterface.
func (p *Providers) RemoveProvider(ctx context.Context, request api.RemoveProviderRequestObject) (api.RemoveProviderResponseObject, error) {
	id, err := providerID(request.ID)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := p.remove(ctx, caller, id)
	return p.finish(ctx, caller, done, err)
}

// ReplaceCredentials implements api.StrictServerInterface.
func (p *Providers) ReplaceCredentials(ctx context.Context, request api.ReplaceCredentialsRequestObject) (api.ReplaceCredentialsResponseObject, error) {
	id, err := providerID(request.ID)
	if err != nil {
		return nil, err
	}
	credentials, err := credentialsOf(request.Body.APIKey, request.Body.Credentials)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := p.rotate(ctx, caller, id, credentials)
	return p.finish(ctx, caller, done, err)
}

// TestConnection implements api.StrictServerInterface.
func (p *Providers) TestConnection(ctx context.Context, request api.TestConnectionRequestObject) (api.TestConnectionResponseObject, error) {
	id, err := providerID(request.ID)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	_, done, err := p.probe(ctx, caller, id, providers.OnDemand)
	return p.finish(ctx, caller, done, err)
}

// providerID is an id as it stands in stream names; what is no UUID is nobody's.
func providerID(sent string) (string, error) {
	id, err := uuid.Parse(sent)
	if err != nil {
		return "", providers.ErrNotFound
	}
	return id.String(), nil
}

// finish answers a command on a provider.
func (p *Providers) finish(ctx context.Context, caller Caller, done outcome, err error) (httpx.Answer, error) {
	return finish(ctx, p.Handler, p.Reads, caller, done, err, tables...)
}

// credentialsOf puts api_key, which is short for credentials.api_key, where it belongs.
func credentialsOf(key *string, sent *api.Credentials) (map[string]string, error) {
	credentials := map[string]string{}
	if sent != nil {
		maps.Copy(credentials, *sent)
	}
	if key == nil {
		return credentials, nil
	}
	if other, both := credentials["api_key"]; both && other != *key {
		return nil, domain.InvalidFields("The credentials contradict each other.",
			map[string]any{"api_key": "differs from credentials.api_key, for which it is short; send one of them"})
	}
	credentials["api_key"] = *key
	return credentials, nil
}

func set[T any](field, sent *T) {
	if sent != nil {
		*field = *sent
	}
}

func orTrue(sent *bool) bool { return sent == nil || *sent }

func orNone[T any](sent *[]T) []T {
	if sent == nil {
		return []T{}
	}
	return *sent
}

func orNoHeaders(sent *api.CustomHeaders) map[string]string {
	headers := map[string]string{}
	if sent != nil {
		maps.Copy(headers, *sent)
	}
	return headers
}

func namesOf(capabilities []api.Capability) []string {
	names := make([]string, len(capabilities))
	for i, capability := range capabilities {
		names[i] = string(capability)
	}
	return names
}

func orZero[T any](sent *T) T {
	var zero T
	if sent == nil {
		return zero
	}
	return *sent
}
