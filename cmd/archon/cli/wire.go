package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/internal/netguard"
)

// wire lets the commands speak to providers through the gateway's adapters.
type wire struct {
	tester *gateway.Tester
	policy netguard.Policy
}

var _ commands.Wire = wire{}

// Check implements commands.Wire.
func (w wire) Check(providerType providers.Type, baseURL string, secret commands.ProviderSecret) (string, commands.ProviderSecret, map[string]string) {
	kind := gateway.ProviderType(providerType)
	problems := map[string]string{}
	if !kind.Valid() {
		return baseURL, secret, problems // the domain refuses the type
	}
	credentials := withoutNeedlessKey(kind, secret.Credentials)
	credentials, wrong := gateway.ValidateCredentials(kind, gateway.WithBaseURL(kind, credentials, baseURL), w.policy)
	for field, reason := range wrong {
		problems["credentials."+strings.TrimPrefix(field, "credentials.")] = reason
	}
	if baseURL == "" {
		baseURL = firstOf(credentials["endpoint"], credentials["base_url"], gateway.DefaultBaseURL(kind))
	}
	if baseURL == "" {
		problems["base_url"] = "is required for this type"
	} else if _, err := w.policy.CheckURL(baseURL); err != nil {
		problems["base_url"] = reasonOf(err)
	}
	for name, reason := range gateway.ValidateHeaders(kind, credentials, secret.Headers) {
		if name != "custom_headers" {
			name = "custom_headers." + name
		}
		problems[name] = reason
	}
	return baseURL, commands.ProviderSecret{Credentials: credentials, Headers: secret.Headers}, problems
}

// withoutNeedlessKey drops the api_key that a client sent in the request's own field to a type that has none.
func withoutNeedlessKey(kind gateway.ProviderType, credentials map[string]string) map[string]string {
	schema := gateway.CredentialSchemas()[kind]
	if _, known := schema.Field("api_key"); known {
		return credentials
	}
	kept := map[string]string{}
	for name, value := range credentials {
		if name != "api_key" {
			kept[name] = value
		}
	}
	return kept
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func reasonOf(err error) string {
	if refusal, refused := errors.AsType[*netguard.Refusal](err); refused {
		return refusal.Reason
	}
	return "is not a URL that can be called"
}

// Test implements commands.Wire.
func (w wire) Test(ctx context.Context, target commands.Target, correlationID string) commands.ConnectionTest {
	result := w.tester.Test(ctx, gateway.Target{
		Type: gateway.ProviderType(target.Type), BaseURL: target.BaseURL,
		Credentials: target.Secret.Credentials, CustomHeaders: target.Secret.Headers,
	}, correlationID)
	test := commands.ConnectionTest{OK: result.OK, LatencyMs: result.LatencyMS, ModelsFound: result.ModelsFound}
	if !result.OK {
		test.Error = &result.Error
	}
	return test
}
