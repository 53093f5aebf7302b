package plane_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

// set makes a budget the tenant's, as on another node; a version of 0 removes it.
func (w *world) set(subject budgets.Subject, config budgets.Config, version int64) {
	w.change(func(c *plane.Configuration) {
		changed := map[budgets.Subject]plane.Budget{}
		maps.Copy(changed, c.Budgets)
		delete(changed, subject)
		if version > 0 {
			changed[subject] = plane.Budget{Config: config, Version: version}
		}
		c.Budgets = changed
	})
}

// recordedIn is what a subject has spent in a window by the records of a world.
func (w *world) recordedIn(_ context.Context, tenant string, subject budgets.Subject, window budgets.Window) (budget.Amount, int64, error) {
	var sum domain.Amount
	calls := w.calls()
	for _, call := range calls {
		counts := map[budgets.Level]string{budgets.Tenant: tenant, budgets.Department: call.DepartmentID, budgets.Agent: call.AgentID, budgets.Key: call.KeyID}
		if call.CostUSD != "" && counts[subject.Level] == subject.ID && window.Contains(call.StartedAt) {
			cost, err := domain.ParseAmount(call.CostUSD, domain.AmountPlaces)
			if err != nil {
				return 0, 0, err
			}
			sum += cost
		}
	}
	return budget.FromE10(int64(sum)), int64(len(calls)), nil
}

