package cli_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const hexHash = `^[0-9a-f]{64}$`

// auditContract is the contract of the audit trail.
func auditContract(shared func() *surface) {
	var s *surface

	BeforeEach(func() {
		s = shared()
	})

	scene := func() (tenant, admin, id string, upstream *gatewaytest.Server) {
		GinkgoHelper()
		upstream = upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		tenant = "t-" + uuid.NewString()[:8]
		admin = s.token(tenant, "ada", "admin")
		id, _ = s.register(admin, openAI("First", upstream.URL, canary))
		return tenant, admin, id, upstream
	}

	It("shows every event with what the contract names, chained by its hashes", func() {
		tenant, admin, id, _ := scene()
		auditor := s.token(tenant, "otto", "auditor")
		s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "Renamed"})
		s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil)
		s.ask(http.MethodDelete, providersPath+"/"+id, admin, nil)
		all := s.entries(auditor, "telemetry=true")
		for i, entry := range all {
			at := fmt.Sprint(entry)
			Expect(keys(entry)).To(ConsistOf("position", "event_id", "occurred_at", "actor", "action", "resource_type", "resource_id", "outcome", "status_code",
				"ip_address", "user_agent", "correlation_id", "causation_id", "hash", "prev_hash", "data"))
			Expect(entry["position"]).To(Equal(float64(len(all)-i)), "newest first, without gaps: "+at)
			Expect(entry["event_id"]).To(MatchRegexp(uuidPattern))
			Expect(entry["occurred_at"]).To(beTime())
			Expect(entry["hash"]).To(MatchRegexp(hexHash), at)
			Expect(entry["prev_hash"]).To(MatchRegexp(hexHash), at)
			if i+1 < len(all) {
				Expect(entry["prev_hash"]).To(Equal(all[i+1]["hash"]), at)
			}
			Expect(entry["data"]).To(BeAssignableToTypeOf(map[string]any{}))
			Expect(fmt.Sprint(entry)).NotTo(ContainSubstring(canary))
			if entry["actor"] != "ada" { // the secret of a deleted provider goes by a job
				Expect(entry).To(And(HaveKeyWithValue("action", MatchRegexp(`^[a-z_]+\.[a-z_]+\.v\d+$`)), HaveKeyWithValue("status_code", BeNil()), HaveKeyWithValue("ip_address", BeNil()), HaveKeyWithValue("user_agent", BeNil())))
				continue
			}
			Expect(entry).To(And(HaveKeyWithValue("outcome", "succeeded"), HaveKeyWithValue("ip_address", "127.0.0.1"), HaveKeyWithValue("user_agent", HavePrefix("Go-http-client/"))))
			Expect(entry["correlation_id"]).To(MatchRegexp(uuidPattern))
		}
		type deed struct {
			action, resource string
			status           float64
		}
		deeds := map[deed]int{}
		for _, entry := range all {
			if entry["actor"] == "ada" {
				deeds[deed{entry["action"].(string), entry["resource_type"].(string), entry["status_code"].(float64)}]++
			}
		}
		Expect(deeds).To(Equal(map[deed]int{
			{"POST " + providersPath, "provider", 201}: 1, {"POST " + providersPath, "providername", 201}: 1, {"POST " + providersPath, "providerhealth", 201}: 1,
			{"PATCH " + providersPath + "/{id}", "provider", 200}: 1, {"PATCH " + providersPath + "/{id}", "providername", 200}: 2,
			{"POST " + providersPath + "/{id}/test-connection", "providerhealth", 200}: 1,
			{"DELETE " + providersPath + "/{id}", "provider", 204}:                     1, {"DELETE " + providersPath + "/{id}", "providername", 204}: 1,
		}))
		Expect(namesOf(s.entries(auditor, ""), "resource_type")).NotTo(ContainElement("providerhealth"), "telemetry only where it is asked for")
	})

	It("filters", func() {
		tenant, admin, id, upstream := scene()
		grace := s.token(tenant, "grace", "admin")
		second, registered := s.register(grace, openAI("Second", upstream.URL, canary))
		refused := s.ask(http.MethodPatch, providersPath+"/"+id, grace, map[string]any{"name": "Second"})
		Expect(refused.status).To(Equal(http.StatusConflict))
		all := s.entries(admin, "")
		correlation := registered.header.Get("X-Correlation-ID")
		at, err := time.Parse(time.RFC3339Nano, s.entries(admin, "correlation_id="+correlation)[0]["occurred_at"].(string))
		Expect(err).NotTo(HaveOccurred())
		moment := func(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }

		count := func(filter string) int { return len(s.entries(admin, filter)) }
		Expect(all).To(HaveLen(5), "two registrations of two events besides telemetry, one refusal")
		for filter, found := range map[string]int{
			"actor=grace": 3, "actor=ada": 2, "actor=GRACE": 0, "actor=nobody": 0,
			"action=" + url.QueryEscape("POST "+providersPath): 4, "action=" + url.QueryEscape("PATCH "+providersPath+"/{id}"): 1, "action=POST": 0,
			"resource_type=provider": 3, "resource_type=providername": 2, "resource_type=nothing": 0,
			"resource_id=" + id: 2, "resource_id=" + second: 1, "resource_id=" + uuid.NewString(): 0,
			"correlation_id=" + correlation: 2, "correlation_id=" + uuid.NewString(): 0,
			"outcome=succeeded": 4, "outcome=rejected": 1,
			"from=" + moment(at): 3, "to=" + moment(at): 2, "from=" + moment(at) + "&to=" + moment(at): 0, "from=" + moment(at.Add(time.Hour)): 0,
			"q=grace": 3, "q=GRACE": 3, "q=" + second: 2, "q=%25": 0, "q=_": 1, "q=patch+%2Fapi": 1, "q=name_taken": 1,
			"actor=grace&outcome=rejected": 1, "actor=ada&outcome=rejected": 0, "telemetry=true": 7, "telemetry=false": 5,
			"telemetry=true&resource_type=providerhealth": 2,
		} {
			Expect(count(filter)).To(Equal(found), filter)
		}
		for _, bad := range []string{"outcome=maybe", "from=yesterday", "telemetry=yes", "actr=ada", "actor=ada&actor=grace", "q=%00", "q=%ff", "actor=", "position=1"} {
			Expect(s.ask(http.MethodGet, auditPath+"?"+bad, admin, nil).code()).To(Equal("invalid_parameter"), bad)
		}
	})

	It("pages by position while events arrive", func() {
		_, admin, id, _ := scene()
		for i := range 6 {
			s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"rate_limit_rpm": i + 1})
		}
		before := namesOf(s.entries(admin, "telemetry=true"), "position")
		listed := s.pageThrough(auditPath+"?telemetry=true&limit=2", admin, func(page int) {
			s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"rate_limit_rpm": 100 + page})
		})
		Expect(namesOf(listed, "position")).To(Equal(before), "each once, in order, and nothing that came later")
		onlyChanges := s.pageThrough(auditPath+"?limit=1&action="+url.QueryEscape("PATCH "+providersPath+"/{id}")+"&to="+url.QueryEscape(listed[0]["occurred_at"].(string)), admin, func(int) {})
		Expect(onlyChanges).To(HaveLen(5), "a filter goes on through the pages")
	})

	It("holds refused writes of whoever was authenticated, with who, from where and why", func() {
		tenant, admin, id, upstream := scene()
		viewer := s.token(tenant, "vera", "viewer")
		stranger := uuid.NewString()
		s.register(admin, openAI("Second", upstream.URL, canary))
		type refusal struct {
			token, method, path, template string
			body                          any
			header                        header
			status                        int
			code, resource                string
		}
		item := providersPath + "/{id}"
		for _, r := range []refusal{
			{admin, http.MethodPost, providersPath, providersPath, `{"name":"` + canary, nil, 400, "malformed_body", ""},
			{admin, http.MethodPost, providersPath, providersPath, nil, nil, 400, "missing_body", ""},
			{admin, http.MethodPatch, providersPath + "/" + id, item, "{}", header{"If-Match": "nonsense"}, 400, "invalid_header", id},
			{viewer, http.MethodPost, providersPath, providersPath, openAI(canary, upstream.URL, canary), nil, 403, "forbidden", ""},
			{viewer, http.MethodDelete, providersPath + "/" + id, item, nil, nil, 403, "forbidden", id},
			{viewer, http.MethodPost, providersPath + "/" + id + "/test-connection", item + "/test-connection", nil, nil, 403, "forbidden", id},
			{admin, http.MethodDelete, providersPath + "/" + stranger, item, nil, nil, 404, "not_found", stranger},
			{admin, http.MethodPatch, providersPath + "/" + id, item, "{}", header{"Accept": "text/csv"}, 406, "not_acceptable", id},
			{admin, http.MethodPatch, providersPath + "/" + id, item, map[string]any{"name": "Second"}, nil, 409, "name_taken", id},
			{admin, http.MethodPatch, providersPath + "/" + id, item, map[string]any{"name": "Third"}, header{"If-Match": `"99"`}, 412, "precondition_failed", id},
			{admin, http.MethodPost, providersPath, providersPath, strings.Repeat(canary, 1<<16), nil, 413, "body_too_large", ""},
			{admin, http.MethodPost, providersPath, providersPath, canary, header{"Content-Type": "text/plain"}, 415, "unsupported_media_type", ""},
			{admin, http.MethodPost, providersPath, providersPath, map[string]any{"name": canary, "type": canary, canary: canary}, nil, 422, "validation_failed", ""},
			{admin, http.MethodPut, providersPath + "/" + id + "/credentials", item + "/credentials", map[string]any{"credentials": map[string]string{canary: canary}}, nil, 422, "validation_failed", id},
		} {
			at := fmt.Sprint(r.method, " ", r.path, " ", r.status)
			headers := header{"User-Agent": "stranger/1.0 (" + r.code + ")", "X-Correlation-ID": uuid.NewString()}
			answer := s.ask(r.method, r.path, r.token, r.body, headers, r.header)
			Expect(answer.status).To(Equal(r.status), at+answer.body)
			code, _ := answer.failure()
			Expect(code).To(Equal(r.code), at)
			Expect(answer.body).NotTo(ContainSubstring(canary), at)

			entries := s.entries(admin, "outcome=rejected&correlation_id="+headers["X-Correlation-ID"])
			Expect(entries).To(HaveLen(1), at)
			actor := map[string]string{admin: "ada", viewer: "vera"}[r.token]
			Expect(entries[0]).To(And(
				HaveKeyWithValue("actor", actor), HaveKeyWithValue("action", r.method+" "+r.template), HaveKeyWithValue("status_code", float64(r.status)),
				HaveKeyWithValue("ip_address", "127.0.0.1"), HaveKeyWithValue("user_agent", headers["User-Agent"]), HaveKeyWithValue("resource_type", "provider"),
				HaveKeyWithValue("data", And(HaveKeyWithValue("code", r.code), HaveKeyWithValue("message", Not(BeEmpty()))))), at)
			if r.resource == "" {
				Expect(entries[0]["resource_id"]).To(BeNil(), at)
			} else {
				Expect(entries[0]["resource_id"]).To(Equal(r.resource), at)
			}
			Expect(entries[0]["position"]).To(Equal(float64(answer.eventPosition())), at)
			Expect(fmt.Sprint(entries)).NotTo(ContainSubstring(canary), at)
		}
		Expect(dump(s.installation)).NotTo(ContainSubstring(canary))
	})

	It("counts requests without a valid token in the metrics, and logs none into a chain", func() {
		tenant, admin, _, _ := scene()
		head := s.head(admin)
		for _, token := range []string{"", "garbage", admin + "x"} {
			r := s.ask(http.MethodPost, providersPath, token, "{}", header{"X-Tenant-ID": tenant})
			Expect(r.status).To(Equal(http.StatusUnauthorized))
		}
		Expect(s.head(admin)).To(Equal(head))
		metrics := s.must(http.MethodGet, "/metrics", "", nil).body
		Expect(metrics).To(MatchRegexp(`archon_http_unauthenticated_requests_total\{reason="no bearer token was sent"\} [1-9]`))
		Expect(metrics).To(MatchRegexp(`archon_http_unauthenticated_requests_total\{reason="the token is not a signed JWT"\} [1-9]`))
	})

	It("verifies, and narrows what it verifies", func() {
		tenant, admin, id, _ := scene()
		s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "Renamed"})
		whole := s.get(verifyPath, admin).data()
		Expect(keys(whole)).To(ConsistOf("ok", "checked", "head", "first_bad_position", "reason"))
		head := whole["head"].(map[string]any)
		Expect(whole).To(And(HaveKeyWithValue("ok", true), HaveKeyWithValue("checked", 6.0), HaveKeyWithValue("first_bad_position", BeNil()), HaveKeyWithValue("reason", BeNil())))
		newest := s.entries(admin, "telemetry=true&limit=1")[0]
		Expect(head).To(Equal(map[string]any{"position": newest["position"], "hash": newest["hash"]}))
		for filter, checked := range map[string]float64{"from=1": 6, "from=2&to=3": 2, "to=1": 1, "from=6": 1, "from=6&to=6": 1} {
			Expect(s.get(verifyPath+"?"+filter, admin).data()).To(And(HaveKeyWithValue("ok", true), HaveKeyWithValue("checked", checked)), filter)
		}
		for _, bad := range []string{"from=3&to=2", "from=100", "from=0", "from=-1", "to=x", "form=1"} {
			Expect(s.ask(http.MethodGet, verifyPath+"?"+bad, admin, nil).code()).To(Equal("invalid_parameter"), bad)
		}
		empty := s.get(verifyPath, s.token("empty-"+tenant, "ada", "auditor")).data()
		Expect(empty).To(And(HaveKeyWithValue("ok", true), HaveKeyWithValue("checked", 0.0), HaveKeyWithValue("head", And(HaveKeyWithValue("position", 0.0), HaveKeyWithValue("hash", MatchRegexp(hexHash))))))

		By("running one verification of a tenant at a time")
		ctx, conn := s.asSuperuser()
		const key = `('x' || left(encode(sha256(convert_to('archon.verify', 'UTF8') || '\x00' || convert_to($1, 'UTF8')), 'hex'), 16))::bit(64)::bigint`
		Expect(one[bool](ctx, conn, `select pg_try_advisory_lock(`+key+`)`, tenant)).To(BeTrue())
		busy := s.ask(http.MethodGet, verifyPath, admin, nil)
		Expect(busy.status).To(Equal(http.StatusTooManyRequests), busy.body)
		Expect(busy.header.Get("Retry-After")).To(Equal("1"))
		s.get(verifyPath, s.token("another-"+tenant, "ada", "admin"))
		_, stderr, exit := s.run("audit", "verify", "--tenant", tenant)
		Expect(exit).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("try again"))
		Expect(one[bool](ctx, conn, `select pg_advisory_unlock(`+key+`)`, tenant)).To(BeTrue())

		By("naming what was forged, with 200")
		forge(s.installation, `update events set meta = convert_to(replace(convert_from(meta, 'UTF8'), 'ada', 'eve'), 'UTF8') where tenant_id = '`+tenant+`' and position = 4`)
		forged := s.get(verifyPath, admin).data()
		Expect(forged).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("first_bad_position", 4.0), HaveKeyWithValue("reason", Not(BeEmpty()))))
		Expect(s.get(verifyPath+"?to=3", admin).data()).To(HaveKeyWithValue("ok", true))
		s.get(auditPath, admin)
		Expect(s.get(providersPath, admin).list()).To(HaveLen(1), "a forged row of the log does not take the API down")
	})

	It("writes nothing for a GET, not even for a new tenant", func() {
		reader := s.token("never-seen", "ada", "admin")
		for _, path := range []string{
			providersPath, providersPath + "/health", providersPath + "/health/detail", providersPath + "/credential-schemas", auditPath, verifyPath, projectionsPath, jobsPath, mePath, eventsPath,
		} {
			s.get(path, reader)
		}
		ctx, conn := s.asSuperuser()
		for _, table := range rowsOf[string](conn.Query(ctx, `select table_name from information_schema.columns where table_schema = 'public' and column_name = 'tenant_id'`)) {
			Expect(one[int](ctx, conn, `select count(*) from `+table+` where tenant_id = 'never-seen'`)).To(Equal(0), table)
		}
	})
}
