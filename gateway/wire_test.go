package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

// recorder is a transport that answers 200 with an empty object and keeps the request.
type recorder struct{ request *http.Request }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.request = request
	answer := httptest.NewRecorder()
	_, _ = answer.WriteString(`{}`)

	return answer.Result(), nil
}

func sent(target gateway.Target) (*http.Request, gateway.TestResult) {
	transport := &recorder{}
	tester := gateway.NewTester(&http.Client{Transport: transport}, gateway.TesterOptions{})
	result := tester.Test(context.Background(), target, "")

	return transport.request, result
}

func TestListURL(t *testing.T) {
	t.Parallel()

	for _, example := range []struct {
		kind        gateway.ProviderType
		base        string
		credentials map[string]string
		want        string
	}{
		{gateway.OpenAI, "", nil, "https://api.openai.com/v1/models"},
		{gateway.OpenAI, "https://api.openai.com", nil, "https://api.openai.com/v1/models"},
		{gateway.OpenAI, "https://api.openai.com/", nil, "https://api.openai.com/v1/models"},
		{gateway.OpenAI, "https://api.openai.com/v1", nil, "https://api.openai.com/v1/models"},
		{gateway.OpenAI, "https://api.openai.com//v1///", nil, "https://api.openai.com/v1/models"},
		{gateway.OpenAI, "https://proxy.example/team%20a/openai", nil, "https://proxy.example/team%20a/openai/v1/models"},
		{gateway.OpenAI, "https://open.example/api/paas/v4/", nil, "https://open.example/api/paas/v4/models"},
		{gateway.OpenAI, "https://[2606:4700::1]:8443", nil, "https://[2606:4700::1]:8443/v1/models"},

		{gateway.Anthropic, "", nil, "https://api.anthropic.com/v1/models?limit=1000"},
		{gateway.Anthropic, "https://api.anthropic.com/v1/", nil, "https://api.anthropic.com/v1/models?limit=1000"},
		{gateway.Anthropic, "https://api.minimax.io/anthropic", nil, "https://api.minimax.io/anthropic/v1/models?limit=1000"},

		{gateway.Google, "", nil, "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"},
		{gateway.Google, "https://generativelanguage.googleapis.com", nil, "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"},
		{gateway.Google, "https://generativelanguage.googleapis.com/v1beta/", nil, "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"},
		{gateway.Google, "https://generativelanguage.googleapis.com/v1", nil, "https://generativelanguage.googleapis.com/v1/models?pageSize=1000"},

		{gateway.Mistral, "https://api.mistral.ai/v1", nil, "https://api.mistral.ai/v1/models"},
		{gateway.Mistral, "", nil, "https://api.mistral.ai/v1/models"},

		{gateway.Cohere, "", nil, "https://api.cohere.com/v1/models?page_size=1000"},
		{gateway.Cohere, "https://api.cohere.com/v2", nil, "https://api.cohere.com/v1/models?page_size=1000"},

		{gateway.AzureOpenAI, "https://r.openai.azure.com", nil, "https://r.openai.azure.com/openai/models?api-version=2024-02-01"},
		{gateway.AzureOpenAI, "https://r.openai.azure.com/openai/", nil, "https://r.openai.azure.com/openai/models?api-version=2024-02-01"},
		{gateway.AzureOpenAI, "https://r.openai.azure.com/openai/v1/", nil, "https://r.openai.azure.com/openai/models?api-version=2024-02-01"},
		{gateway.AzureOpenAI, "https://r.openai.azure.com/v1", nil, "https://r.openai.azure.com/openai/models?api-version=2024-02-01"},
		{gateway.AzureOpenAI, "https://r.openai.azure.com/openai/deployments/gpt-4o", nil, "https://r.openai.azure.com/openai/models?api-version=2024-02-01"},
		{gateway.AzureOpenAI, "https://apim.example/openai/team", nil, "https://apim.example/openai/team/openai/models?api-version=2024-02-01"},
		{
			gateway.AzureOpenAI, "",
			map[string]string{"endpoint": "https://e.openai.azure.com/", "api_version": "2024-10-21 &x=1"},
			"https://e.openai.azure.com/openai/models?api-version=2024-10-21+%26x%3D1",
		},
		{
			gateway.AzureOpenAI, "https://base.example",
			map[string]string{"endpoint": "https://e.openai.azure.com/"},
			"https://base.example/openai/models?api-version=2024-02-01",
		},

		{gateway.Ollama, "", nil, "http://localhost:11434/api/tags"},
		{gateway.Ollama, "", map[string]string{"base_url": "http://gpu:11434/"}, "http://gpu:11434/api/tags"},
		{gateway.Ollama, "http://gpu:11434/v1", nil, "http://gpu:11434/api/tags"},
		{gateway.Ollama, "http://gpu:11434/api/", nil, "http://gpu:11434/api/tags"},
		{gateway.Ollama, "http://proxy/ollama", nil, "http://proxy/ollama/api/tags"},

		{gateway.VLLM, "http://gpu:8000", nil, "http://gpu:8000/v1/models"},
		{gateway.VLLM, "http://gpu:8000/v1/", nil, "http://gpu:8000/v1/models"},

		{gateway.Custom, "https://c.example", nil, "https://c.example/v1/models"},
		{gateway.Custom, "https://c.example/v2", nil, "https://c.example/v2/models"},
		{gateway.Custom, "https://c.example", map[string]string{"models_path": "/models"}, "https://c.example/models"},
		{gateway.Custom, "https://c.example/v1/", map[string]string{"models_path": "/v1/models"}, "https://c.example/v1/models"},
		{gateway.Custom, "https://c.example/v1", map[string]string{"models_path": "list/"}, "https://c.example/v1/list/"},
		{gateway.Custom, "https://c.example/api", map[string]string{"models_path": "/v1/models"}, "https://c.example/api/v1/models"},
		{gateway.Custom, "https://c.example/v1", map[string]string{"models_path": "none"}, "https://c.example/v1"},
	} {
		request, result := sent(gateway.Target{Type: example.kind, BaseURL: example.base, Credentials: example.credentials})
		if request == nil {
			t.Errorf("%s %q: nothing was sent: %s", example.kind, example.base, result.Error)

			continue
		}

		if got := request.URL.String(); got != example.want {
			t.Errorf("%s %q %v: got %s, want %s", example.kind, example.base, example.credentials, got, example.want)
		}
	}
}

