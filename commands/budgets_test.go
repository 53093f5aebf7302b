package commands_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("Commands on budgets", Label("postgres"), func() {
	var f *fixture
	var use *commands.Budgets
	BeforeEach(func() {
		f = newFixture()
		use = &commands.Budgets{
			Handler: f.keys.Handler, Reads: f.keys.Reads,
			Show: func(context.Context, string, budgets.Subject) (func(budgets.State, int64) api.Budget, error) {
				return func(state budgets.State, version int64) api.Budget {
					return api.Budget{SubjectID: state.ID, BudgetUsd: state.Budget.Number(), Version: version}
				}, nil
			},
		}
	})
	put := func(ctx context.Context, level, id string, change func(*api.PutBudget)) (httpx.Answer, error) {
		body := &api.PutBudget{BudgetUsd: "100.000001", Period: api.BudgetPeriodMonthly}
		if change != nil {
			change(body)
		}
		done, err := use.PutBudget(ctx, api.PutBudgetRequestObject{Level: level, ID: id, Body: body})
		answer, _ := done.(httpx.Answer)
		return answer, err //nolint:wrapcheck // a test
	}
	last := func() (set budgets.Set) {
		GinkgoHelper()
		log := f.log()
		Expect(json.Unmarshal(log[len(log)-1].Data, &set)).To(Succeed())
		return set
	}

	It("set them to the micro-dollar, with thresholds that may be left out or null", func() {
		answer, err := put(as(), "department", "research", nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusOK))
		Expect(string(answer.Body)).To(ContainSubstring(`"budget_usd":100.000001`))
		full := budgets.DefaultBlock
		want := budgets.Config{Budget: 100*domain.USD + budgets.MicroUSD, Period: budgets.Monthly, Warn: budgets.DefaultWarn, Block: &full}
		Expect(last().Config).To(Equal(want))
		_, err = use.PutDepartmentBudget(as(), api.PutDepartmentBudgetRequestObject{DepartmentID: "research", Body: &api.PutBudget{
			BudgetUsd: "1e2", Period: api.BudgetPeriodQuarterly, Department: new("Research"), WarnThresholdPct: new(json.Number("75.5")),
			BlockThresholdPct: api.Change[json.Number]{Sent: true},
		}})
		Expect(err).NotTo(HaveOccurred())
		Expect(last().Config).To(Equal(budgets.Config{Department: "Research", Budget: 100 * domain.USD, Period: budgets.Quarterly, Warn: 7550}))
		Expect(f.types()).To(Equal([]string{"budget.set.v1", "budget.set.v1"}))
		_, err = use.DeleteDepartmentBudget(as(ifMatch(1)), api.DeleteDepartmentBudgetRequestObject{DepartmentID: "research"})
		Expect(err).To(MatchError(commands.ErrStale))
		_, err = use.DeleteDepartmentBudget(as(ifMatch(2)), api.DeleteDepartmentBudgetRequestObject{DepartmentID: "research"})
		Expect(err).NotTo(HaveOccurred())
		_, err = use.DeleteBudget(as(), api.DeleteBudgetRequestObject{Level: "department", ID: "research"})
		Expect(err).To(MatchError(budgets.ErrNotFound))
	})

	It("are about keys and tenants that there are", func() {
		made, err := f.keys.CreateKey(as(), api.CreateKeyRequestObject{Body: &api.CreateKey{Name: "CI"}})
		Expect(err).NotTo(HaveOccurred())
		var key api.KeyEnvelope
		Expect(json.Unmarshal(made.(httpx.Answer).Body, &key)).To(Succeed())
		_, err = put(as(), "key", key.Data.ID, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(last().ID).To(Equal(key.Data.ID))
		_, err = put(as(), "tenant", tenant, nil)
		Expect(err).NotTo(HaveOccurred())
		for level, id := range map[string]string{"key": uuid.NewString(), "tenant": "rival", "weather": "x"} {
			_, err = put(as(), level, id, nil)
			Expect(err).To(MatchError(budgets.ErrNotFound), level)
		}
		foreign := as(func(r *httpx.Request) { r.Principal.Tenant = "rival" })
		_, err = put(foreign, "key", key.Data.ID, nil)
		Expect(err).To(MatchError(budgets.ErrNotFound))
	})

	It("say everything that does not fit", func() {
		_, err := put(as(), "department", "research", func(b *api.PutBudget) {
			b.BudgetUsd, b.WarnThresholdPct = "0.0000001", new(json.Number("0.001"))
			b.BlockThresholdPct = api.Change[json.Number]{Sent: true, Value: new(json.Number("x"))}
		})
		Expect(refusal(err).Details).To(And(HaveKey("budget_usd"), HaveKey("warn_threshold_pct"), HaveKey("block_threshold_pct")))
		Expect(f.log()).To(BeEmpty())
	})
})

