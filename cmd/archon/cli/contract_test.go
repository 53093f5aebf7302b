package cli_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// providerFields are what the contract and the document say that a provider shows, no more.
func providerFields(more ...string) []string {
	return append([]string{
		"id", "name", "type", "base_url", "is_enabled", "health_status", "supported_models", "capabilities", "latency_ms_p50",
		"latency_ms_p95", "error_rate_pct", "created_at", "rate_limit_rpm", "rate_limit_tpm", "custom_headers", "vault_path", "version",
	}, more...)
}

var _ = Describe("The contract", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	shared := func() *surface { return s }

	BeforeAll(func() { s = surfaceOf(install().start()) })

	Describe("of providers", func() { providersContract(shared) })
	Describe("that holds everywhere", func() { everywhereContract(shared) })
	Describe("of the audit trail", func() { auditContract(shared) })
	Describe("of events and streams", func() { eventsContract(shared) })
	Describe("of API keys", func() { keysContract(shared) })
	Describe("of prices", func() { pricesContract(shared) })
	Describe("of costs", func() { costsContract(shared) })
	Describe("of pricing calls again", func() { repricingContract(shared) })
	Describe("of budgets", func() { budgetsContract(shared) })
	Describe("of alerts", func() { alertsContract(shared) })
	Describe("of departments", func() { departmentsContract(shared) })
	Describe("of the settings of costs", func() { costSettingsContract(shared) })
	Describe("of routing", func() { routingContract(shared) })
	Describe("of the nine provider types", func() { typesContract(shared) })
})

