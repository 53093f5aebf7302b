package cli_test

import (
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// recordCall records a call that cost a cent just now, as a node does.
func recordCall(place *installation, tenant string, call calls.Recorded) {
	GinkgoHelper()
	call.CallID, call.StartedAt, call.Outcome, call.CostUSD = uuid.NewString(), time.Now().UTC(), calls.Succeeded, "0.0100000000"
	asNode(place, func(ctx context.Context, handler *commands.Handler) error {
		_, err := (&commands.Usage{Handler: handler}).Record(ctx, commands.SystemCaller(tenant, "gateway"), call)
		return err //nolint:wrapcheck // a test
	})
}

// costsContract is the contract of what calls have cost.
func costsContract(shared func() *surface) {
	var s *surface
	var c *customer

	BeforeEach(func() {
		s = shared()
		c = s.customer()
	})

	It("shows what calls have cost as soon as they are recorded, by everything, and downloads them", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello", Usage: domain.Tokens{Input: 1_000_000, CacheRead: 100, Output: 10, Reasoning: 5}}))
		provider := c.registers("=OpenAI", "openai", upstream.URL)
		c.hasDepartment("research", "Research & more")
		token, _ := c.makesKey(object{"department_id": "research"})
		viewer := s.token(c.name, "vic", "viewer")
		Expect(s.get(dashboardPath, viewer).data()).To(And(HaveKeyWithValue("total_spend", 0.0), HaveKeyWithValue("by_provider", []any{})))
		var position string
		for range 2 {
			called := c.mustChat(token, talk("hi"))
			Expect(called.status).To(Equal(http.StatusOK), called.body)
			position = called.header.Get("X-Event-Position")
		}
		seen, today := header{"X-Min-Position": position}, time.Now().UTC().Format(time.DateOnly)

		// gpt-4o-mini: 0.15 USD per million in, 0.075 cached, 0.6 out.
		const spend = 2 * (0.15 + 0.0000075 + 0.000009)
		shown := s.ask(http.MethodGet, dashboardPath, viewer, nil, seen).data()
		Expect(shown).To(And(
			HaveKeyWithValue("total_spend", BeNumerically("~", spend, 1e-9)), HaveKeyWithValue("period", today[:7]), HaveKeyWithValue("anomalies", []any{}),
			HaveKeyWithValue("by_provider", ConsistOf(Equal(object{"provider": "=OpenAI", "spend": 0.300033}))),
			HaveKeyWithValue("by_model", ConsistOf(Equal(object{"model": cheapModel, "spend": 0.300033, "tokens": 2_000_230.0}))),
			HaveKeyWithValue("by_department", ConsistOf(Equal(object{"department": "Research & more", "budget": nil, "spend": 0.300033, "pct": nil}))),
			HaveKeyWithValue("by_agent", ConsistOf(Equal(object{"agent": "unattributed", "spend": 0.300033, "executions": 0.0}))),
			HaveKeyWithValue("forecast", Equal(object{"end_of_month": nil, "confidence": nil}))))
		trend, _ := shown["trend"].([]any)
		Expect(trend[len(trend)-1]).To(Equal(object{"date": today, "spend": 0.300033}))

		share := s.ask(http.MethodGet, breakdownPath+"/provider?from="+today+"&to="+today, viewer, nil, seen).list()
		Expect(share).To(ConsistOf(Equal(object{"key": provider, "name": "=OpenAI", "spend": 0.300033, "prompt_tokens": 2_000_200.0, "completion_tokens": 30.0, "requests": 2.0})))
		for _, dimension := range []string{"model", "department", "agent", "user"} {
			Expect(s.get(breakdownPath+"/"+dimension, viewer).list()).To(HaveLen(1), dimension)
		}
		Expect(s.get(breakdownPath+"/provider?to=2025-01-31", viewer).list()).To(BeEmpty())
		Expect(s.get(forecastPath, viewer).data()).To(Equal(object{"end_of_month": nil, "confidence": nil, "method": "insufficient_data", "daily": []any{}}))

		download := s.ask(http.MethodGet, exportPath, viewer, nil, seen, header{"Accept": "text/csv"})
		Expect(download.status).To(Equal(http.StatusOK), download.body)
		Expect(download.header.Get("Content-Disposition")).To(MatchRegexp(`^attachment; filename="archon-costs-[0-9-]+\.csv"$`))
		records, err := csv.NewReader(strings.NewReader(download.body)).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect(records).To(HaveLen(3))
		Expect(records[2][3:]).To(Equal([]string{"'=OpenAI", cheapModel, "Research & more", "", "1000100", "15", "100", "1000115", "0.1500165000", "USD"}))
		Expect(s.must(http.MethodHead, exportPath, viewer, nil).status).To(Equal(http.StatusOK))

		By("travelling in time")
		before := "?as_of=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
		Expect(s.get(dashboardPath+before, viewer).data()).To(HaveKeyWithValue("total_spend", 0.0))
		after := "?as_of=2999-01-01T00:00:00Z"
		Expect(s.get(dashboardPath+after, viewer).data()).To(Equal(s.get(dashboardPath, viewer).data()))
	})

	It("is checked against the log by a command, which names what differs", func() {
		for range 3 {
			recordCall(s.installation, c.name, calls.Recorded{Model: cheapModel})
		}
		s.ask(http.MethodGet, dashboardPath, c.admin, nil, header{"X-Min-Position": strconv.FormatInt(s.head(c.admin), 10)})
		stdout, stderr, code := s.run("costs", "check")
		Expect(code).To(Equal(good), stdout+stderr)
		Expect(stdout).To(MatchRegexp(`(?m)^%s: ok, 3 calls, 0\.0300000000 USD, 0 without a price, up to position 3 of 3$`, c.name))
		ctx, conn := s.asSuperuser()
		_, err := conn.Exec(ctx, `update cost_daily set spend_usd = spend_usd + 1 where tenant_id = $1 and dimension = 'total'`, c.name)
		Expect(err).NotTo(HaveOccurred())
		stdout, _, code = s.run("costs", "check", "--tenant", c.name)
		Expect(code).To(Equal(failed), stdout)
		Expect(stdout).To(And(ContainSubstring(`total "": spend_usd is 1.0300000000`), ContainSubstring(c.name+": 1 DIFFERENCES")))
		_, err = conn.Exec(ctx, `update cost_daily set spend_usd = spend_usd - 1 where tenant_id = $1 and dimension = 'total'`, c.name)
		Expect(err).NotTo(HaveOccurred())
	})

	It("refuses what is no month, day, dimension or list", func() {
		for _, path := range []string{
			dashboardPath + "?period=2025-13", dashboardPath + "?period=2025", dashboardPath + "?period=february", dashboardPath + "?as_of=yesterday", dashboardPath + "?from=2025-01-01",
			breakdownPath + "/user?from=2025-02-30", breakdownPath + "/user?from=2025-02-02&to=2025-02-01", breakdownPath + "/user?to=1", breakdownPath + "/user?limit=501",
			breakdownPath + "/user?cursor=x", exportPath + "?from=yesterday", exportPath + "?from=2025-02-30", exportPath + "?from=2025-02-02&to=2025-02-01", exportPath + "?period=2025-02",
			forecastPath + "?period=2025-02",
		} {
			Expect(s.ask(http.MethodGet, path, c.admin, nil).status).To(Equal(http.StatusBadRequest), path)
		}
		Expect(s.ask(http.MethodGet, breakdownPath+"/key", c.admin, nil).status).To(Equal(http.StatusNotFound))
	})
}
