package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// everywhereContract is the contract that holds everywhere.
func everywhereContract(shared func() *surface) {
	var s *surface

	BeforeEach(func() {
		s = shared()
	})

	// scene is a new tenant with an administrator, a provider, and the upstream behind it.
	scene := func() (admin, id string, upstream *gatewaytest.Server) {
		GinkgoHelper()
		upstream = upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		admin = s.token("t-"+uuid.NewString()[:8], "ada", "admin")
		id, _ = s.register(admin, openAI("First", upstream.URL, canary))
		return admin, id, upstream
	}

	It("guards writes with ETag and If-Match", func() {
		admin, id, _ := scene()
		path := providersPath + "/" + id
		etag := s.get(path, admin).header.Get("ETag")
		Expect(etag).To(Equal(`"1"`))

		s.ask(http.MethodPost, path+"/test-connection", admin, nil)
		Expect(s.get(path, admin).header.Get("ETag")).To(Equal(etag), "health does not change it")

		first := s.ask(http.MethodPatch, path, admin, map[string]any{"is_enabled": false}, header{"If-Match": etag})
		Expect(first.status).To(Equal(http.StatusOK))
		Expect(first.header.Get("ETag")).To(Equal(`"2"`))
		for method, body := range map[string]any{http.MethodPatch: map[string]any{"is_enabled": true}, http.MethodDelete: nil} {
			stale := s.ask(method, path, admin, body, header{"If-Match": etag})
			Expect(stale.status).To(Equal(http.StatusPreconditionFailed), stale.body)
			Expect(stale.code()).To(Equal("precondition_failed"))
		}
		stale := s.ask(http.MethodPut, path+"/credentials", admin, map[string]any{"api_key": "new"}, header{"If-Match": etag})
		Expect(stale.status).To(Equal(http.StatusPreconditionFailed))
		rotated := s.ask(http.MethodPut, path+"/credentials", admin, map[string]any{"api_key": "new"}, header{"If-Match": `"1", "2"`})
		Expect(rotated.status).To(Equal(http.StatusOK), "any of a list")
		Expect(rotated.header.Get("ETag")).To(Equal(`"3"`))
		for _, malformed := range []string{"3", `W/"3"`, `"3`, `""3`, "**"} {
			Expect(s.ask(http.MethodPatch, path, admin, map[string]any{}, header{"If-Match": malformed}).status).To(Equal(http.StatusBadRequest), malformed)
		}
		Expect(s.ask(http.MethodPatch, path, admin, map[string]any{}, header{"If-Match": "*"}).status).To(Equal(http.StatusOK))
		Expect(s.ask(http.MethodDelete, path, admin, nil, header{"If-Match": `"3"`}).status).To(Equal(http.StatusNoContent))
	})

	It("gives the first answer again under the same Idempotency-Key, and does nothing", func() {
		admin, id, upstream := scene()
		ctx, conn := s.asSuperuser()
		tenant := tenantOf(s, admin)
		written := func() int { // but for what a job does in the background
			GinkgoHelper()
			return one[int](ctx, conn, `select count(*) from events where tenant_id = $1 and type <> 'provider.secret_removed.v1'`, tenant)
		}
		type example struct {
			method, path string
			body         any
			status       int
		}
		for _, e := range []example{
			{http.MethodPost, providersPath, openAI("Once", upstream.URL, canary), http.StatusCreated},
			{http.MethodPatch, providersPath + "/" + id, map[string]any{"rate_limit_rpm": 7}, http.StatusOK},
			{http.MethodPatch, providersPath + "/" + id, map[string]any{}, http.StatusOK},
			{http.MethodPut, providersPath + "/" + id + "/credentials", map[string]any{"api_key": canary}, http.StatusOK},
			{http.MethodPost, providersPath + "/" + id + "/test-connection", nil, http.StatusOK},
			{http.MethodPost, projectionsPath + "/providers/retry", nil, http.StatusAccepted},
			{http.MethodPost, providersPath, openAI("Once", upstream.URL, canary), http.StatusConflict},
			{http.MethodPost, providersPath, openAI("", upstream.URL, canary), http.StatusUnprocessableEntity},
			{http.MethodPost, providersPath, "{", http.StatusBadRequest},
			{http.MethodPatch, providersPath + "/" + uuid.NewString(), map[string]any{}, http.StatusNotFound},
			{http.MethodDelete, providersPath + "/" + id, nil, http.StatusNoContent},
			{http.MethodDelete, providersPath + "/" + id, nil, http.StatusNotFound},
		} {
			at := fmt.Sprint(e.method, " ", e.path, " ", e.status)
			key := header{"Idempotency-Key": uuid.NewString()}
			first := s.ask(e.method, e.path, admin, e.body, key)
			Expect(first.status).To(Equal(e.status), at+first.body)
			Expect(first.header).NotTo(HaveKey("Idempotent-Replayed"), at)
			before, calls := written(), len(upstream.Requests())
			again := s.ask(e.method, e.path, admin, e.body, key)
			Expect(again.status).To(Equal(first.status), at)
			Expect(again.body).To(Equal(first.body), "byte for byte: "+at)
			Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"), at)
			for _, name := range []string{"ETag", "Location", "X-Event-Position"} {
				Expect(again.header.Get(name)).To(Equal(first.header.Get(name)), at+" "+name)
			}
			Expect(written()).To(Equal(before), "appended nothing: "+at)
			Expect(upstream.Requests()).To(HaveLen(calls), "called nobody: "+at)

			other := s.ask(e.method, e.path, admin, `{"name":"another body"}`, key)
			Expect(other.status).To(Equal(http.StatusUnprocessableEntity), at+other.body)
			Expect(other.code()).To(Equal("idempotency_key_reused"), at)
		}
	})

	It("scopes an Idempotency-Key to tenant, actor, method and path, and authorises first", func() {
		admin, id, upstream := scene()
		tenant := tenantOf(s, admin)
		key := header{"Idempotency-Key": "the same everywhere"}
		body := map[string]any{"rate_limit_tpm": 5}
		first := s.ask(http.MethodPatch, providersPath+"/"+id, admin, body, key)
		Expect(first.status).To(Equal(http.StatusOK))
		for what, r := range map[string]reply{
			"another actor":  s.ask(http.MethodPatch, providersPath+"/"+id, s.token(tenant, "grace", "admin"), body, key),
			"another method": s.ask(http.MethodDelete, providersPath+"/"+uuid.NewString(), admin, nil, key),
			"another path":   s.ask(http.MethodPost, providersPath, admin, openAI("Second", upstream.URL, canary), key),
			"another tenant": s.ask(http.MethodPatch, providersPath+"/"+id, s.token("another", "ada", "admin"), body, key),
		} {
			Expect(r.header).NotTo(HaveKey("Idempotent-Replayed"), what)
			Expect(r.code()).NotTo(Equal("idempotency_key_reused"), what)
		}
		forbidden := s.ask(http.MethodPatch, providersPath+"/"+id, s.token(tenant, "ada", "operator"), body, key)
		Expect(forbidden.status).To(Equal(http.StatusForbidden), "the same actor without the role gets nothing of it")
		for _, bad := range []string{strings.Repeat("k", 256), "ключ"} {
			Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, body, header{"Idempotency-Key": bad}).code()).To(Equal("invalid_header"))
		}
		Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, body, header{"Idempotency-Key": strings.Repeat("k", 255)}).status).To(Equal(http.StatusOK))
	})

	It("has one effect and one answer for fifty twins at once", func() {
		admin, _, upstream := scene()
		before, calls := s.head(admin), len(upstream.Requests())
		key := header{"Idempotency-Key": uuid.NewString()}
		const twins = 50
		answers := make([]reply, twins)
		atOnce(twins, func(i int) {
			answers[i] = s.ask(http.MethodPost, providersPath, admin, openAI("Twin", upstream.URL, canary), key)
		})
		firsts := 0
		for _, r := range answers {
			Expect(r.status).To(Equal(http.StatusCreated), r.body)
			Expect(r.body).To(Equal(answers[0].body))
			if r.header.Get("Idempotent-Replayed") == "" {
				firsts++
			}
		}
		Expect(firsts).To(Equal(1))
		Expect(s.head(admin)).To(Equal(before + 3))
		Expect(upstream.Requests()).To(HaveLen(calls + 1))
	})

	It("shows what was written at once, waits for X-Min-Position, and does not for respond-async", func() {
		admin, id, upstream := scene()
		patched := s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"rate_limit_rpm": 1}, header{"Prefer": "respond-async, wait=10"})
		Expect(patched.status).To(Equal(http.StatusOK), "status and body stay as they are")
		Expect(patched.data()).To(And(HaveKeyWithValue("rate_limit_rpm", 1.0), HaveKeyWithValue("version", 2.0)))
		seen := s.get(providersPath+"/"+id, admin, header{"X-Min-Position": patched.header.Get("X-Event-Position")})
		Expect(seen.data()).To(HaveKeyWithValue("rate_limit_rpm", 1.0))
		Expect(seen.header).NotTo(HaveKey("X-Projection-Lag"))
		async := s.ask(http.MethodPost, providersPath, admin, openAI("Async", upstream.URL, canary), header{"Prefer": "respond-async"})
		Expect(async.status).To(Equal(http.StatusCreated))
		listed := s.get(providersPath, admin, header{"X-Min-Position": async.header.Get("X-Event-Position")})
		Expect(namesOf(listed.list(), "name")).To(ConsistOf("Async", "First"))

		future := s.get(providersPath, admin, header{"X-Min-Position": fmt.Sprint(async.eventPosition() + 1000)})
		Expect(future.header.Get("X-Projection-Lag")).To(Equal("true"), "a bounded wait")
		for _, bad := range []string{"-1", "x", "1.5", "99999999999999999999"} {
			Expect(s.ask(http.MethodGet, providersPath, admin, nil, header{"X-Min-Position": bad}).code()).To(Equal("invalid_header"), bad)
		}
	})

	It("carries the correlation id everywhere", func() {
		admin, id, upstream := scene()
		sent := uuid.NewString()
		upstream.Reset()
		r := s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil, header{"X-Correlation-ID": strings.ToUpper(sent)})
		Expect(r.header.Get("X-Correlation-ID")).To(Equal(sent))
		Expect(upstream.Requests()[0].Header.Get("X-Correlation-ID")).To(Equal(sent))
		entries := s.entries(admin, "telemetry=true&correlation_id="+sent)
		Expect(entries).To(HaveExactElements(And(HaveKeyWithValue("correlation_id", sent), HaveKeyWithValue("action", "POST "+providersPath+"/{id}/test-connection"))))
		Expect(s.running.output.String()).To(ContainSubstring("correlation_id=" + sent))

		for _, bad := range []string{"", "x", "{" + sent + "}", "urn:uuid:" + sent, strings.Repeat("a", 5000)} {
			r := s.ask(http.MethodGet, mePath, admin, nil, header{"X-Correlation-ID": bad})
			Expect(r.header.Get("X-Correlation-ID")).To(MatchRegexp(uuidPattern), bad)
		}
		Expect(s.ask(http.MethodGet, mePath, "", nil, header{"X-Correlation-ID": sent}).header.Get("X-Correlation-ID")).To(Equal(sent), "on refusals too")
	})

	It("answers 404, 405 with Allow, 406, 413 and 415 in the error format", func() {
		admin, id, _ := scene()
		for _, path := range []string{"/api/v1/nothing", "/api/v1", "/api/v2/router/providers", "/nothing", providersPath + "/", providersPath + "/" + id + "/nothing"} {
			r := s.ask(http.MethodGet, path, admin, nil)
			Expect(r.status).To(Equal(http.StatusNotFound), path)
			Expect(r.code()).To(Equal("not_found"))
		}
		for path, allowed := range map[string][]string{
			providersPath: {"GET", "HEAD", "POST"}, providersPath + "/" + id: {"GET", "HEAD", "PATCH", "DELETE"},
			providersPath + "/" + id + "/credentials": {"PUT"}, auditPath: {"GET", "HEAD"}, "/health": {"GET", "HEAD"},
		} {
			r := s.ask("PROPFIND", path, admin, nil)
			Expect(r.status).To(Equal(http.StatusMethodNotAllowed), path+r.body)
			Expect(strings.Split(r.header.Get("Allow"), ", ")).To(ContainElements(allowed), path)
			Expect(strings.Split(r.header.Get("Allow"), ", ")).To(HaveLen(len(allowed)+1), path+": and OPTIONS")
		}
		for accept, status := range map[string]int{
			"text/html": http.StatusNotAcceptable, "application/json;q=0": http.StatusNotAcceptable, "*/*": http.StatusOK,
			"text/html, application/*;q=0.1": http.StatusOK, "application/json": http.StatusOK,
		} {
			Expect(s.ask(http.MethodGet, providersPath, admin, nil, header{"Accept": accept}).status).To(Equal(status), accept)
			Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{}, header{"Accept": accept}).status).To(Equal(status), accept)
		}
		big := `{"name":"` + strings.Repeat("n", 1<<20) + `"}`
		Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, big).code()).To(Equal("body_too_large"))
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/jsonx", ""} {
			Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, "{}", header{"Content-Type": kind}).code()).To(Equal("unsupported_media_type"), kind)
		}
		Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, "{}", header{"Content-Encoding": "gzip"}).code()).To(Equal("unsupported_media_type"))
		Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, "{}", header{"Content-Type": "application/json; charset=UTF-8"}).status).To(Equal(http.StatusOK))
		for _, limit := range []string{"0", "501", "-1", "x", "1.5", "1e2", "99999999999999999999", ""} {
			Expect(s.ask(http.MethodGet, providersPath+"?limit="+limit, admin, nil).code()).To(Equal("invalid_parameter"), limit)
		}
		Expect(s.get(providersPath+"?limit=500", admin).body).To(ContainSubstring(`"limit":500`))
		Expect(s.get(providersPath, admin).body).To(ContainSubstring(`"limit":100`))
		Expect(s.ask(http.MethodGet, providersPath+"?limt=5", admin, nil).code()).To(Equal("invalid_parameter"), "a misspelt parameter")
	})

	It("answers HEAD like GET, without a body", func() {
		admin, id, _ := scene()
		for _, path := range []string{
			providersPath, providersPath + "/" + id, providersPath + "/health", auditPath, mePath, "/health", "/health/live", "/metrics", "/openapi.yaml", "/docs",
		} {
			got, head := s.must(http.MethodGet, path, admin, nil), s.must(http.MethodHead, path, admin, nil)
			Expect(head.status).To(Equal(http.StatusOK), path)
			Expect(head.body).To(BeEmpty())
			for _, name := range []string{"Content-Type", "ETag", "Cache-Control"} {
				Expect(head.header.Get(name)).To(Equal(got.header.Get(name)), path+" "+name)
			}
		}
		Expect(s.must(http.MethodHead, providersPath+"/"+uuid.NewString(), admin, nil).status).To(Equal(http.StatusNotFound))
		Expect(s.must(http.MethodHead, providersPath, "", nil).status).To(Equal(http.StatusUnauthorized))
	})

	It("says who the caller is, and how projections and jobs are doing", func() {
		admin, _, _ := scene()
		tenant := tenantOf(s, admin)
		me := s.get(mePath, s.token(tenant, "grace", "viewer", "auditor")).data()
		Expect(me).To(Equal(map[string]any{"tenant_id": tenant, "user_id": "grace", "name": "grace", "roles": []any{"auditor", "viewer"}}))

		list := s.get(projectionsPath, admin).list()
		Expect(namesOf(list, "name")).To(ContainElements("audit_index", "providers"))
		Expect(namesOf(list, "name")).To(HaveExactElements(sorted(namesOf(list, "name"))...), "sorted by name")
		for _, projection := range list {
			Expect(keys(projection)).To(ConsistOf("name", "version", "status", "position", "head", "lag_events", "lag_ms", "events_per_second", "error", "rebuild"))
			Expect(projection).To(And(HaveKeyWithValue("status", "live"), HaveKeyWithValue("head", float64(s.head(admin))), HaveKeyWithValue("error", BeNil())))
		}
		retried := s.ask(http.MethodPost, projectionsPath+"/audit_index/retry", admin, nil)
		Expect(retried.status).To(Equal(http.StatusAccepted))
		Expect(retried.data()).To(HaveKeyWithValue("name", "audit_index"))
		Expect(s.ask(http.MethodPost, projectionsPath+"/nothing/retry", admin, nil).status).To(Equal(http.StatusNotFound))

		for _, filter := range []string{"", "?status=failed", "?status=queued&limit=1"} {
			s.get(jobsPath+filter, admin)
		}
		Expect(s.ask(http.MethodGet, jobsPath+"?status=lost", admin, nil).status).To(Equal(http.StatusBadRequest))
		for _, deed := range []string{"retry", "discard"} {
			Expect(s.ask(http.MethodPost, jobsPath+"/"+uuid.NewString()+"/"+deed, admin, nil).status).To(Equal(http.StatusNotFound))
		}
	})

	It("serves what stands outside of /api", func() {
		health := s.ask(http.MethodGet, "/health", "", nil)
		Expect(health.status).To(Equal(http.StatusOK))
		var report map[string]any
		Expect(json.Unmarshal([]byte(health.body), &report)).To(Succeed())
		Expect(report).To(HaveKeyWithValue("status", "ok"))
		for name, component := range report["components"].(map[string]any) {
			Expect(component).To(HaveKeyWithValue("status", "ok"), name)
		}
		Expect(report["components"]).To(And(HaveKey("database"), HaveKey("redis"), HaveKey("secrets"), HaveKey("oidc"), HaveKey("projections")))
		Expect(s.ask(http.MethodGet, "/health/live", "", nil).body).To(MatchJSON(`{"status":"ok"}`))

		metrics := s.must(http.MethodGet, "/metrics", "", nil)
		Expect(metrics.header.Get("Content-Type")).To(HavePrefix("text/plain"))
		Expect(metrics.body).To(And(ContainSubstring("archon_http_request_duration_seconds_bucket"), ContainSubstring("go_goroutines"), ContainSubstring("archon_projection")))
		Expect(metrics.body).NotTo(ContainSubstring(canary))

		document := s.must(http.MethodGet, "/openapi.yaml", "", nil)
		Expect(document.header.Get("Content-Type")).To(ContainSubstring("yaml"))
		Expect(document.body).To(HavePrefix("openapi: 3.0.3"))
		page := s.must(http.MethodGet, "/docs", "", nil)
		Expect(page.header.Get("Content-Type")).To(HavePrefix("text/html"))
		Expect(page.body).To(ContainSubstring("/openapi.yaml"))
		for _, asset := range assets(page.body) {
			Expect(s.must(http.MethodGet, asset, "", nil).status).To(Equal(http.StatusOK), asset)
		}
		for _, elsewhere := range []string{"https://", "http://", "//cdn"} {
			Expect(strings.Join(assets(page.body), " ")).NotTo(ContainSubstring(elsewhere), "the page loads nothing from elsewhere")
		}
	})
}

// assets lists what an HTML page loads.
func assets(page string) []string {
	var found []string
	for _, attribute := range []string{`src="`, `href="`} {
		for _, part := range strings.Split(page, attribute)[1:] {
			address, _, _ := strings.Cut(part, `"`)
			found = append(found, address)
		}
	}
	return found
}
