package cli_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// eventsContract is the contract of raw events, streams and sockets.
func eventsContract(shared func() *surface) {
	var s *surface

	BeforeEach(func() {
		s = shared()
	})

	scene := func() (tenant, admin, id string) {
		GinkgoHelper()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		tenant = "t-" + uuid.NewString()[:8]
		admin = s.token(tenant, "ada", "admin")
		id, _ = s.register(admin, openAI("First", upstream.URL, canary))
		return tenant, admin, id
	}

	It("lists events as the export has them, by filters and pages", func() {
		tenant, admin, id := scene()
		s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "Renamed"})
		all := s.get(eventsPath, s.token(tenant, "otto", "auditor"))
		exported, stderr, code := s.run("events", "tail", "--tenant", tenant, "--after", "0", "--follow=false")
		Expect(code).To(Equal(0), stderr)
		for line := range strings.Lines(exported) {
			Expect(all.body).To(ContainSubstring(strings.TrimSuffix(line, "\n")))
		}
		Expect(namesOf(all.list(), "position")).To(Equal([]any{1.0, 2.0, 3.0, 4.0, 5.0, 6.0}))
		Expect(all.body).NotTo(Or(ContainSubstring(canary), ContainSubstring("127.0.0.1\\\"")), "neither secrets nor addresses")
		for filter, positions := range map[string][]any{
			"stream=provider-" + id: {1.0, 4.0}, "stream=provider-*": {1.0, 4.0}, "type=provider.*": {1.0, 4.0}, "after=5": {6.0}, "after=6": {},
			"stream=providername-*&type=*.v1,providername.claimed.v1": nil, "type=providername.claimed.v1,providerhealth.*": {2.0, 3.0, 5.0},
		} {
			if positions == nil {
				Expect(s.ask(http.MethodGet, eventsPath+"?"+filter, admin, nil).code()).To(Equal("invalid_parameter"), filter)
				continue
			}
			Expect(namesOf(s.get(eventsPath+"?"+filter, admin).list(), "position")).To(Equal(positions), filter)
		}
		paged := s.pageThrough(eventsPath+"?limit=2", admin, func(int) {})
		Expect(namesOf(paged, "position")).To(Equal([]any{1.0, 2.0, 3.0, 4.0, 5.0, 6.0}))
		for _, bad := range []string{"after=-1", "after=x", "stream=", "stream=a&stream=b", "streams=a", "type=%00"} {
			Expect(s.ask(http.MethodGet, eventsPath+"?"+bad, admin, nil).code()).To(Equal("invalid_parameter"), bad)
		}
		for _, role := range []string{"viewer", "operator"} {
			for _, path := range []string{eventsPath, streamsPath + "/provider-" + id, streamsPath + "/provider-" + id + "/state", streamsPath + "/provider-" + id + "/diff"} {
				Expect(s.ask(http.MethodGet, path, s.token(tenant, "vera", role), nil).status).To(Equal(http.StatusForbidden), path)
			}
		}
	})

	It("tells the story of a resource, what it looked like at a time, and what changed", func() {
		_, admin, id := scene()
		stream := streamsPath + "/provider-" + id
		registered := s.get(stream+"/state", admin).data()
		s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"name": "Renamed", "rate_limit_rpm": 5})
		s.ask(http.MethodDelete, providersPath+"/"+id, admin, nil)
		Expect(namesOf(s.pageThrough(stream+"?limit=1", admin, func(int) {}), "type")[:3]).To(Equal([]any{"provider.registered.v1", "provider.updated.v1", "provider.deleted.v1"}))
		now := s.get(stream+"/state", admin).data()
		Expect(now["state"]).To(And(HaveKeyWithValue("name", "Renamed"), HaveKeyWithValue("is_deleted", true)))
		then := s.get(stream+"/state?as_of="+url.QueryEscape(registered["occurred_at"].(string)), admin).data()
		Expect(then).To(Equal(registered))
		Expect(s.ask(http.MethodGet, stream+"/state?as_of=2001-01-01T00:00:00Z", admin, nil).status).To(Equal(http.StatusNotFound))
		changes := s.get(stream+"/diff?from=1&to=2", admin).data()["changes"]
		Expect(changes).To(Equal([]any{
			map[string]any{"path": "name", "before": "First", "after": "Renamed"}, map[string]any{"path": "rate_limit_rpm", "before": nil, "after": 5.0},
		}))
		for _, bad := range []string{"from=2&to=1", "to=99", "from=-1", "to=0", "as_of=2001-01-01T00:00:00Z"} {
			Expect(s.ask(http.MethodGet, stream+"/diff?"+bad, admin, nil).code()).To(Equal("invalid_parameter"), bad)
		}
	})

	It("exports the filtered audit list", func() {
		tenant, admin, _ := scene()
		for accept, path := range map[string]string{"text/csv": auditPath, "*/*": auditPath + "?format=csv"} {
			r := s.must(http.MethodGet, path, admin, nil, header{"Accept": accept})
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			Expect(r.header.Get("Content-Type")).To(Equal("text/csv; charset=utf-8"))
			Expect(r.header.Get("Content-Disposition")).To(Equal("attachment; filename=audit-" + tenant + ".csv"))
			Expect(strings.Count(r.body, "\r\n")).To(Equal(3), "a header and two entries")
		}
		r := s.must(http.MethodGet, auditPath+"?format=ndjson&telemetry=true&resource_type=providerhealth", admin, nil)
		Expect(r.header.Get("Content-Type")).To(HavePrefix("application/x-ndjson"))
		Expect(strings.Count(r.body, "\n")).To(Equal(1))
		Expect(s.ask(http.MethodGet, auditPath+"?format=csv&limit=5", admin, nil).code()).To(Equal("invalid_parameter"))
		Expect(s.ask(http.MethodGet, auditPath+"?format=xml", admin, nil).code()).To(Equal("invalid_parameter"))
		Expect(s.ask(http.MethodGet, auditPath, admin, nil, header{"Accept": "text/html"}).status).To(Equal(http.StatusNotAcceptable))
	})

	It("refuses sockets in the error format", func(ctx context.Context) {
		tenant, admin, _ := scene()
		for name, c := range map[string]struct {
			query, token string
			status       int
		}{
			"no token": {"", "", 401}, "garbage": {"", "garbage", 401}, "a token in the URL": {"token=" + admin, "", 400}, "an unknown ticket": {"ticket=x", "", 401},
			"both": {"ticket=x", admin, 400}, "a filter": {"types=,", admin, 400}, "a position": {"after=99", admin, 400},
		} {
			_, response, err := s.opens(ctx, c.query, c.token)
			Expect(err).To(HaveOccurred(), name)
			Expect(response.StatusCode).To(Equal(c.status), name)
			Expect(response.Header.Get("X-Correlation-ID")).To(MatchRegexp(uuidPattern), name)
		}
		plain := s.must(http.MethodGet, "/ws/events", admin, nil)
		Expect(plain.status).To(Equal(http.StatusUpgradeRequired))
		Expect(plain.code()).To(Equal("upgrade_required"))
		Expect(s.running.output.String()).NotTo(ContainSubstring(admin))
		metrics := s.must(http.MethodGet, "/metrics", "", nil).body
		Expect(metrics).To(MatchRegexp(`archon_sockets_refused_total\{status="401"\} [1-9]`))
		Expect(tenant).NotTo(BeEmpty())
	})
}
