package gateway_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/internal/netguard"
)

// TestCredentialSchemas is the contract's row on credential schemas.
func TestCredentialSchemas(t *testing.T) {
	t.Parallel()

	const key = `{"fields":[{"name":"api_key","type":"password","required":true}]}`

	want := map[gateway.ProviderType]string{
		gateway.OpenAI: key, gateway.Anthropic: key, gateway.Google: key, gateway.Mistral: key, gateway.Cohere: key,
		gateway.AzureOpenAI: `{"fields":[{"name":"api_key","type":"password","required":true},` +
			`{"name":"endpoint","type":"url","required":true},` +
			`{"name":"api_version","type":"text","required":false,"default":"2024-02-01"},` +
			`{"name":"deployment_name","type":"text","required":false}]}`,
		gateway.Ollama: `{"fields":[{"name":"base_url","type":"url","required":false,"default":"http://localhost:11434"}]}`,
		gateway.VLLM:   `{"fields":[{"name":"api_key","type":"password","required":false}]}`,
		gateway.Custom: `{"fields":[{"name":"api_key","type":"password","required":false},` +
			`{"name":"header","type":"text","required":false,"default":"Authorization"},` +
			`{"name":"prefix","type":"text","required":false,"default":"Bearer"},` +
			`{"name":"models_path","type":"text","required":false}]}`,
	}

	schemas := gateway.CredentialSchemas()
	if len(schemas) != len(want) {
		t.Errorf("got %d schemas, want %d", len(schemas), len(want))
	}

	for kind, expected := range want {
		got, err := json.Marshal(schemas[kind])
		if err != nil || string(got) != expected {
			t.Errorf("%s: got %s (%v), want %s", kind, got, err, expected)
		}
	}
}

