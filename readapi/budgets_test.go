package readapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/readapi"
)

var _ = Describe("budgets", Label("postgres"), func() {
	var f *fixture
	var zone *time.Location
	var reads *readapi.Budgets
	BeforeEach(func(ctx context.Context) {
		f = newFixture(ctx)
		f.now = time.Date(2026, 11, 25, 15, 0, 0, 0, time.UTC)
		zone = time.UTC
		reads = &readapi.Budgets{
			Database: f.costs.Database, History: f.costs.History, Now: func() time.Time { return f.now },
			TimeZone: func(context.Context, string) (*time.Location, error) { return zone, nil },
		}
	})
	system := domain.Meta{Actor: domain.Actor{ID: "gateway", Type: domain.System}}
	record := func(ctx context.Context, of string, calls ...usage.Recorded) {
		GinkgoHelper()
		for _, call := range calls {
			f.append(ctx, of, usage.Stream(call.CallID), system, call)
		}
		f.project(ctx, of)
	}
	set := func(ctx context.Context, of string, level budgets.Level, id string, change func(*budgets.Config)) {
		GinkgoHelper()
		event := budgets.Set{Subject: budgets.Subject{Level: level, ID: id}, Config: budgets.Config{
			Budget: 100 * domain.USD, Period: budgets.Monthly, Warn: budgets.DefaultWarn, Block: new(budgets.DefaultBlock),
		}}
		if change != nil {
			change(&event.Config)
		}
		f.append(ctx, of, budgets.Stream(event.Subject), did("PUT", "/api/v1/cost/budget/{department_id}", 200), event)
		f.project(ctx, of)
	}
	list := func(ctx context.Context, of string, params api.ListBudgetsParams) []api.Budget {
		GinkgoHelper()
		response, err := reads.ListBudgets(as(ctx, of), api.ListBudgetsRequestObject{Params: params})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.ListBudgets200JSONResponse).Data
	}

	It("are shown with what has been spent in their periods, on every level", func(ctx context.Context) {
		key := uuid.NewString()
		everything := func(r *usage.Recorded) { r.DepartmentID, r.AgentID, r.KeyID = "research", "scout", key }
		record(ctx, tenant,
			spent("2026-09-30T23:59:59.999999Z", 1000*domain.USD, everything),
			spent("2026-10-01T00:00:00Z", 7*domain.USD, everything),
			spent("2026-11-01T00:00:00Z", 50*domain.USD, everything),
			spent("2026-11-25T14:00:00Z", 30*domain.USD, func(r *usage.Recorded) { r.DepartmentID = "research" }),
			spent("2026-11-25T14:30:00Z", 5*domain.USD-1, nil),
			spent("2026-11-25T14:40:00Z", 0, func(r *usage.Recorded) { r.CostUSD, r.Unpriced = "", true }),
			spent("2026-12-01T00:00:00Z", 1000*domain.USD, everything))
		record(ctx, other, spent("2026-11-25T14:00:00Z", 44*domain.USD, everything))
		set(ctx, tenant, budgets.Key, key, func(c *budgets.Config) { c.Budget, c.Warn = 50*domain.USD, 5000 })
		set(ctx, tenant, budgets.Department, "research", func(c *budgets.Config) { c.Department = "Research" })
		set(ctx, tenant, budgets.Department, "idle", nil)
		set(ctx, tenant, budgets.Agent, "scout", func(c *budgets.Config) { c.Period, c.Block = budgets.Quarterly, nil })
		set(ctx, tenant, budgets.Tenant, tenant, func(c *budgets.Config) { c.Budget = 85 * domain.USD })
		set(ctx, other, budgets.Department, "research", nil)

		shown := list(ctx, tenant, api.ListBudgetsParams{})
		from, until := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		hundred, eighty := json.Number("100"), json.Number("80")
		Expect(shown).To(Equal([]api.Budget{
			{
				ID: budgets.BudgetID(budgets.Subject{Level: budgets.Tenant, ID: tenant}), Level: "tenant", SubjectID: tenant, BudgetUsd: "85", Period: "monthly", WarnThresholdPct: eighty,
				BlockThresholdPct: &hundred, CurrentSpendUsd: "85", Pct: "99.99", PeriodStart: from, PeriodEnd: until, Status: "warn", Version: 1,
			},
			{
				ID: budgets.BudgetID(budgets.Subject{Level: budgets.Department, ID: "idle"}), Level: "department", SubjectID: "idle", DepartmentID: new("idle"), Department: new("idle"), BudgetUsd: "100",
				Period: "monthly", WarnThresholdPct: eighty, BlockThresholdPct: &hundred, CurrentSpendUsd: "0", Pct: "0", PeriodStart: from, PeriodEnd: until, Status: "ok", Version: 1,
			},
			{
				ID: budgets.BudgetID(budgets.Subject{Level: budgets.Department, ID: "research"}), Level: "department", SubjectID: "research", DepartmentID: new("research"), Department: new("Research"),
				BudgetUsd: "100", Period: "monthly", WarnThresholdPct: eighty, BlockThresholdPct: &hundred, CurrentSpendUsd: "80", Pct: "80", PeriodStart: from, PeriodEnd: until, Status: "warn", Version: 1,
			},
			{
				ID: budgets.BudgetID(budgets.Subject{Level: budgets.Agent, ID: "scout"}), Level: "agent", SubjectID: "scout", BudgetUsd: "100", Period: "quarterly", WarnThresholdPct: eighty,
				CurrentSpendUsd: "1057", Pct: "1057", PeriodStart: from.AddDate(0, -1, 0), PeriodEnd: until.AddDate(0, 1, 0), Status: "warn", Version: 1,
			},
			{
				ID: budgets.BudgetID(budgets.Subject{Level: budgets.Key, ID: key}), Level: "key", SubjectID: key, BudgetUsd: "50", Period: "monthly", WarnThresholdPct: "50",
				BlockThresholdPct: &hundred, CurrentSpendUsd: "50", Pct: "100", PeriodStart: from, PeriodEnd: until, Status: "blocked", Version: 1,
			},
		}))
		Expect(list(ctx, other, api.ListBudgetsParams{})).To(HaveExactElements(HaveField("CurrentSpendUsd", json.Number("44"))))
		Expect(list(ctx, "nobody", api.ListBudgetsParams{})).To(BeEmpty())

		By("paging")
		var paged []api.Budget
		var cursor *string
		for range 5 {
			response, err := reads.ListBudgets(as(ctx, tenant), api.ListBudgetsRequestObject{Params: api.ListBudgetsParams{Limit: new(1), Cursor: cursor}})
			Expect(err).NotTo(HaveOccurred())
			page := response.(api.ListBudgets200JSONResponse)
			paged = append(paged, page.Data...)
			cursor = page.Meta.Pagination.NextCursor
		}
		Expect(paged).To(Equal(shown))
		Expect(cursor).To(BeNil())

		By("reading one")
		one, err := reads.GetBudget(as(ctx, tenant), api.GetBudgetRequestObject{Level: "agent", ID: "scout"})
		Expect(err).NotTo(HaveOccurred())
		Expect(one.(api.GetBudget200JSONResponse).Body.Data).To(Equal(shown[3]))
		for level, id := range map[string]string{"department": "nobody", "tenant": other, "key": "x", "weather": "research", "agent": "a\x00b"} {
			_, err := reads.GetBudget(as(ctx, tenant), api.GetBudgetRequestObject{Level: level, ID: id})
			Expect(err).To(MatchError(budgets.ErrNotFound), level)
		}

		By("showing the same to others who read the table")
		f.now = time.Now().UTC()
		rows, err := f.owner.Query(ctx, `select level, subject_id, department_id, budget_usd::float8, current_spend_usd::text, period_start, period_end from department_budgets
			where tenant_id = $1 order by level, subject_id`, tenant)
		Expect(err).NotTo(HaveOccurred())
		defer rows.Close()
		seen := 0
		for rows.Next() {
			values, err := rows.Values()
			Expect(err).NotTo(HaveOccurred())
			for _, now := range list(ctx, tenant, api.ListBudgetsParams{}) {
				if string(now.Level) == values[0] && now.SubjectID == values[1] {
					seen++
					Expect(values[5]).To(BeTemporally("==", now.PeriodStart))
					Expect(values[6]).To(BeTemporally("==", now.PeriodEnd))
					amount, err := domain.ParseAmount(values[4].(string), 10)
					Expect(err).NotTo(HaveOccurred())
					Expect(amount.Number()).To(Equal(now.CurrentSpendUsd))
					Expect(values[2] == nil).To(Equal(now.DepartmentID == nil))
				}
			}
		}
		Expect(seen).To(Equal(5))
	})

	It("are shown as they were, and say blocked where a call was refused", func(ctx context.Context) {
		f.now = time.Now().UTC()
		at := f.now.Add(-time.Minute).Format(time.RFC3339Nano)
		department := func(r *usage.Recorded) { r.DepartmentID = "research" }
		set(ctx, tenant, budgets.Department, "research", nil)
		set(ctx, tenant, budgets.Department, "gone", nil)
		record(ctx, tenant, spent(at, 81*domain.USD, department))
		before := time.Now().UTC()
		record(ctx, tenant, spent(at, domain.USD, department))
		f.append(ctx, tenant, budgets.Stream(budgets.Subject{Level: budgets.Department, ID: "gone"}), system, budgets.Removed{Subject: budgets.Subject{Level: budgets.Department, ID: "gone"}})
		set(ctx, tenant, budgets.Department, "research", func(c *budgets.Config) { c.Budget = 200 * domain.USD })
		set(ctx, tenant, budgets.Department, "young", nil)
		w := budgets.Monthly.Window(f.now, zone)
		alert := alerts.Budget{Level: "department", SubjectID: "research", Period: "monthly", Start: w.Start, End: w.End}.Exhausted()
		f.append(ctx, tenant, alerts.Stream(alert.Kind, alert.Subject), system, alerts.Raised{AlertID: uuid.NewString(), Kind: alert.Kind, Subject: alert.Subject, Message: alert.Message, Details: alert.Details})
		f.project(ctx, tenant)

		f.now = time.Now().UTC()
		then := list(ctx, tenant, api.ListBudgetsParams{AsOf: &before})
		Expect(then).To(HaveExactElements(
			And(HaveField("SubjectID", "gone"), HaveField("Status", api.BudgetStatus("ok"))),
			And(HaveField("SubjectID", "research"), HaveField("BudgetUsd", json.Number("100")), HaveField("CurrentSpendUsd", json.Number("81")), HaveField("Status", api.BudgetStatus("warn")), HaveField("Version", int64(1)))))
		now := list(ctx, tenant, api.ListBudgetsParams{})
		Expect(now).To(HaveExactElements(
			And(HaveField("SubjectID", "research"), HaveField("BudgetUsd", json.Number("200")), HaveField("CurrentSpendUsd", json.Number("82")), HaveField("Status", api.BudgetStatus("blocked")), HaveField("Version", int64(2))),
			HaveField("SubjectID", "young")))
		Expect(list(ctx, tenant, api.ListBudgetsParams{AsOf: &f.now})).To(Equal(now))
		one, err := reads.GetDepartmentBudget(as(ctx, tenant), api.GetDepartmentBudgetRequestObject{DepartmentID: "gone", Params: api.GetDepartmentBudgetParams{AsOf: &before}})
		Expect(err).NotTo(HaveOccurred())
		Expect(one.(api.GetDepartmentBudget200JSONResponse).Body.Data).To(Equal(then[0]))
		_, err = reads.GetDepartmentBudget(as(ctx, tenant), api.GetDepartmentBudgetRequestObject{DepartmentID: "gone"})
		Expect(err).To(MatchError(budgets.ErrNotFound))
	})

	// Days and the ledger are put together differently for every window; a plain sum must come out each time.
	It("count the calls of any window exactly, whatever its bounds", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(7, 8))
		key := uuid.NewString()
		type call struct {
			at      time.Time
			cost    domain.Amount
			subject [4]string // by level
		}
		levels := budgets.Levels()
		var calls []call
		start := time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC)
		for range 120 {
			at := start.Add(time.Duration(random.Int64N(int64(5 * 24 * time.Hour)))).Truncate(time.Microsecond)
			if random.IntN(4) == 0 {
				at = at.Truncate(12 * time.Hour)
			}
			c := call{at: at, cost: domain.Amount(random.Int64N(int64(domain.USD))), subject: [4]string{tenant, []string{"", "a", "b"}[random.IntN(3)], []string{"", "x"}[random.IntN(2)], []string{"", key}[random.IntN(2)]}}
			calls = append(calls, c)
			recorded := spent(c.at.Format(time.RFC3339Nano), c.cost, func(r *usage.Recorded) { r.DepartmentID, r.AgentID, r.KeyID = c.subject[1], c.subject[2], c.subject[3] })
			f.append(ctx, tenant, usage.Stream(recorded.CallID), system, recorded)
		}
		f.project(ctx, tenant)
		plane := &readapi.DataPlane{Providers: f.providers, Prices: f.prices}
		for range 60 {
			from := start.Add(time.Duration(random.Int64N(int64(5 * 24 * time.Hour))))
			until := from.Add(time.Duration(1 + random.Int64N(int64(3*24*time.Hour))))
			switch random.IntN(3) {
			case 0:
				from, until = from.Truncate(24*time.Hour), until.Truncate(24*time.Hour).Add(24*time.Hour)
			case 1:
				from, until = from.Truncate(time.Microsecond), calls[random.IntN(len(calls))].at
			}
			for i, level := range levels {
				subject := calls[random.IntN(len(calls))].subject[i]
				var want domain.Amount
				for _, c := range calls {
					if c.subject[i] == subject && !c.at.Before(from) && c.at.Before(until) {
						want += c.cost
					}
				}
				if subject == "" {
					want = 0
				}
				got, position, err := plane.PeriodSpend(ctx, tenant, budgets.Subject{Level: level, ID: subject}, budgets.Window{Start: from, End: until})
				Expect(err).NotTo(HaveOccurred())
				Expect(position).To(BeEquivalentTo(len(calls)))
				Expect(got).To(Equal(want), fmt.Sprint(level, subject, from, until))
				var known string
				Expect(f.owner.QueryRow(ctx, `select coalesce(sum(spent_usd), 0)::numeric(20, 10)::text from budget_spend($1, $2, $3, $4, null, null) where level = $5 and subject_id = $6`,
					tenant, from, until, len(calls), string(level), subject).Scan(&known)).To(Succeed())
				Expect(known).To(Equal(want.String()))
			}
		}
	})

	It("have the same periods in the database as in the program", func(ctx context.Context) {
		for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata", "Pacific/Apia", "America/Asuncion", "Australia/Lord_Howe"} {
			place, err := time.LoadLocation(name)
			Expect(err).NotTo(HaveOccurred())
			for month := range 48 {
				at := time.Date(2025, time.Month(1+month), 1+month%28, month%24, 0, 0, 0, time.UTC)
				for _, period := range []budgets.Period{budgets.Monthly, budgets.Quarterly} {
					var w budgets.Window
					Expect(f.owner.QueryRow(ctx, `select * from budget_window($1, $2, $3)`, string(period), name, at).Scan(&w.Start, &w.End)).To(Succeed())
					want := period.Window(at, place)
					Expect(w.Start).To(BeTemporally("==", want.Start), name+at.String())
					Expect(w.End).To(BeTemporally("==", want.End), name+at.String())
				}
			}
		}
	})
})