var _ = Describe("A budget for a period", func() {
	// Of gpt-4o-mini, 1,000 output tokens cost 0.0006 USD; prompts of these specs next to nothing.
	const answerUSD = 600 * budgets.MicroUSD
	research := budgets.Subject{Level: budgets.Department, ID: "research"}
	full := budgets.DefaultBlock
	of := func(answers int64) budgets.Config {
		return budgets.Config{Budget: answerUSD*domain.Amount(answers) + 50*budgets.MicroUSD, Period: budgets.Monthly, Warn: budgets.DefaultWarn, Block: &full}
	}
	var clock atomic.Int64
	var raised chan alerts.Alert
	newBudgetWorld := func() *world {
		GinkgoHelper()
		clock.Store(time.Now().UnixMicro())
		raised = make(chan alerts.Alert, 100)
		var w *world
		into := raised
		w = newWorld(func(c *plane.Config) {
			c.Now = func() time.Time { return time.UnixMicro(clock.Load()) }
			c.PeriodSpend = func(ctx context.Context, tenant string, subject budgets.Subject, window budgets.Window) (budget.Amount, int64, error) {
				return w.recordedIn(ctx, tenant, subject, window)
			}
			c.Raise = func(_ context.Context, _ string, alert alerts.Alert) { into <- alert }
		})
		return w
	}
	long := func(text string) gatewaytest.Behaviour {
		return gatewaytest.Chat(gatewaytest.Reply{Text: text, Usage: domain.Tokens{Input: 1, Output: 1000}})
	}
	// by is a call of the department's.
	by := func(w *world, extra string) plane.ChatCall {
		call := w.call(extra)
		call.Caller.DepartmentID = research.ID
		return call
	}
	settled := func(w *world, calls int) {
		GinkgoHelper()
		Eventually(func() int { return len(w.calls()) }).WithTimeout(bound).Should(Equal(calls))
	}

	It("refuses what does not fit, and says which it is, how it stands and when it begins anew", func(ctx context.Context) {
		w := newBudgetWorld()
		server := w.upstream("a", gateway.OpenAI, long("x"))
		w.set(research, of(2), 1)
		w.set(budgets.Subject{Level: budgets.Tenant, ID: w.tenant}, of(100), 1)
		for range 2 { // the second one once the first has been settled
			Eventually(func() *plane.Result {
				result, _ := w.Chat(ctx, by(w, `,"max_tokens":1000`))
				return result
			}).WithTimeout(bound).ShouldNot(BeNil())
		}
		var problem *plane.Problem
		Eventually(func() json.Number {
			_, problem = w.Chat(ctx, by(w, `,"max_tokens":1000`))
			return problem.Budget.ReservedUSD
		}).WithTimeout(bound).Should(Equal(json.Number("0")))
		window := budgets.Monthly.Window(time.Now(), nil)
		Expect(problem).To(And(HaveField("Status", http.StatusTooManyRequests), HaveField("Code", "budget_exceeded"), HaveField("Lasting", true)))
		Expect(*problem.Budget).To(Equal(plane.BudgetProblem{
			Level: "department", ID: "research", Period: "monthly", SpentUSD: problem.Budget.SpentUSD, ReservedUSD: "0", LimitUSD: "0.00125", ResetsAt: &window.End,
		}))
		Expect(costOf(string(problem.Budget.SpentUSD))).To(BeNumerically("~", 2*answerUSD, 2*budgets.MicroUSD))
		Expect(problem.Message).To(And(ContainSubstring("monthly budget of the department research"), ContainSubstring(window.End.Format(time.RFC3339))))
		Expect(string(problem.Body())).To(ContainSubstring(`"budget":{"level":"department","id":"research","period":"monthly"`))
		Expect(server.Requests()).To(HaveLen(2))
		_, problem = w.Chat(ctx, w.call(`,"max_tokens":1000`))
		Expect(problem).ToNot(HaveOccurred(), "nobody's department")
	})

	It("gives a call that goes on into the next period to the one in which it began", func(ctx context.Context) {
		w := newBudgetWorld()
		last := time.Date(2026, 10, 31, 23, 59, 59, 900000000, time.UTC)
		clock.Store(last.UnixMicro())
		w.upstream("a", gateway.OpenAI, gatewaytest.After(func() { clock.Store(last.Add(5 * time.Second).UnixMicro()) }, long("x")))
		w.set(research, of(1), 1)
		_, problem := w.Chat(ctx, by(w, `,"max_tokens":1000`))
		Expect(problem).ToNot(HaveOccurred())
		settled(w, 1)
		Expect(w.one().StartedAt).To(BeTemporally("==", last))
		key := func(start, end string) string {
			return budget.Key(w.tenant, "department:research:"+start+":"+end)
		}
		october, november := key("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"), key("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
		Eventually(func() string { return redis.Client().HGet(ctx, october, "held").Val() }).WithTimeout(bound).Should(Equal("0"))
		Expect(redis.Client().HGet(ctx, october, "spent").Int64()).To(BeNumerically("~", int64(answerUSD/domain.NanoUSD), 1000))
		Expect(redis.Client().Exists(ctx, november).Val()).To(BeZero())
		Expect(raised).To(Receive(HaveField("Subject", "department/monthly/2026-10-01T00:00:00Z/research")), "it was this call that crossed the threshold")

		By("having all of the next period's budget")
		_, problem = w.Chat(ctx, by(w, `,"max_tokens":1000`))
		Expect(problem).ToNot(HaveOccurred())
		_, problem = w.Chat(ctx, by(w, `,"max_tokens":1000`))
		Expect(problem).To(HaveField("Budget.ResetsAt", HaveValue(Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)))))
	})

	It("counts calls that were under way when it came to be", func(ctx context.Context) {
		w := newBudgetWorld()
		begun, goOn := make(chan struct{}, 1), make(chan struct{})
		w.upstream("a", gateway.OpenAI, gatewaytest.After(func() { begun <- struct{}{}; <-goOn }, long("x")))
		answered := make(chan *plane.Problem)
		go func() {
			_, problem := w.Chat(context.WithoutCancel(ctx), by(w, `,"max_tokens":1000`))
			answered <- problem
		}()
		Eventually(begun).WithTimeout(bound).Should(Receive())
		w.set(research, of(2), 1)
		// Its counter is made by a call that does not fit, before the other one ends.
		var problem *plane.Problem
		Eventually(func() string {
			w.Directory.Changed(w.tenant)
			_, problem = w.Chat(ctx, by(w, `,"max_tokens":4000`))
			return problem.Code
		}).WithTimeout(bound).Should(Equal("budget_exceeded"))
		Expect(problem.Budget.SpentUSD).To(Equal(json.Number("0")))
		close(goOn)
		Eventually(answered).WithTimeout(bound).Should(Receive(BeNil()))
		window := budgets.Monthly.Window(time.Now(), nil)
		counter := budget.Key(w.tenant, "department:research:"+window.Start.Format(time.RFC3339)+":"+window.End.Format(time.RFC3339))
		Eventually(func() (int64, error) { return redis.Client().HGet(ctx, counter, "spent").Int64() }).WithTimeout(bound).Should(BeNumerically(">=", int64(answerUSD/domain.NanoUSD)))
	})

	It("lets everything through that only warns, unbounded and unpriced, and tells somebody", func(ctx context.Context) {
		w := newBudgetWorld()
		server := w.upstream("a", gateway.OpenAI, long("x"), func(p *plane.Provider) {
			p.Config.SupportedModels = append(p.Config.SupportedModels, "novel")
		})
		warns := of(1)
		warns.Block = nil
		w.set(research, warns, 1)
		for range 3 {
			_, problem := w.Chat(ctx, by(w, ""))
			Expect(problem).ToNot(HaveOccurred())
		}
		for _, request := range server.Requests() {
			Expect(string(request.Body)).NotTo(ContainSubstring("max_"), "nothing is bounded")
		}
		Eventually(raised).WithTimeout(bound).Should(Receive(And(HaveField("Kind", alerts.BudgetWarning), HaveField("Details", HaveKeyWithValue("threshold_usd", json.Number("0.00052"))))))
		call := by(w, "")
		call.Chat.Model = "novel"
		_, problem := w.Chat(ctx, call)
		Expect(problem).ToNot(HaveOccurred())
		w.set(research, of(100), 2)
		Eventually(func() *plane.Problem { _, problem := w.Chat(ctx, call); return problem }).WithTimeout(bound).Should(HaveField("Param", "model"))
	})

	It("is asked beside a key's own budget, and the narrowest one answers", func(ctx context.Context) {
		w := newBudgetWorld()
		w.upstream("a", gateway.OpenAI, long("x"))
		nano := 2*int64(answerUSD/domain.NanoUSD) + 50_000
		key, _ := w.key(keys.Config{BudgetNanoUSD: &nano})
		w.set(budgets.Subject{Level: budgets.Key, ID: key.ID}, of(5), 1)
		_, problem := w.Chat(ctx, w.with(key, `,"max_tokens":3000`))
		Expect(*problem.Budget).To(And(HaveField("Level", "key"), HaveField("Period", "total"), HaveField("ResetsAt", BeNil())))
		Expect(problem.RetryAfter).To(BeZero())
		_, problem = w.Chat(ctx, w.with(key, `,"max_tokens":900`))
		Expect(problem).ToNot(HaveOccurred())
		w.set(budgets.Subject{Level: budgets.Key, ID: key.ID}, of(0), 2)
		w.Directory.Changed(w.tenant)
		_, problem = w.Chat(ctx, w.with(key, `,"max_tokens":100`))
		Expect(problem.Budget).To(HaveField("Period", "monthly"))
		Eventually(func() []usage.Recorded {
			w.mu.Lock()
			defer w.mu.Unlock()
			return append([]usage.Recorded{}, w.refused...)
		}).WithTimeout(bound).Should(ContainElement(HaveField("RefusedBy", "key/"+key.ID)))
	})
})
