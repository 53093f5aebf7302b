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

// recordCalls records calls as a node does, each with an id of its own.
func recordCalls(place *installation, tenant string, recorded ...calls.Recorded) {
	GinkgoHelper()
	asNode(place, func(ctx context.Context, handler *commands.Handler) error {
		for _, call := range recorded {
			call.CallID, call.Outcome = uuid.NewString(), calls.Succeeded
			if _, err := (&commands.Usage{Handler: handler}).Record(ctx, commands.SystemCaller(tenant, "gateway"), call); err != nil {
				return err //nolint:wrapcheck // a test
			}
		}
		return nil
	})
}

// reprice asks for calls to be priced again and waits until they are.
func (s *surface) reprice(token string, body object) map[string]any {
	GinkgoHelper()
	r := s.ask(http.MethodPost, repricePath, token, body)
	Expect(r.status).To(Equal(http.StatusAccepted), r.body)
	at := r.header.Get("Location")
	Expect(at).To(HavePrefix(repricingsPath + "/"))
	var done map[string]any
	Eventually(func() any {
		done = s.get(at, token).data()
		return done["status"]
	}).WithTimeout(bound).Should(Equal("completed"))
	return done
}

// repricingContract is the contract of pricing calls again.
func repricingContract(shared func() *surface) {
	var s *surface
	var c *customer
	var viewer string

	BeforeEach(func() {
		s = shared()
		c = s.customer()
		viewer = s.token(c.name, "vic", "viewer")
	})
	july := func(day int, model, cost string) calls.Recorded {
		return calls.Recorded{
			StartedAt: time.Date(2026, 7, day, 12, 0, 0, 0, time.UTC), ProviderType: "custom", Model: model, CostUSD: cost, Unpriced: cost == "",
			Tokens: domain.Tokens{Input: 1_000_000}, DepartmentID: "research",
		}
	}
	seen := func() header { return header{"X-Min-Position": strconv.FormatInt(s.head(c.admin), 10)} }
	dashboard := func(query string) map[string]any {
		GinkgoHelper()
		return s.get(dashboardPath+"?period=2026-07"+query, viewer, seen()).data()
	}

	It("shows what July cost as it was known, as corrected, and the difference apart", func() {
		recordCalls(s.installation, c.name, july(1, "house", "2.0000000000"), july(14, "house", "2.0000000000"), july(31, "novel", ""))
		s.ask(http.MethodPut, pricingPath, c.admin, priced(map[string]any{"model": "house", "input_usd_per_1m": 2, "effective_from": "2026-07-01T00:00:00Z"}))
		known := dashboard("")
		Expect(known).To(And(HaveKeyWithValue("total_spend", 4.0), HaveKeyWithValue("spend_as_closed", 4.0), HaveKeyWithValue("adjustments", Equal(object{"spend": 0.0, "count": 0.0, "booked": []any{}}))))
		firstOfAugust := time.Now().UTC().Format(time.RFC3339Nano)

		By("correcting a price from the tenth on, and setting one that was missing")
		s.ask(http.MethodPut, pricingPath, c.admin, priced(map[string]any{"model": "house", "input_usd_per_1m": 1.5, "effective_from": "2026-07-10T00:00:00Z"}))
		s.ask(http.MethodPut, pricingPath, c.admin, priced(map[string]any{"model": "novel", "input_usd_per_1m": 0.25, "effective_from": "2026-07-01T00:00:00Z"}))
		would := s.reprice(c.admin, object{"from": "2026-07-01", "to": "2026-07-31", "dry_run": true})
		Expect(would).To(And(HaveKeyWithValue("dry_run", true), HaveKeyWithValue("examined", 3.0), HaveKeyWithValue("repriced", 2.0), HaveKeyWithValue("newly_priced", 1.0),
			HaveKeyWithValue("unpriced", 0.0), HaveKeyWithValue("difference_usd", -0.25)))
		Expect(dashboard("")).To(Equal(known), "a dry run books nothing")
		Expect(s.reprice(c.admin, object{"from": "2026-07-01", "to": "2026-07-31"})).To(And(HaveKeyWithValue("repriced", 2.0), HaveKeyWithValue("difference_usd", -0.25),
			HaveKeyWithValue("from", "2026-07-01T00:00:00Z"), HaveKeyWithValue("to", "2026-08-01T00:00:00Z"), HaveKeyWithValue("completed_at", beTime())))

		corrected, today := dashboard(""), time.Now().UTC().Format(time.DateOnly)
		Expect(corrected).To(And(HaveKeyWithValue("total_spend", 3.75), HaveKeyWithValue("spend_as_closed", 4.0),
			HaveKeyWithValue("adjustments", Equal(object{"spend": -0.25, "count": 2.0, "booked": []any{object{"date": today, "spend": -0.25, "count": 2.0}}})),
			HaveKeyWithValue("by_department", ConsistOf(HaveKeyWithValue("spend", 3.75)))))
		Expect(dashboard("&as_of=" + firstOfAugust)).To(Equal(known))
		Expect(dashboard("&as_of=" + time.Now().UTC().Format(time.RFC3339Nano))).To(Equal(corrected))

		download := s.ask(http.MethodGet, exportPath+"?from=2026-07-01&to=2026-07-31", viewer, nil, seen(), header{"Accept": "text/csv"})
		records, err := csv.NewReader(strings.NewReader(download.body)).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect([]string{records[1][11], records[2][11], records[3][11]}).To(Equal([]string{"2.0000000000", "1.5000000000", "0.2500000000"}))
		stdout, stderr, code := s.run("costs", "check", "--tenant", c.name)
		Expect(code).To(Equal(good), stdout+stderr)
		Expect(stdout).To(ContainSubstring(": ok, 3 calls, 3.7500000000 USD, -0.2500000000 USD of it by pricing calls again 2 times, 0 without a price"))

		By("doing it twice")
		head := s.head(c.admin)
		Expect(s.reprice(c.admin, object{"from": "2026-07-01"})).To(And(HaveKeyWithValue("repriced", 0.0), HaveKeyWithValue("difference_usd", 0.0)))
		Expect(s.head(c.admin)).To(Equal(head+2), "asked for, and done")
		Expect(dashboard("")).To(Equal(corrected))
	})

	It("holds budgets to what calls cost now", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello", Usage: domain.Tokens{Input: 1_000_000}}))
		c.registers("OpenAI", "openai", upstream.URL)
		token, _ := c.makesKey(object{"budget_usd": 1})
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusOK)) // 0.15 USD
		price := func(usd float64) {
			today := time.Now().UTC().Format(time.DateOnly) + "T00:00:00Z"
			r := s.ask(http.MethodPut, pricingPath, c.admin, priced(map[string]any{"provider_type": "openai", "model": cheapModel, "input_usd_per_1m": usd, "output_usd_per_1m": 0, "effective_from": today}))
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			Expect(s.reprice(c.admin, object{"from": time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "model": cheapModel})).To(HaveKeyWithValue("repriced", BeNumerically(">", 0)))
		}
		price(2)
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusTooManyRequests), "two dollars are spent of one")
		price(0.1)
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusOK))
	})

	It("holds a department's budget to what calls cost now, and says what was known then", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello", Usage: domain.Tokens{Input: 1_000_000}}))
		c.registers("OpenAI", "openai", upstream.URL)
		token, _ := c.makesKey(object{"department_id": "research"})
		Expect(s.ask(http.MethodPut, budgetsPath+"/research", c.admin, object{"budget_usd": 1, "period": "monthly"}).status).To(Equal(http.StatusOK))
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusOK))
		price := func(usd float64) {
			today := time.Now().UTC().Format(time.DateOnly) + "T00:00:00Z"
			r := s.ask(http.MethodPut, pricingPath, c.admin, priced(map[string]any{"provider_type": "openai", "model": cheapModel, "input_usd_per_1m": usd, "output_usd_per_1m": 0, "effective_from": today}))
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			s.reprice(c.admin, object{"from": time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)})
		}
		price(2)
		Expect(s.get(budgetsPath+"/research", c.admin).data()).To(HaveKeyWithValue("current_spend_usd", 2.0))
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusTooManyRequests))
		asOf := time.Now().UTC().Format(time.RFC3339Nano)
		price(0.1)
		Expect(s.get(budgetsPath+"/research", c.admin).data()).To(HaveKeyWithValue("current_spend_usd", 0.1))
		Expect(s.get(budgetsPath+"/research?as_of="+asOf, c.admin).data()).To(HaveKeyWithValue("current_spend_usd", 2.0))
		Expect(c.mustChat(token, talk("hi")).status).To(Equal(http.StatusOK))
	})

	It("is for administrators, checks what it is asked, and answers a repetition with the same", func() {
		for _, role := range []string{"viewer", "operator", "auditor"} {
			Expect(s.ask(http.MethodPost, repricePath, s.token(c.name, "olga", role), object{"from": "2026-07-01"}).status).To(Equal(http.StatusForbidden), role)
		}
		for field, body := range map[string]object{
			"from": {}, "to": {"from": "2026-07-01", "to": "tomorrow"}, "provider_type": {"from": "2026-07-01", "provider_type": "skynet"}, "model": {"from": "2026-07-01", "model": ""},
			"dry_run": {"from": "2026-07-01", "dry_run": "yes"}, "period": {"from": "2026-07-01", "period": "2026-07"},
		} {
			r := s.ask(http.MethodPost, repricePath, c.admin, body)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
			Expect(r.body).To(ContainSubstring(field))
		}
		for _, body := range []object{{"from": "yesterday"}, {"from": "2026-07-02", "to": "2026-07-01"}, {"from": "2026-02-30"}} {
			Expect(s.ask(http.MethodPost, repricePath, c.admin, body).status).To(Equal(http.StatusUnprocessableEntity))
		}
		key := header{"Idempotency-Key": uuid.NewString()}
		first := s.ask(http.MethodPost, repricePath, c.admin, object{"from": "2026-07-01"}, key)
		Expect(s.ask(http.MethodPost, repricePath, c.admin, object{"from": "2026-07-01"}, key).data()).To(Equal(first.data()))
		Expect(s.ask(http.MethodGet, repricingsPath+"/x", viewer, nil).status).To(Equal(http.StatusNotFound))
	})
}