func TestCredentialHeaders(t *testing.T) {
	t.Parallel()

	for kind, want := range map[gateway.ProviderType]http.Header{
		gateway.OpenAI:      {"Authorization": {"Bearer k3y"}},
		gateway.Anthropic:   {"X-Api-Key": {"k3y"}, "Anthropic-Version": {"2023-06-01"}},
		gateway.Google:      {"X-Goog-Api-Key": {"k3y"}},
		gateway.Mistral:     {"Authorization": {"Bearer k3y"}},
		gateway.Cohere:      {"Authorization": {"Bearer k3y"}},
		gateway.AzureOpenAI: {"Api-Key": {"k3y"}},
		gateway.Ollama:      {},
		gateway.VLLM:        {"Authorization": {"Bearer k3y"}},
		gateway.Custom:      {"Authorization": {"Bearer k3y"}},
	} {
		for _, key := range []string{"k3y", ""} {
			request, _ := sent(gateway.Target{
				Type: kind, BaseURL: "https://example.com", Credentials: map[string]string{"api_key": key},
			})

			for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Anthropic-Version"} {
				expected := want.Get(name)
				if key == "" && name != "Anthropic-Version" {
					expected = ""
				}

				if got := request.Header.Get(name); got != expected {
					t.Errorf("%s with key %q sends %s: %q, want %q", kind, key, name, got, expected)
				}
			}
		}
	}
}

func TestNothingIsSent(t *testing.T) {
	t.Parallel()

	headers := func(name, value string) gateway.Target {
		return gateway.Target{
			Type: gateway.OpenAI, BaseURL: "https://example.com", Credentials: map[string]string{"api_key": "k3y"},
			CustomHeaders: map[string]string{name: value},
		}
	}

	for name, example := range map[string]struct {
		target gateway.Target
		reason string
	}{
		"no base URL":        {gateway.Target{Type: gateway.VLLM}, "no base URL is configured"},
		"no scheme":          {gateway.Target{Type: gateway.VLLM, BaseURL: "hunter22.example"}, "the base URL is not valid"},
		"file":               {gateway.Target{Type: gateway.VLLM, BaseURL: "file:///hunter22"}, "the base URL is not valid"},
		"credentials in URL": {gateway.Target{Type: gateway.VLLM, BaseURL: "http://a:hunter22@b"}, "the base URL is not valid"},
		"nonsense":           {gateway.Target{Type: gateway.VLLM, BaseURL: "http://%zz/hunter22"}, "the base URL is not valid"},
		"header injection":   {headers("X-A", "a\r\nX-Evil: hunter22"), "a custom header can't be sent"},
		"auth header":        {headers("authorization", "hunter22"), "carries the provider's own credential"},
		"host header":        {headers("Host", "hunter22"), "can't be set here"},
	} {
		request, result := sent(example.target)
		if request != nil {
			t.Errorf("%s: was sent to %s", name, request.URL)
		}

		if result.OK || !strings.Contains(result.Error, example.reason) || strings.Contains(result.Error, "hunter22") {
			t.Errorf("%s: got %+v, want %q", name, result, example.reason)
		}
	}
}

func TestDefaultBaseURL(t *testing.T) {
	t.Parallel()

	hosted := map[gateway.ProviderType]bool{gateway.AzureOpenAI: true, gateway.VLLM: true, gateway.Custom: true}
	for _, kind := range gateway.ProviderTypes() {
		if (gateway.DefaultBaseURL(kind) == "") != hosted[kind] {
			t.Errorf("%s: default base URL is %q", kind, gateway.DefaultBaseURL(kind))
		}

		if !kind.Valid() {
			t.Errorf("%s is not valid", kind)
		}
	}

	if gateway.ProviderType("bedrock").Valid() || gateway.DefaultBaseURL("bedrock") != "" {
		t.Error("bedrock is no type of ours")
	}
}