// providersContract is the contract of providers.
func providersContract(shared func() *surface) {
	var s *surface

	BeforeEach(func() {
		s = shared()
	})

	// tenant is a new tenant with an administrator.
	tenant := func() (name, admin string) {
		GinkgoHelper()
		name = "t-" + uuid.NewString()[:8]
		return name, s.token(name, "ada", "admin")
	}

	It("registers one with every field, shows it, changes it and removes it", func() {
		name, admin := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary, Models: []string{"gpt-4o", "gpt-4o-mini", "o1"}})

		By("registering")
		id, r := s.register(admin, map[string]any{
			"name": "  OpenAI Zürich  ", "type": "openai", "base_url": upstream.URL + "/v1", "api_key": canary, "is_enabled": false,
			"rate_limit_rpm": 500, "rate_limit_tpm": nil, "supported_models": []string{"gpt-4o", "o1"},
			"capabilities": []string{"vision", "streaming"}, "custom_headers": map[string]string{"X-Team": canary + "-team", "X-Cost-Centre": "42"},
		})
		Expect(r.header.Get("Location")).To(Equal(providersPath + "/" + id))
		Expect(r.header.Get("ETag")).To(Equal(`"1"`))
		Expect(r.eventPosition()).To(Equal(int64(3)))
		registered := r.data()
		Expect(keys(registered)).To(ConsistOf(providerFields("connection_test")))
		test := registered["connection_test"].(map[string]any)
		Expect(keys(test)).To(ConsistOf("ok", "latency_ms", "models_found", "error"))
		Expect(test).To(And(HaveKeyWithValue("ok", true), HaveKeyWithValue("models_found", 3.0), HaveKeyWithValue("error", BeNil()), HaveKeyWithValue("latency_ms", BeNumerically(">=", 0))))
		Expect(upstream.Requests()).To(HaveLen(1))
		sent := upstream.Requests()[0].Header
		Expect(sent.Get("Authorization")).To(Equal("Bearer " + canary))
		Expect(sent.Get("X-Team")).To(Equal(canary + "-team"))
		Expect(sent.Get("X-Correlation-ID")).To(Equal(r.header.Get("X-Correlation-ID")), "correlation reaches the upstream call")

		By("reading it")
		shown := map[string]any{
			"id": id, "name": "OpenAI Zürich", "type": "openai", "base_url": upstream.URL + "/v1", "is_enabled": false,
			"health_status": "healthy", "supported_models": []any{"gpt-4o", "o1"}, "capabilities": []any{"vision", "streaming"},
			"latency_ms_p50": nil, "latency_ms_p95": nil, "error_rate_pct": nil, "created_at": registered["created_at"],
			"rate_limit_rpm": 500.0, "rate_limit_tpm": nil, "custom_headers": []any{"X-Cost-Centre", "X-Team"},
			"vault_path": "secret/tenants/" + name + "/providers/" + id, "version": 1.0,
		}
		Expect(registered["created_at"]).To(beTime())
		got := s.get(providersPath+"/"+id, admin)
		Expect(got.header.Get("ETag")).To(Equal(`"1"`))
		Expect(got.data()).To(Equal(shown))
		Expect(s.get(providersPath, admin).list()).To(Equal([]map[string]any{shown}))

		By("changing everything but the credentials")
		vllm := upstreamOf(gateway.VLLM, gatewaytest.Options{})
		changed := s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{
			"name": "vLLM", "type": "vllm", "base_url": vllm.URL, "is_enabled": true, "rate_limit_rpm": nil, "rate_limit_tpm": 90_000,
			"supported_models": []string{}, "capabilities": []string{"embeddings"}, "custom_headers": map[string]string{},
		})
		Expect(changed.status).To(Equal(http.StatusOK), changed.body)
		Expect(changed.header.Get("ETag")).To(Equal(`"2"`))
		maps.Copy(shown, map[string]any{
			"name": "vLLM", "type": "vllm", "base_url": vllm.URL, "is_enabled": true, "rate_limit_rpm": nil, "rate_limit_tpm": 90_000.0,
			"supported_models": []any{}, "capabilities": []any{"embeddings"}, "custom_headers": []any{}, "version": 2.0,
		})
		Expect(changed.data()).To(Equal(shown))
		Expect(s.get(providersPath+"/"+id, admin).data()).To(Equal(shown))

		By("changing nothing")
		same := s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "vLLM", "is_enabled": true})
		Expect(same.status).To(Equal(http.StatusOK))
		Expect(same.eventPosition()).To(Equal(changed.eventPosition()), "nothing was appended")
		Expect(same.data()).To(Equal(shown))

		By("removing it")
		removed := s.ask(http.MethodDelete, providersPath+"/"+id, admin, nil)
		Expect(removed.status).To(Equal(http.StatusNoContent), removed.body)
		for method, path := range map[string]string{
			http.MethodGet: "", http.MethodPatch: "", http.MethodDelete: "", http.MethodPut: "/credentials", http.MethodPost: "/test-connection",
		} {
			body := map[string]any{http.MethodPatch: map[string]any{"name": "x"}, http.MethodPut: map[string]any{"api_key": "k"}}[method]
			r := s.ask(method, providersPath+"/"+id+path, admin, body)
			Expect(r.status).To(Equal(http.StatusNotFound), method+" "+path+r.body)
		}
		Expect(s.ask(http.MethodGet, providersPath+"/"+id+"/health", admin, nil).status).To(Equal(http.StatusNotFound))
		Expect(s.get(providersPath, admin).list()).To(BeEmpty())
		Expect(s.get(providersPath+"/health", admin).data()).To(HaveKeyWithValue("total", 0.0))

		By("giving its name to another one")
		again, _ := s.register(admin, openAI("vLLM", upstream.URL, canary))
		Expect(again).NotTo(Equal(id))
		Expect(s.running.output.String()).NotTo(ContainSubstring(canary))
	})

	It("fills in what the contract says is the default", func() {
		_, admin := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		_, r := s.register(admin, openAI("Minimal", upstream.URL, canary))
		Expect(r.data()).To(And(
			HaveKeyWithValue("is_enabled", true), HaveKeyWithValue("rate_limit_rpm", BeNil()), HaveKeyWithValue("rate_limit_tpm", BeNil()),
			HaveKeyWithValue("supported_models", Equal([]any{})), HaveKeyWithValue("capabilities", Equal([]any{})),
			HaveKeyWithValue("custom_headers", Equal([]any{})), HaveKeyWithValue("base_url", upstream.URL)))
		_, r = s.register(admin, map[string]any{
			"name": "Long form", "type": "openai", "base_url": upstream.URL, "credentials": map[string]string{"api_key": canary},
		})
		Expect(r.data()).To(HaveKeyWithValue("connection_test", HaveKeyWithValue("ok", true)))
	})

	It("keeps names unique within a tenant, and only there", func() {
		_, admin := tenant()
		_, other := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		s.register(admin, openAI("Taken", upstream.URL, canary))
		second, _ := s.register(admin, openAI("Second", upstream.URL, canary))
		s.register(other, openAI("Taken", upstream.URL, canary))
		before := len(upstream.Requests())
		for _, r := range []reply{
			s.ask(http.MethodPost, providersPath, admin, openAI(" Taken ", upstream.URL, canary)),
			s.ask(http.MethodPatch, providersPath+"/"+second, admin, map[string]any{"name": "Taken"}),
		} {
			Expect(r.status).To(Equal(http.StatusConflict), r.body)
			Expect(r.code()).To(Equal("name_taken"))
		}
		Expect(upstream.Requests()).To(HaveLen(before), "a taken name needs no connection test")
	})

	It("replaces credentials only by ones that work", func() {
		_, admin := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		id, _ := s.register(admin, openAI("Rotated", upstream.URL, canary))
		path := providersPath + "/" + id + "/credentials"

		By("refusing a key that the provider does not take")
		wrong := s.ask(http.MethodPut, path, admin, map[string]any{"api_key": canary + "-wrong"})
		Expect(wrong.status).To(Equal(http.StatusUnprocessableEntity), wrong.body)
		code, _ := wrong.failure()
		Expect(code).To(Equal("credential_test_failed"))
		Expect(wrong.body).To(And(ContainSubstring("401"), ContainSubstring("Incorrect API key"), Not(ContainSubstring(canary))), "the provider's own message, without the key")
		Expect(s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()).To(HaveKeyWithValue("ok", true), "the old key is in place")

		By("taking one that it does")
		for _, body := range []any{map[string]any{"api_key": canary}, map[string]any{"credentials": map[string]string{"api_key": canary}}} {
			r := s.ask(http.MethodPut, path, admin, body)
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			Expect(r.data()).To(Equal(map[string]any{"status": "updated", "tested": true}))
			telemetry := s.entries(admin, "telemetry=true&correlation_id="+r.header.Get("X-Correlation-ID"))
			Expect(namesOf(telemetry, "resource_type")).To(ConsistOf("provider"), "a test of new credentials counts for nothing")
		}

		By("refusing what is neither")
		for _, body := range []any{
			map[string]any{},
			map[string]any{"api_key": "a", "credentials": map[string]string{"api_key": "b"}},
			map[string]any{"api_key": ""},
			map[string]any{"credentials": map[string]string{}},
			map[string]any{"credentials": map[string]string{"nonsense": "x"}},
		} {
			r := s.ask(http.MethodPut, path, admin, body)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), fmt.Sprint(body, r.body))
			Expect(r.code()).To(Equal("validation_failed"))
		}
	})

	It("shows health by the last test of the stored credentials", func() {
		_, admin := tenant()
		good := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		bad := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: "another"})
		goodID, _ := s.register(admin, openAI("A good", good.URL, canary))
		badID, r := s.register(admin, openAI("B bad", bad.URL, canary))
		Expect(r.data()).To(And(HaveKeyWithValue("health_status", "unhealthy"), HaveKeyWithValue("connection_test", HaveKeyWithValue("ok", false))))
		disabled := openAI("C disabled", good.URL, canary)
		disabled["is_enabled"] = false
		s.register(admin, disabled)

		counts := s.get(providersPath+"/health", admin).data()
		Expect(counts).To(Equal(map[string]any{"total": 3.0, "healthy": 2.0, "degraded": 0.0, "unhealthy": 1.0, "unknown": 0.0}))

		By("testing again")
		good.Behave(gatewaytest.Answer(http.StatusInternalServerError, `{"error":{"message":"overheated"}}`))
		tested := s.ask(http.MethodPost, providersPath+"/"+goodID+"/test-connection", s.token(tenantOf(s, admin), "olga", "operator"), nil)
		Expect(tested.status).To(Equal(http.StatusOK))
		Expect(keys(tested.data())).To(ConsistOf("ok", "latency_ms", "models_found", "error"))
		Expect(tested.data()).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("models_found", 0.0), HaveKeyWithValue("error", "500: overheated")))
		Expect(s.get(providersPath+"/"+goodID, admin).data()).To(And(HaveKeyWithValue("health_status", "unhealthy"), HaveKeyWithValue("version", 1.0), HaveKeyWithValue("error_rate_pct", BeNil())))

		By("reading a provider's health over each window")
		for _, window := range []string{"", "?window=1h", "?window=24h", "?window=7d"} {
			health := s.get(providersPath+"/"+badID+"/health"+window, admin).data()
			Expect(keys(health)).To(ConsistOf("provider_id", "current_status", "latency_ms_p50", "latency_ms_p95", "latency_ms_p99", "error_rate_pct",
				"requests_per_minute", "last_check_at", "circuit_breaker", "history"))
			Expect(health).To(And(
				HaveKeyWithValue("provider_id", badID), HaveKeyWithValue("current_status", "unhealthy"), HaveKeyWithValue("latency_ms_p50", BeNil()),
				HaveKeyWithValue("latency_ms_p95", BeNil()), HaveKeyWithValue("latency_ms_p99", BeNil()), HaveKeyWithValue("error_rate_pct", BeNil()),
				HaveKeyWithValue("requests_per_minute", 0.0), HaveKeyWithValue("last_check_at", beTime()), HaveKeyWithValue("history", Equal([]any{})),
				HaveKeyWithValue("circuit_breaker", Equal(map[string]any{"state": "closed", "failure_count": 0.0, "opened_at": nil}))))
		}
		Expect(s.ask(http.MethodGet, providersPath+"/"+badID+"/health?window=2h", admin, nil).status).To(Equal(http.StatusBadRequest))
		detail := s.get(providersPath+"/health/detail?window=7d", admin).list()
		Expect(detail).To(HaveLen(3))
		Expect(namesOf(detail, "current_status")).To(Equal([]any{"unhealthy", "unhealthy", "healthy"}), "sorted by the providers' names")

		By("leaving out what was removed")
		s.ask(http.MethodDelete, providersPath+"/"+badID, admin, nil)
		Expect(s.get(providersPath+"/health", admin).data()).To(HaveKeyWithValue("total", 2.0))
		Expect(s.get(providersPath+"/health/detail", admin).list()).To(HaveLen(2))
	})

	It("says which credentials each type takes", func() {
		_, admin := tenant()
		schemas := s.get(providersPath+"/credential-schemas", admin).data()
		key := map[string]any{"name": "api_key", "type": "password", "required": true}
		optional := map[string]any{"name": "api_key", "type": "password", "required": false}
		fields := func(kind string) []any { return schemas[kind].(map[string]any)["fields"].([]any) }
		Expect(keys(schemas)).To(ConsistOf("openai", "anthropic", "google", "mistral", "cohere", "azure_openai", "ollama", "vllm", "custom"))
		for _, kind := range []string{"openai", "anthropic", "google", "mistral", "cohere"} {
			Expect(fields(kind)).To(Equal([]any{key}), kind)
		}
		Expect(fields("vllm")).To(Equal([]any{optional}))
		Expect(fields("ollama")).To(HaveExactElements(And(HaveKeyWithValue("name", "base_url"), HaveKeyWithValue("type", "url"), HaveKeyWithValue("default", "http://localhost:11434"))))
		Expect(fields("azure_openai")).To(HaveExactElements(
			Equal(key), And(HaveKeyWithValue("name", "endpoint"), HaveKeyWithValue("type", "url"), HaveKeyWithValue("required", true)),
			And(HaveKeyWithValue("name", "api_version"), HaveKeyWithValue("default", "2024-02-01")), HaveKeyWithValue("name", "deployment_name")))
		Expect(fields("custom")).To(HaveExactElements(
			Equal(optional), And(HaveKeyWithValue("name", "header"), HaveKeyWithValue("default", "Authorization")),
			And(HaveKeyWithValue("name", "prefix"), HaveKeyWithValue("default", "Bearer")), HaveKeyWithValue("name", "models_path")))
	})

	It("pages through providers by name, stable while others come and go", func() {
		_, admin := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		ids := map[string]string{}
		for _, name := range []string{"delta", "Alpha", "echo", "bravo", "charlie"} {
			ids[name], _ = s.register(admin, openAI(name, upstream.URL, canary))
		}
		all := namesOf(s.get(providersPath, admin).list(), "name")
		Expect(slices.IsSortedFunc(all, func(a, b any) int { return compareText(a, b) })).To(BeTrue(), fmt.Sprint(all))
		listed := s.pageThrough(providersPath+"?limit=2", admin, func(page int) {
			switch page {
			case 1: // Alpha, bravo were shown: one before them, one after
				s.register(admin, openAI("Aardvark", upstream.URL, canary))
				s.register(admin, openAI("zulu", upstream.URL, canary))
			case 2: // charlie, delta were shown: one of them goes, and one of those to come
				s.ask(http.MethodDelete, providersPath+"/"+ids["charlie"], admin, nil)
				s.ask(http.MethodDelete, providersPath+"/"+ids["echo"], admin, nil)
			}
		})
		Expect(namesOf(listed, "name")).To(Equal([]any{"Alpha", "bravo", "charlie", "delta", "zulu"}))
		Expect(s.pageThrough(providersPath+"/health/detail?limit=1", admin, func(int) {})).To(HaveLen(5))
		page := s.get(providersPath+"?limit=5", admin)
		Expect(page.nextCursor()).To(BeEmpty(), "a page that holds all is the last one")
		r := s.ask(http.MethodGet, providersPath+"/health/detail?cursor="+s.get(auditPath+"?limit=1", admin).nextCursor(), admin, nil)
		Expect(r.status).To(Equal(http.StatusBadRequest), "a cursor of another list")
		Expect(r.code()).To(Equal("invalid_cursor"))
	})

	It("travels in time", func() {
		_, admin := tenant()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		id, r := s.register(admin, openAI("First name", upstream.URL, canary))
		created, err := time.Parse(time.RFC3339Nano, r.data()["created_at"].(string))
		Expect(err).NotTo(HaveOccurred())
		happened := func(r reply) time.Time {
			GinkgoHelper()
			entries := s.entries(admin, "correlation_id="+r.header.Get("X-Correlation-ID"))
			// The oldest: what a job does because of it has the same correlation id.
			at, err := time.Parse(time.RFC3339Nano, entries[len(entries)-1]["occurred_at"].(string))
			Expect(err).NotTo(HaveOccurred())
			return at
		}
		changed := happened(s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "Second name", "is_enabled": false}))
		s.register(admin, openAI("Another", upstream.URL, canary))
		deleted := happened(s.ask(http.MethodDelete, providersPath+"/"+id, admin, nil))

		asOf := func(at time.Time) string { return "?as_of=" + url.QueryEscape(at.Format(time.RFC3339Nano)) }
		names := func(at time.Time) []any {
			GinkgoHelper()
			return namesOf(s.get(providersPath+asOf(at), admin).list(), "name")
		}
		const moment = time.Microsecond
		Expect(names(created.Add(-moment))).To(BeEmpty())
		Expect(names(created)).To(Equal([]any{"First name"}))
		Expect(names(changed.Add(-moment))).To(Equal([]any{"First name"}))
		Expect(names(changed)).To(Equal([]any{"Second name"}))
		Expect(names(deleted.Add(-moment))).To(Equal([]any{"Another", "Second name"}))
		Expect(names(deleted)).To(Equal([]any{"Another"}))
		Expect(names(time.Now().Add(time.Hour))).To(Equal([]any{"Another"}))
		Expect(names(created.In(time.FixedZone("CET", 3600)))).To(Equal([]any{"First name"}), "any offset")
		Expect(namesOf(s.pageThrough(providersPath+asOf(deleted.Add(-moment))+"&limit=1", admin, func(int) {}), "name")).To(Equal([]any{"Another", "Second name"}))

		path := providersPath + "/" + id
		Expect(s.ask(http.MethodGet, path+asOf(created.Add(-moment)), admin, nil).status).To(Equal(http.StatusNotFound))
		then := s.get(path+asOf(changed.Add(-moment)), admin)
		Expect(then.header.Get("ETag")).To(Equal(`"1"`))
		Expect(then.data()).To(And(HaveKeyWithValue("name", "First name"), HaveKeyWithValue("is_enabled", true), HaveKeyWithValue("health_status", "healthy"), HaveKeyWithValue("created_at", r.data()["created_at"])))
		Expect(keys(then.data())).To(ConsistOf(providerFields()))
		Expect(s.get(path+asOf(deleted.Add(-moment)), admin).data()).To(And(HaveKeyWithValue("name", "Second name"), HaveKeyWithValue("is_enabled", false)))
		Expect(s.ask(http.MethodGet, path+asOf(deleted), admin, nil).status).To(Equal(http.StatusNotFound))
		for _, bad := range []string{"yesterday", "2025-01-01", "1700000000", "", "2025-13-01T00:00:00Z"} {
			Expect(s.ask(http.MethodGet, providersPath+"?as_of="+bad, admin, nil).status).To(Equal(http.StatusBadRequest), bad)
		}
	})
}

func compareText(a, b any) int { return slices.Compare([]byte(a.(string)), []byte(b.(string))) }

// tenantOf is the tenant of a token.
func tenantOf(s *surface, token string) string {
	GinkgoHelper()
	tenant, _ := s.get(mePath, token).data()["tenant_id"].(string)
	return tenant
}
