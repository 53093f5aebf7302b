package gatewaytest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

func call(t *testing.T, client *http.Client, address string, header http.Header) (status int, body string) {
	t.Helper()

	return send(t, client, http.MethodGet, address, "sent", header)
}

func send(t *testing.T, client *http.Client, method, address, content string, header http.Header) (status int, body string) {
	t.Helper()

	request, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}

	request.Header = header

	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = response.Body.Close() }()

	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}

	return response.StatusCode, string(raw)
}

func TestEveryTypeChecksWhatItIsSent(t *testing.T) {
	t.Parallel()

	for kind, wire := range map[gateway.ProviderType]struct{ path, header, value string }{
		gateway.OpenAI:      {"/v1/models", "Authorization", "Bearer k"},
		gateway.Anthropic:   {"/v1/models?limit=1000", "X-Api-Key", "k"},
		gateway.Google:      {"/v1beta/models", "X-Goog-Api-Key", "k"},
		gateway.Mistral:     {"/v1/models", "Authorization", "Bearer k"},
		gateway.Cohere:      {"/v1/models", "Authorization", "Bearer k"},
		gateway.AzureOpenAI: {"/openai/models?api-version=2024-02-01", "Api-Key", "k"},
		gateway.Ollama:      {"/api/tags", "X-Nothing", ""},
		gateway.VLLM:        {"/v1/models", "Authorization", "Bearer k"},
		gateway.Custom:      {"/v1/models", "Authorization", "Bearer k"},
	} {
		server := gatewaytest.New(kind, gatewaytest.Options{APIKey: "k"})
		t.Cleanup(server.Close)

		good := http.Header{wire.header: {wire.value}, "Anthropic-Version": {"2023-06-01"}}
		bad := http.Header{wire.header: {wire.value + "x"}, "Anthropic-Version": {"2023-06-01"}}

		status, body := call(t, http.DefaultClient, server.URL+wire.path, good)
		if status != http.StatusOK || !json.Valid([]byte(body)) || !strings.Contains(body, `"`) {
			t.Errorf("%s: got %d %s", kind, status, body)
		}

		if status, body = call(t, http.DefaultClient, server.URL+wire.path, bad); kind != gateway.Ollama && status/100 != 4 {
			t.Errorf("%s with a wrong key: got %d %s", kind, status, body)
		}

		if status, body = call(t, http.DefaultClient, server.URL+"/elsewhere", good); status != http.StatusNotFound || !json.Valid([]byte(body)) {
			t.Errorf("%s at a wrong path: got %d %s", kind, status, body)
		}

		if status, _ = call(t, http.DefaultClient, server.URL+strings.Split(wire.path, "?")[0]+"?key=k", good); status != http.StatusBadRequest {
			t.Errorf("%s with the key in the URL: got %d", kind, status)
		}
	}
}

func TestVersionsAreMandatory(t *testing.T) {
	t.Parallel()

	for kind, path := range map[gateway.ProviderType]string{gateway.Anthropic: "/v1/models", gateway.AzureOpenAI: "/openai/models"} {
		server := gatewaytest.New(kind, gatewaytest.Options{})
		t.Cleanup(server.Close)

		if status, _ := call(t, http.DefaultClient, server.URL+path, nil); status/100 != 4 {
			t.Errorf("%s without its version: got %d", kind, status)
		}
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	t.Parallel()

	server := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
	defer server.Close()

	call(t, http.DefaultClient, server.URL+"/v1/models?a=b", http.Header{"X-Test": {"1"}})

	requests := server.Requests()
	if len(requests) != 1 || requests[0].Method != http.MethodGet || requests[0].Path != "/v1/models" ||
		requests[0].Query.Get("a") != "b" || requests[0].Header.Get("X-Test") != "1" || string(requests[0].Body) != "sent" {
		t.Errorf("got %+v", requests)
	}

	server.Reset()

	if len(server.Requests()) != 0 {
		t.Error("requests are still there")
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()

	server := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
	server.Behave(gatewaytest.Hang())

	failed := make(chan error, 1)

	go func() {
		response, err := http.Get(server.URL)
		if err == nil {
			err = response.Body.Close()
		}
		failed <- err
	}()

	gomega.NewWithT(t).Eventually(server.Requests).Should(gomega.HaveLen(1))

	server.Close()
	server.Close()
	<-failed
}

func TestTLS(t *testing.T) {
	t.Parallel()

	server := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{TLS: true})
	defer server.Close()

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = server.RootCAs()

	if status, _ := call(t, &http.Client{Transport: transport}, server.URL+"/v1/models", nil); status != http.StatusOK {
		t.Errorf("got %d", status)
	}

	plain := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
	defer plain.Close()

	if plain.RootCAs() != nil {
		t.Error("a server without TLS has no certificate")
	}
}

func TestBigIsAValidListOfThatSize(t *testing.T) {
	t.Parallel()

	for _, kind := range gateway.ProviderTypes() {
		server := gatewaytest.New(kind, gatewaytest.Options{})
		server.Behave(gatewaytest.Big(1 << 20))

		if _, body := call(t, http.DefaultClient, server.URL, nil); len(body) < 1<<20 || !json.Valid([]byte(body)) {
			t.Errorf("%s: got %d bytes, valid: %t", kind, len(body), json.Valid([]byte(body)))
		}

		server.Close()
	}
}

func TestBehaviours(t *testing.T) {
	t.Parallel()

	server := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
	t.Cleanup(server.Close)

	for name, example := range map[string]struct {
		behaviour gatewaytest.Behaviour
		status    int
		body      string
	}{
		"models":       {gatewaytest.Models("only-this"), http.StatusOK, `"only-this"`},
		"no models":    {gatewaytest.Models(), http.StatusOK, `"data":[]`},
		"unauthorized": {gatewaytest.Unauthorized(), http.StatusUnauthorized, "provided: sk-12345****6789."},
		"answer":       {gatewaytest.Answer(http.StatusTeapot, `{"a":1}`), http.StatusTeapot, `{"a":1}`},
		"text":         {gatewaytest.Text(http.StatusBadGateway, "away"), http.StatusBadGateway, "away"},
		"garbage":      {gatewaytest.Garbage(), http.StatusOK, "<html>"},
		"redirect":     {gatewaytest.Redirect("/v1/elsewhere"), http.StatusNotFound, "Invalid URL"},
	} {
		server.Behave(example.behaviour)

		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			server.Behave(gatewaytest.Models())

			return nil
		}}

		status, body := call(t, client, server.URL+"/v1/models", http.Header{"Authorization": {"Bearer sk-1234500006789"}})
		if status != example.status || !strings.Contains(body, example.body) {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()

	for name, behaviour := range map[string]gatewaytest.Behaviour{"abort": gatewaytest.Abort(), "mid-body": gatewaytest.HangMidBody()} {
		server := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
		server.Behave(behaviour)

		response, err := http.Get(server.URL)
		server.Close()

		if err != nil {
			continue
		}

		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: got the whole of %q", name, body)
		}

		_ = response.Body.Close()
	}
}