var _ = Describe("The watch over budgets", Label("postgres"), func() {
	var f *fixture
	var now time.Time
	var standings []commands.BudgetStanding
	var raise *commands.Alerts
	BeforeEach(func() {
		f = newFixture()
		now = time.Date(2026, 11, 25, 15, 0, 0, 0, time.UTC)
		raise = &commands.Alerts{Handler: f.keys.Handler}
		full := budgets.DefaultBlock
		standings = []commands.BudgetStanding{{
			State: budgets.State{
				Exists: true, Subject: budgets.Subject{Level: budgets.Department, ID: "research"},
				Config: budgets.Config{Budget: 100 * domain.USD, Period: budgets.Monthly, Warn: budgets.DefaultWarn, Block: &full},
			},
			Window: budgets.Monthly.Window(now, nil),
		}}
	})
	// open are the alerts that are open, according to the log.
	open := func() (list []commands.BudgetAlert) {
		GinkgoHelper()
		for _, event := range f.log() {
			switch event.Type {
			case "alert.raised.v1":
				var raised struct {
					Kind    alerts.Kind     `json:"kind"`
					Subject string          `json:"subject"`
					Details json.RawMessage `json:"details"`
				}
				Expect(json.Unmarshal(event.Data, &raised)).To(Succeed())
				list = append(list, commands.BudgetAlert(raised))
			case "alert.resolved.v1":
				var resolved alerts.Resolved
				Expect(json.Unmarshal(event.Data, &resolved)).To(Succeed())
				list = slices.DeleteFunc(list, func(a commands.BudgetAlert) bool { return a.Kind == resolved.Kind && a.Subject == resolved.Subject })
			}
		}
		return list
	}
	review := func() {
		GinkgoHelper()
		watch := &commands.BudgetWatch{
			Alerts: raise, Now: func() time.Time { return now },
			Open:      func(context.Context, string) ([]commands.BudgetAlert, error) { return open(), nil },
			Standings: func(context.Context, string) ([]commands.BudgetStanding, error) { return standings, nil },
		}
		Expect(watch.Review(context.Background(), commands.SystemCaller(tenant, "budgets"))).To(Succeed())
	}
	kinds := func() (names []alerts.Kind) {
		GinkgoHelper()
		for _, alert := range open() {
			names = append(names, alert.Kind)
		}
		return names
	}
	resolution := func() string {
		GinkgoHelper()
		var resolved alerts.Resolved
		log := f.log()
		Expect(json.Unmarshal(log[len(log)-1].Data, &resolved)).To(Succeed())
		return resolved.Resolution
	}

	It("raises what calls have missed, once a period, however many look", func() {
		review()
		Expect(f.log()).To(BeEmpty())
		standings[0].Spent = 80 * domain.USD
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				defer GinkgoRecover()
				nodes := &commands.Alerts{Handler: f.keys.Handler} // a node that knows of nothing
				Eventually(func() error {
					return nodes.Raise(context.Background(), tenant, alerts.Budget{
						Level: "department", SubjectID: "research", Period: "monthly", Start: standings[0].Window.Start, End: standings[0].Window.End, Warns: 80 * domain.USD,
					}.Warning())
				}).Should(Succeed())
				review()
			})
		}
		wg.Wait()
		Expect(kinds()).To(Equal([]alerts.Kind{alerts.BudgetWarning}))
		Expect(f.log()).To(HaveLen(1))
		standings[0].Spent = 100 * domain.USD
		review()
		Expect(kinds()).To(Equal([]alerts.Kind{alerts.BudgetWarning, alerts.BudgetExhausted}))
		review()
		Expect(f.log()).To(HaveLen(2))
	})

	It("resolves them when the budget is raised, and not because money comes back", func() {
		standings[0].Spent = 100 * domain.USD
		review()
		standings[0].Spent = 10 * domain.USD
		review()
		Expect(kinds()).To(HaveLen(2), "calls priced anew would make it come and go")
		standings[0].Spent, standings[0].Budget = 100*domain.USD, 120*domain.USD
		review()
		Expect(kinds()).To(Equal([]alerts.Kind{alerts.BudgetWarning}), "80 % of it are spent all the same")
		Expect(resolution()).To(Equal("The budget was raised."))
		standings[0].Budget = 200 * domain.USD
		review()
		Expect(open()).To(BeEmpty())

		By("raising it anew where that budget is used up too")
		raise = &commands.Alerts{Handler: f.keys.Handler}
		standings[0].Spent = 200 * domain.USD
		review()
		Expect(kinds()).To(ConsistOf(alerts.BudgetWarning, alerts.BudgetExhausted))
		standings[0].Block = nil
		review()
		Expect(kinds()).To(Equal([]alerts.Kind{alerts.BudgetWarning}))
		Expect(resolution()).To(Equal("The budget only warns now."))
	})

	It("resolves them when the period is over, or the budget gone", func() {
		standings[0].Spent = 85 * domain.USD
		review()
		now = now.AddDate(0, 0, 7)
		standings[0].Window, standings[0].Spent = budgets.Monthly.Window(now, nil), 0
		review()
		Expect(open()).To(BeEmpty())
		Expect(resolution()).To(Equal("The period is over."))
		standings[0].Spent = 85 * domain.USD
		review()
		Expect(kinds()).To(HaveLen(1), "a period later")
		standings = nil
		review()
		Expect(open()).To(BeEmpty())
		Expect(resolution()).To(ContainSubstring("removed"))
	})
})
