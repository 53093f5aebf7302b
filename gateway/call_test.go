package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

func TestNewRequest(t *testing.T) {
	t.Parallel()

	messages := gateway.Endpoint{Version: "v1", Path: []string{"messages"}}

	for _, example := range []struct {
		kind     gateway.ProviderType
		base     string
		endpoint gateway.Endpoint
		want     string
	}{
		{gateway.Anthropic, "", messages, "https://api.anthropic.com/v1/messages"},
		{gateway.Anthropic, "https://proxy.test/claude/v2/", messages, "https://proxy.test/claude/v2/messages"},
		{gateway.Cohere, "https://api.cohere.com/v1", gateway.Endpoint{Version: "v2", VersionFixed: true, Path: []string{"chat"}}, "https://api.cohere.com/v2/chat"},
		{gateway.Ollama, "http://gpu:11434/v1", gateway.Endpoint{Path: []string{"api", "chat"}}, "http://gpu:11434/api/chat"},
		{
			gateway.Google, "",
			gateway.Endpoint{Version: "v1beta", Path: []string{"models", "a/b c%:generate"}, Query: url.Values{"alt": {"sse"}}},
			"https://generativelanguage.googleapis.com/v1beta/models/a%2Fb%20c%25:generate?alt=sse",
		},
	} {
		target := gateway.Target{
			Type: example.kind, BaseURL: example.base, Credentials: map[string]string{"api_key": "k3y"},
			CustomHeaders: map[string]string{"X-Team": "blue"},
		}

		request, err := target.NewRequest(context.Background(), example.endpoint, []byte(`{"a":1}`), "corr")
		if err != nil {
			t.Fatalf("%s: %v", example.want, err)
		}

		body, _ := io.ReadAll(request.Body)
		if got := request.URL.String(); got != example.want || request.Method != http.MethodPost || string(body) != `{"a":1}` ||
			request.ContentLength != 7 || request.GetBody == nil {
			t.Errorf("got %s %s with %q, want %s", request.Method, got, body, example.want)
		}

		for name, want := range map[string]string{"Content-Type": "application/json", "X-Team": "blue", "X-Correlation-Id": "corr"} {
			if request.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", example.want, name, request.Header.Get(name))
			}
		}
	}
}

func TestOpenAIEndpoints(t *testing.T) {
	t.Parallel()

	azure := map[string]string{"deployment_name": "mine", "api_version": "2024-10-21"}

	for want, target := range map[string]gateway.Target{
		"https://api.openai.com/v1/":           {Type: gateway.OpenAI},
		"https://open.example/api/paas/v4/":    {Type: gateway.Custom, BaseURL: "https://open.example/api/paas/v4"},
		"https://api.mistral.ai/v1/":           {Type: gateway.Mistral},
		"http://gpu:8000/v1/":                  {Type: gateway.VLLM, BaseURL: "http://gpu:8000"},
		"https://r.test/openai/deployments/m/": {Type: gateway.AzureOpenAI, BaseURL: "https://r.test/openai/v1/"},
		"https://r.test/openai/deployments/mine/": {
			Type: gateway.AzureOpenAI, BaseURL: "https://r.test", Credentials: azure,
		},
	} {
		for path, endpoint := range map[string]gateway.Endpoint{
			"chat/completions": target.ChatEndpoint("m"), "embeddings": target.EmbeddingsEndpoint("m"),
		} {
			request, err := target.NewRequest(context.Background(), endpoint, nil, "")
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}

			got, query, _ := strings.Cut(request.URL.String(), "?")
			if got != want+path || (query == "api-version="+target.AzureVersion()) != (target.Type == gateway.AzureOpenAI) {
				t.Errorf("got %s?%s, want %s%s", got, query, want, path)
			}
		}
	}
}

// A model's name never leads to another endpoint, and a wrong target says what is wrong without showing itself.
func TestRequestsThatAreNotMade(t *testing.T) {
	t.Parallel()

	chat := gateway.Endpoint{Version: "v1", Path: []string{"chat"}}

	for name, example := range map[string]struct {
		target   gateway.Target
		endpoint gateway.Endpoint
		reason   string
	}{
		"dots":       {gateway.Target{Type: gateway.OpenAI}, gateway.Endpoint{Path: []string{"models", ".."}}, "the model's name"},
		"no segment": {gateway.Target{Type: gateway.OpenAI}, gateway.Endpoint{Path: []string{"models", "", "x"}}, "the model's name"},
		"no base":    {gateway.Target{Type: gateway.VLLM}, chat, "no base URL"},
		"bad base":   {gateway.Target{Type: gateway.VLLM, BaseURL: "ftp://hunter22"}, chat, "base URL is not valid"},
		"bad header": {gateway.Target{Type: gateway.OpenAI, CustomHeaders: map[string]string{"Authorization": "hunter22"}}, chat, "own credential"},
	} {
		_, err := example.target.NewRequest(context.Background(), example.endpoint, nil, "")
		if err == nil || !strings.Contains(err.Error(), example.reason) || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: got %v, want %q", name, err, example.reason)
		}
	}
}

func TestFailureTextsAreRedacted(t *testing.T) {
	t.Parallel()

	target := gateway.Target{Type: gateway.OpenAI, Credentials: map[string]string{"api_key": "hunter22-hunter22"}}

	got := target.FailureText(http.StatusBadRequest, nil, []byte(`{"error":{"message":"no use for hunter22-hunter22 here"}}`))
	if strings.Contains(got, "hunter22") || !strings.Contains(got, "no use for") {
		t.Errorf("got %q", got)
	}

	if got := target.Redact("it is hunter22-hunter22"); strings.Contains(got, "hunter22") {
		t.Errorf("got %q", got)
	}
}