func TestValidateCredentials(t *testing.T) {
	t.Parallel()

	type fields = map[string]string

	for name, example := range map[string]struct {
		kind       gateway.ProviderType
		sent       fields
		normalised fields
		problems   []string
	}{
		"a key":                    {gateway.OpenAI, fields{"api_key": " k3y "}, fields{"api_key": "k3y"}, nil},
		"no key":                   {gateway.OpenAI, nil, nil, []string{"api_key"}},
		"an empty key":             {gateway.Anthropic, fields{"api_key": "  "}, nil, []string{"api_key"}},
		"an unknown field":         {gateway.Google, fields{"api_key": "k", "region": "hunter22"}, nil, []string{"region"}},
		"an unknown empty field":   {gateway.Ollama, fields{"api_key": ""}, fields{"base_url": "http://localhost:11434"}, nil},
		"an unknown secret field":  {gateway.Google, fields{"api_key": "k", "hunter22-A": "x"}, nil, []string{"credentials"}},
		"an unknown type":          {"bedrock", fields{"api_key": "k"}, nil, []string{"type"}},
		"a line break":             {gateway.Mistral, fields{"api_key": "hunter22\n"}, nil, []string{"api_key"}},
		"a NUL":                    {gateway.Mistral, fields{"api_key": "hunter22\x00"}, nil, []string{"api_key"}},
		"bad UTF-8":                {gateway.Mistral, fields{"api_key": "hunter22\xff"}, nil, []string{"api_key"}},
		"typographic quotes":       {gateway.Cohere, fields{"api_key": "“hunter22”"}, nil, []string{"api_key"}},
		"the longest key":          {gateway.Cohere, fields{"api_key": strings.Repeat("k", 8192)}, fields{"api_key": strings.Repeat("k", 8192)}, nil},
		"a longer one":             {gateway.Cohere, fields{"api_key": strings.Repeat("k", 8193)}, nil, []string{"api_key"}},
		"vllm without a key":       {gateway.VLLM, fields{}, fields{}, nil},
		"vllm with one":            {gateway.VLLM, fields{"api_key": "k"}, fields{"api_key": "k"}, nil},
		"azure, all of it":         {gateway.AzureOpenAI, fields{"api_key": "k", "endpoint": "https://r.openai.azure.com", "api_version": "v1", "deployment_name": "d"}, fields{"api_key": "k", "endpoint": "https://r.openai.azure.com", "api_version": "v1", "deployment_name": "d"}, nil},
		"azure, default version":   {gateway.AzureOpenAI, fields{"api_key": "k", "endpoint": "https://r.openai.azure.com", "api_version": "", "deployment_name": "d"}, fields{"api_key": "k", "endpoint": "https://r.openai.azure.com", "api_version": "2024-02-01", "deployment_name": "d"}, nil},
		"azure, nothing":           {gateway.AzureOpenAI, nil, nil, []string{"api_key", "endpoint"}},
		"azure, metadata endpoint": {gateway.AzureOpenAI, fields{"api_key": "k", "endpoint": "http://169.254.169.254/hunter22", "deployment_name": "d"}, nil, []string{"endpoint"}},
		"azure, user in endpoint":  {gateway.AzureOpenAI, fields{"api_key": "k", "endpoint": "https://u:hunter22@x.example", "deployment_name": "d"}, nil, []string{"endpoint"}},
		"ollama, elsewhere":        {gateway.Ollama, fields{"base_url": "http://ollama:11434"}, fields{"base_url": "http://ollama:11434"}, nil},
		"ollama, loopback by hand": {gateway.Ollama, fields{"base_url": "http://127.0.0.1:11434"}, nil, []string{"base_url"}},
		"custom, nothing":          {gateway.Custom, nil, fields{"header": "Authorization", "prefix": "Bearer"}, nil},
		"custom, no prefix":        {gateway.Custom, fields{"header": "X-Key", "prefix": ""}, fields{"header": "X-Key", "prefix": ""}, nil},
		"custom, no models":        {gateway.Custom, fields{"models_path": ""}, fields{"header": "Authorization", "prefix": "Bearer", "models_path": ""}, nil},
		"custom, none":             {gateway.Custom, fields{"models_path": "none"}, fields{"header": "Authorization", "prefix": "Bearer", "models_path": "none"}, nil},
		"custom, a path":           {gateway.Custom, fields{"models_path": "/api/models"}, fields{"header": "Authorization", "prefix": "Bearer", "models_path": "/api/models"}, nil},
		"custom, header injection": {gateway.Custom, fields{"header": "X-A: hunter22"}, nil, []string{"header"}},
		"custom, host header":      {gateway.Custom, fields{"header": "Host"}, nil, []string{"header"}},
		"custom, odd prefix":       {gateway.Custom, fields{"prefix": "hunter22 é"}, nil, []string{"prefix"}},
		"custom, foreign path":     {gateway.Custom, fields{"models_path": "//hunter22.example/v1"}, nil, []string{"models_path"}},
		"custom, whole URL":        {gateway.Custom, fields{"models_path": "https://hunter22.example/v1"}, nil, []string{"models_path"}},
		"custom, query":            {gateway.Custom, fields{"models_path": "/v1/models?key=hunter22"}, nil, []string{"models_path"}},
		"custom, upwards":          {gateway.Custom, fields{"models_path": "/../hunter22"}, nil, []string{"models_path"}},
		"custom, several":          {gateway.Custom, fields{"header": "X A", "models_path": "#", "hunter22": "x"}, nil, []string{"credentials", "header", "models_path"}},
	} {
		normalised, problems := gateway.ValidateCredentials(example.kind, example.sent, netguard.Policy{})
		if !maps.Equal(normalised, example.normalised) {
			t.Errorf("%s: got %v, want %v", name, normalised, example.normalised)
		}

		if got := slices.Sorted(maps.Keys(problems)); !slices.Equal(got, example.problems) {
			t.Errorf("%s: got %v, want problems with %v", name, problems, example.problems)
		}

		for field, reason := range problems {
			if reason == "" || strings.Contains(field+reason, "hunter22") {
				t.Errorf("%s: %q: %q is empty or repeats what was sent", name, field, reason)
			}
		}
	}
}

func TestValidateCredentialsFollowsThePolicy(t *testing.T) {
	t.Parallel()

	sent := map[string]string{"base_url": "http://localhost:11434"}
	if _, problems := gateway.ValidateCredentials(gateway.Ollama, sent, loopback()); problems != nil {
		t.Errorf("loopback is allowed here: %v", problems)
	}
}

func TestWithBaseURL(t *testing.T) {
	t.Parallel()

	sent := map[string]string{"api_key": "k"}

	filled := gateway.WithBaseURL(gateway.AzureOpenAI, sent, "https://base.example")
	if filled["endpoint"] != "https://base.example" || filled["api_key"] != "k" || len(sent) != 1 {
		t.Errorf("got %v, and %v was sent", filled, sent)
	}

	filled["endpoint"] = "https://endpoint.example"
	if kept := gateway.WithBaseURL(gateway.AzureOpenAI, filled, "https://base.example"); kept["endpoint"] != "https://endpoint.example" {
		t.Errorf("got %v", kept)
	}

	if got := gateway.WithBaseURL(gateway.Ollama, nil, "http://gpu:11434"); got["base_url"] != "http://gpu:11434" {
		t.Errorf("got %v", got)
	}

	if got := gateway.WithBaseURL(gateway.OpenAI, nil, "https://base.example"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
