package readapi_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/readapi"
)

// repriced is the difference that makes a call cost something else than it did before; was is nil where that was not known.
func repriced(call *usage.Recorded, position int64, was *domain.Amount, cost domain.Amount) costs.CallRepriced {
	event := costs.CallRepriced{
		RepricingID: uuid.NewString(), CallID: call.CallID, Position: position, StartedAt: call.StartedAt, KeyID: call.KeyID, UserID: call.UserID,
		DepartmentID: call.DepartmentID, AgentID: call.AgentID, WasPriced: was != nil, Priced: true, NewCost: cost, Difference: cost,
		Parts: []costs.Part{{ProviderID: call.ProviderID, Model: call.Model, OldCost: was, NewCost: &cost}},
	}
	if was != nil {
		event.OldCost, event.Difference = *was, cost-*was
	}
	return event
}

var _ = Describe("costs of calls that were priced again", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })
	system := domain.Meta{Actor: domain.Actor{ID: "gateway", Type: domain.System}}
	const cent = domain.USD / 100

	dashboard := func(ctx context.Context, period string, asOf *time.Time) api.CostDashboard {
		GinkgoHelper()
		response, err := f.costs.GetCostDashboard(as(ctx, tenant), api.GetCostDashboardRequestObject{Params: api.GetCostDashboardParams{Period: &period, AsOf: asOf}})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.GetCostDashboard200JSONResponse).Data
	}
	export := func(ctx context.Context, query string) (costs []string) {
		GinkgoHelper()
		recorder := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(as(ctx, tenant), http.MethodGet, "/api/v1/cost/export?"+query, nil)
		Expect(f.costs.ExportCosts(echo.New().NewContext(request, recorder))).To(Succeed())
		records, err := csv.NewReader(recorder.Body).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		for _, record := range records[1:] {
			costs = append(costs, record[11])
		}
		return costs
	}

	It("are shown as corrected and as known then, and apart where a month was over", func(ctx context.Context) {
		provider := f.register(ctx, tenant, "OpenAI")
		before := time.Now().UTC().AddDate(0, -1, 0)
		month := time.Date(before.Year(), before.Month(), 3, 10, 0, 0, 0, time.UTC) // of a month that is over
		period := month.Format("2006-01")
		on := func(day int) string { return month.AddDate(0, 0, day).Format(time.RFC3339) }
		record := func(call usage.Recorded) (usage.Recorded, int64) {
			return call, f.append(ctx, tenant, usage.Stream(call.CallID), system, call).Last
		}
		known, knownAt := record(spent(on(0), 4*cent, func(r *usage.Recorded) { r.ProviderID, r.DepartmentID, r.AgentID = provider, "research", "scout" }))
		novel, novelAt := record(spent(on(1), 0, func(r *usage.Recorded) { r.ProviderID, r.CostUSD, r.Unpriced, r.Model = provider, "", true, "novel" }))
		record(spent(on(2), cent, nil))
		f.project(ctx, tenant)
		then := time.Now().UTC()
		f.now = then
		asKnown := dashboard(ctx, period, nil)
		Expect(asKnown).To(And(HaveField("TotalSpend", json.Number("0.05")), HaveField("SpendAsClosed", HaveValue(Equal(json.Number("0.05")))),
			HaveField("Adjustments", Equal(api.CostAdjustments{Spend: "0", Booked: []api.CostAdjustment{}}))))

		f.append(ctx, tenant, usage.Stream(known.CallID), system, repriced(&known, knownAt, new(4*cent), 3*cent))
		f.append(ctx, tenant, usage.Stream(novel.CallID), system, repriced(&novel, novelAt, nil, 6*cent))
		f.project(ctx, tenant)
		between := time.Now().UTC()
		f.append(ctx, tenant, usage.Stream(known.CallID), system, repriced(&known, knownAt, new(3*cent), 1))
		f.project(ctx, tenant)
		f.now = time.Now().UTC()
		corrected := dashboard(ctx, period, nil)
		today := f.now.Format(time.DateOnly)
		Expect(corrected).To(And(HaveField("TotalSpend", json.Number("0.07")), HaveField("SpendAsClosed", HaveValue(Equal(json.Number("0.05")))),
			HaveField("Adjustments", Equal(api.CostAdjustments{Spend: "0.02", Count: 3, Booked: []api.CostAdjustment{{Date: today, Spend: "0.02", Count: 3}}})),
			HaveField("ByProvider", ConsistOf(api.CostOfProvider{Provider: "OpenAI", Spend: "0.06"}, api.CostOfProvider{Provider: "unattributed", Spend: "0.01"})),
			HaveField("ByModel", ContainElement(api.CostOfModel{Model: "novel", Spend: "0.06", Tokens: 20})),
			HaveField("ByDepartment", ContainElement(HaveField("Spend", json.Number("0")))),
			HaveField("Forecast.EndOfMonth", HaveValue(Equal(json.Number("0.07"))))))
		Expect(corrected.Trend[3]).To(HaveField("Spend", json.Number("0.06")))

		By("asking what was known then")
		Expect(dashboard(ctx, period, &then)).To(Equal(asKnown))
		Expect(dashboard(ctx, period, &f.now)).To(Equal(corrected))
		Expect(dashboard(ctx, period, &between)).To(And(HaveField("TotalSpend", json.Number("0.1")), HaveField("Adjustments.Count", BeEquivalentTo(2)), HaveField("Adjustments.Spend", json.Number("0.05"))))
		long := then.AddDate(0, -2, 0)
		Expect(dashboard(ctx, period, &long).SpendAsClosed).To(BeNil(), "it was not over then")
		present, presentAt := record(spent(f.now.Format(time.RFC3339Nano), cent, nil))
		f.append(ctx, tenant, usage.Stream(present.CallID), system, repriced(&present, presentAt, new(cent), 2*cent))
		f.project(ctx, tenant)
		for _, asOf := range []*time.Time{nil, new(time.Now())} {
			Expect(dashboard(ctx, f.now.Format("2006-01"), asOf)).To(And(HaveField("TotalSpend", json.Number("0.02")), HaveField("SpendAsClosed", BeNil()), HaveField("Adjustments.Count", BeZero())),
				"what is booked while the month goes on is not apart")
		}

		By("downloading and breaking down")
		end := monthEnd(month)
		span := "from=" + period + "-01&to=" + end
		Expect(export(ctx, span)).To(Equal([]string{"0.0000000001", "0.0600000000", "0.0100000000"}))
		page, err := f.costs.GetCostBreakdown(as(ctx, tenant), api.GetCostBreakdownRequestObject{Dimension: "model", Params: api.GetCostBreakdownParams{From: new(period + "-01"), To: &end}})
		Expect(err).NotTo(HaveOccurred())
		Expect(page.(api.GetCostBreakdown200JSONResponse).Data).To(HaveExactElements(
			And(HaveField("Key", "novel"), HaveField("Spend", json.Number("0.06")), HaveField("Requests", BeEquivalentTo(1))),
			And(HaveField("Key", "gpt-4o"), HaveField("Spend", json.Number("0.01")), HaveField("Requests", BeEquivalentTo(2)))))
		var unpriced int64
		Expect(f.owner.QueryRow(ctx, `select sum(unpriced) from cost_daily where dimension = 'total'`).Scan(&unpriced)).To(Succeed())
		Expect(unpriced).To(BeZero())
		_, err = f.owner.Exec(ctx, `update projection_checkpoints set position = $1 where projection = 'ledger'`, novelAt+1)
		Expect(err).NotTo(HaveOccurred())
		Expect(export(ctx, span)).To(Equal([]string{"0.0400000000", "", "0.0100000000"}), "an export shows what the ledger had when it began")
	})

	It("add up as of any position, for any span", func(ctx context.Context) {
		const calls, asked = 160, 150
		random := rand.New(rand.NewPCG(21, 12))
		first := time.Date(2026, 2, 25, 0, 0, 0, 0, time.UTC)
		ids := []string{uuid.NewString(), uuid.NewString(), ""}
		// line is what an event adds to the sums of a moment.
		type line struct {
			at    time.Time
			names map[string]string
			cost  domain.Amount
		}
		var truth []line
		var recorded []usage.Recorded
		var positions []int64
		var costly []domain.Amount
		for i := range calls {
			if i > 10 && random.IntN(3) == 0 {
				which := random.IntN(len(recorded))
				call, cost := &recorded[which], domain.Amount(random.Int64N(int64(domain.USD)))
				event := repriced(call, positions[which], &costly[which], cost)
				f.append(ctx, tenant, usage.Stream(call.CallID), system, event)
				truth = append(truth, line{call.StartedAt, map[string]string{"total": "", "provider": call.ProviderID, "model": call.Model, "department": call.DepartmentID, "agent": call.AgentID, "user": call.UserID}, event.Difference})
				costly[which] = cost
				continue
			}
			cost := domain.Amount(random.Int64N(int64(domain.USD)))
			call := usage.Recorded{
				CallID: uuid.NewString(), Outcome: usage.Succeeded, StartedAt: first.AddDate(0, 0, i/30).Add(time.Duration(random.IntN(30)) * time.Hour), CostUSD: cost.String(),
				Tokens: domain.Tokens{Input: 1}, ProviderID: ids[random.IntN(3)], Model: []string{"m", "n"}[random.IntN(2)], DepartmentID: []string{"", "research"}[random.IntN(2)],
				AgentID: []string{"", "scout"}[random.IntN(2)], UserID: []string{"ada", "bob"}[random.IntN(2)],
			}
			recorded, costly = append(recorded, call), append(costly, cost)
			positions = append(positions, f.append(ctx, tenant, usage.Stream(call.CallID), system, call).Last)
			truth = append(truth, line{call.StartedAt, map[string]string{"total": "", "provider": call.ProviderID, "model": call.Model, "department": call.DepartmentID, "agent": call.AgentID, "user": call.UserID}, cost})
		}
		f.project(ctx, tenant)
		dimensions := []string{"total", "provider", "model", "department", "agent", "user"}
		for range asked {
			from := first.Add(time.Duration(random.IntN(8*24)) * time.Hour)
			until := from.Add(time.Duration(1+random.IntN(6*24)) * time.Hour)
			if random.IntN(2) == 0 {
				from, until = from.Truncate(24*time.Hour), until.Truncate(24*time.Hour).AddDate(0, 0, 1)
			}
			var position *int64
			last := int64(len(truth))
			if random.IntN(4) > 0 {
				last = int64(random.IntN(len(truth) + 2))
				position = &last
			}
			want := map[string]string{}
			sums := map[string]domain.Amount{}
			for i := range truth[:min(int(last), len(truth))] {
				if one := &truth[i]; !one.at.Before(from) && one.at.Before(until) {
					for dimension, key := range one.names {
						name := dimension + "|" + one.at.Format(time.DateOnly) + "|" + key
						sums[name] += one.cost
						want[name] = sums[name].String()
					}
				}
			}
			rows, err := f.owner.Query(ctx, `select dimension || '|' || day || '|' || key as name, sum(spend_usd)::numeric(20, 10)::text as cost
				from (`+readapi.SourceOf(from, until, position, dimensions)+`) s group by 1 having sum(requests) > 0`, tenant, from, until, position, dimensions)
			Expect(err).NotTo(HaveOccurred())
			read, err := pgx.CollectRows(rows, pgx.RowToStructByName[struct{ Name, Cost string }])
			Expect(err).NotTo(HaveOccurred())
			got := map[string]string{}
			for _, row := range read {
				got[row.Name] = row.Cost
			}
			Expect(got).To(Equal(want), "%s until %s, up to %d", from, until, last)
		}
	})

	It("belong to a repricing, which says how far it is, to its tenant alone", func(ctx context.Context) {
		id, from := uuid.NewString(), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
		requested := costs.RepricingRequested{RepricingID: id, From: from, Until: from.AddDate(0, 1, 0), Model: "gpt-4o"}
		get := func(of, id string) (api.CostRepricing, error) {
			response, err := f.costs.GetRepricing(as(ctx, of), api.GetRepricingRequestObject{ID: id})
			shown, _ := response.(api.GetRepricing200JSONResponse)
			return shown.Data, err //nolint:wrapcheck // a test
		}
		f.append(ctx, tenant, costs.RepricingStream(id), system, requested)
		Expect(get(tenant, id)).To(And(HaveField("Status", api.CostRepricingStatusRunning), HaveField("Model", HaveValue(Equal("gpt-4o"))), HaveField("ProviderType", BeNil()), HaveField("Examined", BeZero())))
		f.append(ctx, tenant, costs.RepricingStream(id), system, costs.RepricingProgressed{RepricingID: id, Place: costs.Place{StartedAt: from, Position: 3}, Found: costs.Found{Examined: 500, Repriced: 2, Difference: -15_000}})
		Expect(get(tenant, id)).To(And(HaveField("Status", api.CostRepricingStatusRunning), HaveField("Examined", BeEquivalentTo(500)), HaveField("DifferenceUsd", json.Number("-0.000002"))))
		f.append(ctx, tenant, costs.RepricingStream(id), system, costs.RepricingCompleted{RepricingID: id, Found: costs.Found{Examined: 900, Repriced: 3, NewlyPriced: 1, Unpriced: 7, Difference: domain.USD}})
		Expect(get(tenant, id)).To(And(HaveField("Status", api.CostRepricingStatusCompleted), HaveField("Unpriced", BeEquivalentTo(7)), HaveField("DifferenceUsd", json.Number("1")), HaveField("CompletedAt", Not(BeNil()))))
		for _, one := range [][2]string{{other, id}, {tenant, uuid.NewString()}, {tenant, "one"}} {
			_, err := get(one[0], one[1])
			Expect(err).To(MatchError(costs.ErrNoRepricing))
		}

		call := spent("2026-07-05T00:00:00Z", cent, func(r *usage.Recorded) { r.DepartmentID = "research" })
		at := f.append(ctx, tenant, usage.Stream(call.CallID), system, call).Last
		difference := repriced(&call, at, new(cent), 2*cent)
		difference.RepricingID = id
		f.append(ctx, tenant, usage.Stream(call.CallID), system, difference)
		f.project(ctx, tenant)
		Expect(f.costs.SpendersOf(ctx, tenant, requested)).To(Equal([]readapi.Spender{{DepartmentID: "research"}}))
		Expect(f.costs.SpendersOf(ctx, other, requested)).To(BeEmpty())
		Expect(f.costs.CallsBegun(ctx, tenant, costs.Place{StartedAt: call.StartedAt}, call.StartedAt.Add(1000), at, 9)).To(Equal([]costs.Place{{StartedAt: call.StartedAt, Position: at}}))
		for _, none := range []struct {
			after costs.Place
			until time.Time
			upTo  int64
		}{
			{costs.Place{StartedAt: call.StartedAt, Position: at}, call.StartedAt.Add(time.Hour), at},
			{costs.Place{StartedAt: call.StartedAt}, call.StartedAt, at},
			{costs.Place{StartedAt: call.StartedAt}, call.StartedAt.Add(time.Hour), at - 1},
		} {
			Expect(f.costs.CallsBegun(ctx, tenant, none.after, none.until, none.upTo, 9)).To(BeEmpty())
		}
	})
})

// monthEnd is the last day of a month.
func monthEnd(of time.Time) string {
	return time.Date(of.Year(), of.Month()+1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -1).Format(time.DateOnly)
}
