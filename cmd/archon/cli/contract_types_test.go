package cli_test

import (
	"maps"
	"net/http"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// typed is a provider type with what a client sends for it.
type typed struct {
	kind gateway.ProviderType
	// options are the upstream's, body what is sent besides name, type and base_url.
	options gatewaytest.Options
	body    map[string]any
	// paths are base URLs that all mean the same.
	paths []string
}

// allTypes is the nine types, each with a key where it takes one.
func allTypes() []typed {
	key := map[string]any{"api_key": canary}
	strict := gatewaytest.Options{APIKey: canary}
	return []typed{
		{gateway.OpenAI, strict, key, []string{"", "/", "/v1", "/v1/"}},
		{gateway.Anthropic, strict, key, []string{"", "/v1"}},
		{gateway.Google, strict, key, []string{"", "/v1beta"}},
		{gateway.Mistral, strict, key, []string{"", "/v1"}},
		{gateway.Cohere, strict, key, []string{"", "/v1", "/v2"}},
		{gateway.AzureOpenAI, strict, map[string]any{"credentials": map[string]string{"api_key": canary, "deployment_name": "gpt"}}, []string{"", "/openai"}},
		{gateway.Ollama, gatewaytest.Options{}, map[string]any{}, []string{"", "/api"}},
		{gateway.VLLM, strict, key, []string{"", "/v1"}},
		{gateway.VLLM, gatewaytest.Options{}, map[string]any{}, []string{""}},
		{gateway.Custom, strict, key, []string{"", "/v1"}},
		{
			gateway.Custom,
			gatewaytest.Options{APIKey: canary, Header: "X-Token", Prefix: "Key", ModelsPath: "/catalogue/models"},
			map[string]any{"credentials": map[string]string{"api_key": canary, "header": "X-Token", "prefix": "Key", "models_path": "/catalogue/models"}},
			[]string{""},
		},
		{
			gateway.Custom,
			gatewaytest.Options{APIKey: canary, Header: "X-Token", NoPrefix: true},
			map[string]any{"credentials": map[string]string{"api_key": canary, "header": "X-Token", "prefix": ""}},
			[]string{""},
		},
	}
}

// typesContract is the contract of the nine provider types.
func typesContract(shared func() *surface) {
	var s *surface
	var admin string

	BeforeEach(func() {
		s = shared()
		admin = s.token("acme", "ada", "admin")
	})

	registration := func(t typed, baseURL string) map[string]any {
		body := map[string]any{"name": string(t.kind) + " " + uuid.NewString(), "type": string(t.kind), "base_url": baseURL}
		maps.Copy(body, t.body)
		return body
	}

	It("registers each with what its provider really wants, with and without the version in the URL", func() {
		seen := map[gateway.ProviderType]bool{}
		for _, t := range allTypes() {
			seen[t.kind] = true
			upstream := upstreamOf(t.kind, t.options)
			for _, path := range t.paths {
				at := string(t.kind) + " " + path
				id, r := s.register(admin, registration(t, upstream.URL+path))
				Expect(r.data()).To(And(
					HaveKeyWithValue("base_url", upstream.URL+path), HaveKeyWithValue("health_status", "healthy"), HaveKeyWithValue("type", string(t.kind)),
					HaveKeyWithValue("connection_test", And(HaveKeyWithValue("ok", true), HaveKeyWithValue("models_found", 2.0)))), at+r.body)
				again := s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil)
				Expect(again.data()).To(HaveKeyWithValue("ok", true), "with the stored credentials: "+at)
				for _, request := range upstream.Requests() {
					Expect(request.Query.Encode()).NotTo(ContainSubstring(canary), "a key in a URL ends up in logs: "+at)
				}
			}
		}
		Expect(seen).To(HaveLen(len(gateway.ProviderTypes())))
		Expect(seen).To(HaveLen(9))
	})

	It("says what each provider has against a wrong key", func() {
		for _, t := range allTypes() {
			if t.options.APIKey == "" {
				continue // takes any
			}
			t.options.APIKey = "the right one"
			upstream := upstreamOf(t.kind, t.options)
			id, r := s.register(admin, registration(t, upstream.URL))
			test := r.data()["connection_test"]
			Expect(test).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("models_found", 0.0), HaveKeyWithValue("error", MatchRegexp(`^4\d\d: .{5,}`))), string(t.kind))
			Expect(r.body).NotTo(ContainSubstring(canary))
			Expect(s.get(providersPath+"/"+id, admin).data()).To(HaveKeyWithValue("health_status", "unhealthy"))
			upstream.Behave(gatewaytest.Models("one", "two", "three"))
		}
	})

	It("wants the credentials that a type needs, and no others", func() {
		for _, t := range allTypes() {
			upstream := upstreamOf(t.kind, gatewaytest.Options{})
			bare := map[string]any{"name": uuid.NewString(), "type": string(t.kind), "base_url": upstream.URL}
			r := s.ask(http.MethodPost, providersPath, admin, bare)
			switch t.kind {
			case gateway.Ollama, gateway.VLLM, gateway.Custom:
				Expect(r.status).To(Equal(http.StatusCreated), r.body)
			default:
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
				_, details := r.failure()
				Expect(details).To(HaveKeyWithValue("credentials.api_key", "is required"), string(t.kind))
				Expect(upstream.Requests()).To(BeEmpty())
			}
			bare["name"], bare["credentials"] = uuid.NewString(), map[string]string{"api_key": canary, "favourite_colour": canary}
			r = s.ask(http.MethodPost, providersPath, admin, bare)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), string(t.kind)+r.body)
			Expect(r.body).NotTo(ContainSubstring(canary))
		}
		both := map[string]any{"name": "Both", "type": "openai", "base_url": "http://127.0.0.1:1", "api_key": "a", "credentials": map[string]string{"api_key": "b"}}
		Expect(s.ask(http.MethodPost, providersPath, admin, both).status).To(Equal(http.StatusUnprocessableEntity), "two different keys")
	})

	It("keeps each key out of everything it prints", func() {
		Expect(s.running.output.String()).NotTo(ContainSubstring(canary))
		Expect(dump(s.installation)).NotTo(ContainSubstring(canary))
		Expect(filesHolding(s, canary)).To(BeEmpty())
	})
}
