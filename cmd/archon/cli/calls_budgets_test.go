package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Calls that count in budgets", Label("e2e"), Ordered, ContinueOnFailure, func() {
	const output = 20
	var (
		place  *installation
		server *redisServer
		nodes  []*archon
	)
	BeforeAll(func() {
		server = newRedisServer()
		server.start()
		place = install(loopbackAllowed, server.env())
		nodes = []*archon{place.start(), place.beside().start("serve")}
	})

	// customers is a new customer as a client of each node, with a provider each of whose answers costs about 0.000012 USD, and a
	// key of a department's.
	customers := func() (at []*customer, key string) {
		GinkgoHelper()
		c := nodes[0].customer()
		upstream := chatting(gateway.OpenAI, "x")
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "x", Usage: domain.Tokens{Input: 1, Output: output}}))
		c.registers("Only", "openai", upstream.URL)
		key, _ = c.makesKey(object{"department_id": "research"})
		at = []*customer{c, c.at(nodes[1].installation)}
		for _, one := range at {
			Eventually(func() int { return one.must(http.MethodGet, modelsPath, key, nil).status }).WithTimeout(bound).Should(Equal(http.StatusOK))
		}
		return at, key
	}
	talks := func(c *customer, key string) completion {
		GinkgoHelper()
		return c.mustChat(key, talk("hello", object{"max_tokens": output}))
	}
	budgets := func(c *customer, subject string, change object) map[string]any {
		GinkgoHelper()
		r := c.must(http.MethodPut, budgetsPath+subject, c.admin, budgeted(change))
		Expect(r.status).To(Equal(http.StatusOK), r.body)
		return r.data()
	}
	spent := func(c *customer) (sum domain.Amount) {
		GinkgoHelper()
		for _, call := range c.calls() {
			if call.CostUSD != "" {
				cost, err := domain.ParseAmount(call.CostUSD, 10)
				Expect(err).NotTo(HaveOccurred())
				sum += cost
			}
		}
		return sum
	}
	alertsOf := func(c *customer, kind, status string) []map[string]any {
		GinkgoHelper()
		list := c.must(http.MethodGet, alertsPath+"?status="+status, c.admin, nil).list()
		return slices.DeleteFunc(list, func(alert map[string]any) bool { return alert["kind"] != kind })
	}

	It("overspend nothing on any level where two hundred come at once, through two nodes", func() {
		at, key := customers()
		budgets(at[0], "/tenant/"+at[0].name, object{"budget_usd": 1})
		budgets(at[0], "/research", object{"budget_usd": 0})
		for _, c := range at { // both know it
			Eventually(func() string { return talks(c, key).body }).WithTimeout(bound).Should(ContainSubstring(`"id":"research"`))
		}
		// As much as ten calls cost is left.
		const micro = 10_000
		budget := spent(at[0])/micro*micro + 126*micro
		limit := budget / 10 * 9
		budgets(at[0], "/research", object{"budget_usd": budget.Number(), "block_threshold_pct": 90, "warn_threshold_pct": 50, "department": "Research"})
		for _, c := range at {
			Eventually(func() int { return talks(c, key).status }).WithTimeout(bound).Should(Equal(http.StatusOK))
		}
		answers := make([]completion, 200)
		atOnce(len(answers), func(i int) { answers[i] = talks(at[i%2], key) })
		passed := 0
		for _, answer := range answers {
			if answer.status == http.StatusOK {
				passed++
				continue
			}
			Expect(answer.status).To(Equal(http.StatusTooManyRequests), answer.body)
			Expect(answer.code()).To(Equal("budget_exceeded"))
		}
		sum := spent(at[0])
		Expect(passed).To(BeNumerically(">", 0))
		Expect(sum).To(And(BeNumerically(">", 0), BeNumerically("<=", limit)))

		By("spending what was set aside and not needed, and no more")
		Eventually(func() int { return talks(at[0], key).status }).WithTimeout(bound).Should(Equal(http.StatusTooManyRequests))
		var refused completion
		Eventually(func() string { // all is settled
			refused = talks(at[1], key)
			return refused.body
		}).WithTimeout(bound).Should(ContainSubstring(`"reserved_usd":0,`))
		sum = spent(at[0])
		Expect(sum).To(BeNumerically("<=", limit))
		Expect(refused.header.Get("X-Should-Retry")).To(Equal("false"))
		seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		Expect(seconds).To(BeNumerically(">", 0))
		var body struct {
			Error struct {
				Type, Code, Message string
				Budget              object
			}
		}
		Expect(json.Unmarshal([]byte(refused.body), &body)).To(Succeed())
		shown := at[0].must(http.MethodGet, budgetsPath+"/research", at[0].admin, nil).data()
		Expect(body.Error.Type).To(Equal("insufficient_quota"))
		Expect(body.Error.Budget).To(Equal(object{
			"level": "department", "id": "research", "period": "monthly", "limit_usd": numberOf(limit), "reserved_usd": 0.0, "resets_at": shown["period_end"],
			"spent_usd": body.Error.Budget["spent_usd"],
		}))
		Expect(body.Error.Budget["spent_usd"]).To(BeNumerically("~", float64(sum)/1e10, 2e-6))
		routed := at[0].must(http.MethodPost, "/api/v1/router/route", at[0].admin, object{"prompt": "hello", "department_id": "research", "requirements": object{"model": cheapModel}})
		Expect(routed.status).To(Equal(http.StatusTooManyRequests), routed.body)
		_, details := routed.failure()
		Expect(details).To(HaveKeyWithValue("budget", HaveKeyWithValue("id", "research")))
		Eventually(func() map[string]any {
			return at[0].must(http.MethodGet, budgetsPath+"/research", at[0].admin, nil).data()
		}).
			WithTimeout(bound).Should(HaveKeyWithValue("status", "blocked"), "with the alert")
		Eventually(func() []recorded {
			return slices.DeleteFunc(at[0].calls(), func(call recorded) bool { return call.Outcome != calls.Refused })
		}).WithTimeout(bound).ShouldNot(BeEmpty())
		for _, call := range at[0].calls() {
			if call.Outcome == calls.Refused {
				Expect(call.RefusedBy).To(Equal("department/research"))
			}
		}

		By("raising each alert once, on two nodes")
		for _, kind := range []string{"budget_warning", "budget_exhausted"} { // the budget of nothing has had its own
			Eventually(func() []map[string]any { return alertsOf(at[0], kind, "open") }).WithTimeout(bound).Should(HaveLen(1), kind)
			Expect(alertsOf(at[0], kind, "resolved")).NotTo(ContainElement(HaveKeyWithValue("details", HaveKeyWithValue("budget_usd", numberOf(budget)))), kind)
		}
		Expect(alertsOf(at[0], "budget_exhausted", "open")[0]["details"]).To(And(
			HaveKeyWithValue("level", "department"), HaveKeyWithValue("subject_id", "research"), HaveKeyWithValue("threshold_usd", numberOf(limit)),
			HaveKeyWithValue("period_start", shown["period_start"]), HaveKeyWithValue("period_end", shown["period_end"]), HaveKeyWithValue("budget_usd", numberOf(budget))))
		dashboard := at[0].must(http.MethodGet, dashboardPath, at[0].admin, nil).data()
		Expect(dashboard["by_department"]).To(ConsistOf(And(HaveKeyWithValue("department", "Research"), HaveKeyWithValue("budget", numberOf(budget)), HaveKeyWithValue("pct", BeNumerically(">", 50)))))

		By("knowing it all from the ledger once Redis has forgotten it")
		server.kill()
		server.start()
		Eventually(func() int { return talks(at[0], key).status }).WithTimeout(bound).Should(Equal(http.StatusTooManyRequests))
		atOnce(20, func(i int) {
			Expect(talks(at[i%2], key).status).To(BeElementOf(http.StatusTooManyRequests, http.StatusServiceUnavailable))
		})
		Expect(spent(at[0])).To(Equal(sum))

		By("resolving the alerts when the budget is raised, and letting calls through within a second on both nodes")
		budgets(at[0], "/research", object{"budget_usd": 1})
		began := time.Now()
		took := make([]string, len(at))
		atOnce(len(at), func(i int) {
			Eventually(func() int { return talks(at[i], key).status }).WithTimeout(time.Second).WithPolling(5 * time.Millisecond).Should(Equal(http.StatusOK))
			took[i] = time.Since(began).Round(time.Millisecond).String()
		})
		AddReportEntry("a raised budget lets calls through after, by node", fmt.Sprint(took))
		for _, kind := range []string{"budget_warning", "budget_exhausted"} {
			Eventually(func() []map[string]any { return alertsOf(at[0], kind, "open") }).WithTimeout(bound).Should(BeEmpty())
			Expect(alertsOf(at[0], kind, "resolved")).To(HaveEach(HaveKeyWithValue("resolution", "The budget was raised.")))
		}
		Expect(at[0].must(http.MethodGet, budgetsPath+"/research", at[0].admin, nil).data()).To(HaveKeyWithValue("status", "ok"))
	})

	It("are refused within a second on every node once a budget is set that is spent already", func() {
		at, key := customers()
		for _, c := range at {
			Expect(talks(c, key).status).To(Equal(http.StatusOK))
		}
		budgets(at[0], "/research", object{"budget_usd": 0.00001})
		atOnce(len(at), func(i int) {
			Eventually(func() int { return talks(at[i], key).status }).WithTimeout(time.Second).WithPolling(5 * time.Millisecond).Should(Equal(http.StatusTooManyRequests))
		})
		Eventually(func() []map[string]any { return alertsOf(at[0], "budget_exhausted", "open") }).WithTimeout(bound).Should(HaveLen(1))
		Expect(at[0].must(http.MethodDelete, budgetsPath+"/research", at[0].admin, nil).status).To(Equal(http.StatusNoContent))
		atOnce(len(at), func(i int) {
			Eventually(func() int { return talks(at[i], key).status }).WithTimeout(time.Second).WithPolling(5 * time.Millisecond).Should(Equal(http.StatusOK))
		})
		Eventually(func() []map[string]any { return alertsOf(at[0], "budget_exhausted", "open") }).WithTimeout(bound).Should(BeEmpty())
	})

	It("are let through by a budget that only warns, whatever they cost, and it warns once", func() {
		at, key := customers()
		budgets(at[0], "/research", object{"budget_usd": 0.00001, "block_threshold_pct": nil})
		answers := make([]int, 20)
		atOnce(len(answers), func(i int) { answers[i] = talks(at[i%2], key).status })
		Expect(answers).To(HaveEach(http.StatusOK))
		Eventually(func() []map[string]any { return alertsOf(at[0], "budget_warning", "open") }).WithTimeout(bound).Should(HaveLen(1))
		Expect(alertsOf(at[0], "budget_exhausted", "open")).To(BeEmpty())
		Eventually(func() map[string]any {
			return at[1].must(http.MethodGet, budgetsPath+"/research", at[1].admin, nil).data()
		}).WithTimeout(bound).Should(And(HaveKeyWithValue("status", "warn"), HaveKeyWithValue("current_spend_usd", BeNumerically(">", 0.0002))))
	})

	It("are refused without Redis by a budget that blocks, and let through by one that warns; both are in the log", func() {
		at, key := customers()
		budgets(at[0], "/research", object{"budget_usd": 1})
		other, _ := at[0].makesKey(object{"department_id": "sales"})
		budgets(at[0], "/sales", object{"budget_usd": 1, "block_threshold_pct": nil})
		Expect(talks(at[0], key).status).To(Equal(http.StatusOK))
		Expect(talks(at[0], other).status).To(Equal(http.StatusOK))
		server.kill()
		Eventually(func() int { return talks(at[0], key).status }).WithTimeout(bound).Should(Equal(http.StatusServiceUnavailable))
		Expect(talks(at[0], other).status).To(Equal(http.StatusOK))
		Eventually(func() []recorded { return at[0].calls() }).WithTimeout(bound).Should(ContainElements(
			And(HaveField("DepartmentID", "research"), HaveField("Outcome", calls.Refused), HaveField("Status", http.StatusServiceUnavailable)),
			And(HaveField("DepartmentID", "sales"), HaveField("Outcome", calls.Succeeded), HaveField("BudgetUnchecked", true))))
	})
})

// numberOf is an amount as a client reads it.
func numberOf(amount domain.Amount) float64 {
	GinkgoHelper()
	number, err := amount.Number().Float64()
	Expect(err).NotTo(HaveOccurred())
	return number
}
