package readapi_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/internal/httpx"
)

// spent is a call that began at a time and cost so much.
func spent(at string, cost domain.Amount, change func(*usage.Recorded)) usage.Recorded {
	GinkgoHelper()
	began, err := time.Parse(time.RFC3339Nano, at)
	Expect(err).NotTo(HaveOccurred())
	recorded := usage.Recorded{
		CallID: uuid.NewString(), Kind: usage.Chat, StartedAt: began, Outcome: usage.Succeeded, ProviderType: "openai", Model: "gpt-4o", CostUSD: cost.String(),
		Tokens: domain.Tokens{Input: 10, CacheRead: 3, CacheWrite: 2, Output: 4, Reasoning: 1},
	}
	if change != nil {
		change(&recorded)
	}
	return recorded
}

var _ = Describe("costs", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) {
		f = newFixture(ctx)
		f.now = time.Date(2026, 2, 11, 15, 0, 0, 0, time.UTC)
	})
	system := domain.Meta{Actor: domain.Actor{ID: "gateway", Type: domain.System}}
	record := func(ctx context.Context, of string, calls ...usage.Recorded) (last int64) {
		GinkgoHelper()
		for _, call := range calls {
			last = f.append(ctx, of, usage.Stream(call.CallID), system, call).Last
		}
		f.project(ctx, of)
		return last
	}
	dashboard := func(ctx context.Context, of string, params api.GetCostDashboardParams) api.CostDashboard {
		GinkgoHelper()
		response, err := f.costs.GetCostDashboard(as(ctx, of), api.GetCostDashboardRequestObject{Params: params})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.GetCostDashboard200JSONResponse).Data
	}
	breakdown := func(ctx context.Context, of, dimension string, params api.GetCostBreakdownParams) (api.GetCostBreakdown200JSONResponse, error) {
		response, err := f.costs.GetCostBreakdown(as(ctx, of), api.GetCostBreakdownRequestObject{
			Dimension: api.GetCostBreakdownParamsDimension(dimension), Params: params,
		})
		page, _ := response.(api.GetCostBreakdown200JSONResponse)
		return page, err //nolint:wrapcheck // a test
	}
	export := func(ctx context.Context, of, query string) *httptest.ResponseRecorder {
		GinkgoHelper()
		recorder := httptest.NewRecorder()
		request := httptest.NewRequestWithContext(as(ctx, of), http.MethodGet, "/api/v1/cost/export?"+query, nil)
		Expect(f.costs.ExportCosts(echo.New().NewContext(request, recorder))).To(Succeed())
		return recorder
	}
	const cent = domain.USD / 100

	It("name departments as they are called, or were at the time that is asked about, and nothing else by their names", func(ctx context.Context) {
		meta := did("POST", "/api/v1/departments", 201)
		f.append(ctx, tenant, departments.Stream("x"), meta, departments.Created{DepartmentID: "x", Name: "=Support"})
		f.append(ctx, other, departments.Stream("y"), meta, departments.Created{DepartmentID: "y", Name: "Theirs"})
		at := func(department string) usage.Recorded {
			return spent("2026-02-10T10:00:00Z", cent, func(r *usage.Recorded) {
				r.Model, r.AgentID, r.UserID, r.DepartmentID, r.ExecutionID = "x", "x", "x", department, "e-"+department
			})
		}
		last := record(ctx, tenant, at("x"), at("y"), at(""))
		events, err := f.store.At(ctx, tenant, []int64{last})
		Expect(err).NotTo(HaveOccurred())
		then := events[0].Time()
		Expect(f.append(ctx, tenant, departments.Stream("x"), meta, departments.Renamed{DepartmentID: "x", Name: "Care", Was: "=Support"}).OccurredAt).To(BeNumerically(">", then.UnixMicro()))
		f.project(ctx, tenant)
		f.project(ctx, other)

		for name, params := range map[string]api.GetCostDashboardParams{"Care": {}, "=Support": {AsOf: &then}} {
			shown := dashboard(ctx, tenant, params)
			Expect(shown.ByDepartment).To(ConsistOf(HaveField("Department", name), HaveField("Department", "y"), HaveField("Department", "unattributed")))
			Expect(shown.ByModel).To(HaveExactElements(HaveField("Model", "x")))
			Expect(shown.ByAgent).To(HaveExactElements(HaveField("Agent", "x")))
		}
		for dimension, name := range map[string]string{"department": "Care", "model": "x", "agent": "x", "user": "x"} {
			page, err := breakdown(ctx, tenant, dimension, api.GetCostBreakdownParams{})
			Expect(err).NotTo(HaveOccurred())
			Expect(page.Data).To(ContainElement(And(HaveField("Key", "x"), HaveField("Name", name))), dimension)
		}
		f.append(ctx, tenant, departments.Stream("x"), meta, departments.Renamed{DepartmentID: "x", Name: "=Care", Was: "Care"})
		f.project(ctx, tenant)
		Expect(export(ctx, tenant, "from=2026-02-01").Body.String()).To(And(ContainSubstring(",x,'=Care,x,"), ContainSubstring(",x,y,x,"), ContainSubstring(",x,,x,")))
	})

	It("are shown for a month by everything that there is, dearest first, to the last place", func(ctx context.Context) {
		gone, kept := f.register(ctx, tenant, "Gone"), f.register(ctx, tenant, "Kept")
		f.append(ctx, tenant, providers.Stream(gone), did("DELETE", "/api/v1/router/providers", 204), providers.Deleted{ProviderID: gone})
		record(ctx, tenant,
			spent("2026-01-31T23:59:59.999999Z", 100*domain.USD, nil), // the month before
			spent("2026-02-01T00:00:00Z", 1, func(r *usage.Recorded) { r.ProviderID = gone }),
			spent("2026-02-01T00:00:00+01:00", 200*domain.USD, nil), // still January in UTC
			spent("2026-02-03T10:00:00Z", 3*cent, func(r *usage.Recorded) {
				r.ProviderID, r.Model, r.DepartmentID, r.AgentID, r.ExecutionID = kept, "o3", "research", "scout", "e-1"
			}),
			spent("2026-02-03T11:00:00Z", 2*cent, func(r *usage.Recorded) { r.ProviderID, r.AgentID, r.ExecutionID = kept, "scout", "e-1" }),
			spent("2026-02-11T11:00:00Z", 4*cent, func(r *usage.Recorded) { r.ProviderID, r.AgentID, r.ExecutionID = kept, "scout", "e-2" }),
			spent("2026-02-11T12:00:00Z", 0, func(r *usage.Recorded) { r.ProviderID, r.CostUSD, r.Unpriced, r.Model = kept, "", true, "novel" }),
			spent("2026-02-11T13:00:00Z", 0, func(r *usage.Recorded) { r.Outcome, r.Tokens, r.CostUSD = usage.Failed, domain.Tokens{}, "" }),
			spent("2026-03-01T00:00:00Z", 300*domain.USD, nil),
		)
		record(ctx, other, spent("2026-02-03T10:00:00Z", 77*domain.USD, func(r *usage.Recorded) { r.Model = "not ours" }))

		shown := dashboard(ctx, tenant, api.GetCostDashboardParams{})
		Expect(shown.Period).To(Equal("2026-02"))
		Expect(shown.TotalSpend).To(Equal(json.Number("0.09")), "the 10⁻¹⁰ USD are not lost, but not shown")
		Expect(shown.Trend).To(HaveLen(11))
		Expect(shown.Trend[0]).To(Equal(api.CostDay{Date: "2026-02-01", Spend: "0"}))
		Expect(shown.Trend[2]).To(Equal(api.CostDay{Date: "2026-02-03", Spend: "0.05"}))
		Expect(shown.Trend[10]).To(Equal(api.CostDay{Date: "2026-02-11", Spend: "0.04"}))
		Expect(shown.ByProvider).To(Equal([]api.CostOfProvider{{Provider: "Kept", Spend: "0.09"}, {Provider: "Gone", Spend: "0"}}))
		Expect(shown.ByModel).To(Equal([]api.CostOfModel{{Model: "gpt-4o", Spend: "0.06", Tokens: 60}, {Model: "o3", Spend: "0.03", Tokens: 20}, {Model: "novel", Spend: "0", Tokens: 20}}))
		Expect(shown.ByDepartment).To(Equal([]api.CostOfDepartment{{Department: "unattributed", Spend: "0.06"}, {Department: "research", Spend: "0.03"}}))
		Expect(shown.ByAgent).To(Equal([]api.CostOfAgent{{Agent: "scout", Spend: "0.09", Executions: 2}, {Agent: "unattributed", Spend: "0"}}))
		Expect(json.Marshal(shown.ByDepartment[0])).To(MatchJSON(`{"department":"unattributed","budget":null,"spend":0.06,"pct":null}`))

		Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: new("2026-01")})).To(And(
			HaveField("TotalSpend", json.Number("300")), HaveField("Trend", HaveLen(31)),
			HaveField("Forecast", HaveField("EndOfMonth", HaveValue(Equal(json.Number("300"))))), HaveField("Forecast.Confidence", HaveValue(Equal(1.0)))))
		Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: new("2026-04")})).To(And(
			HaveField("TotalSpend", json.Number("0")), HaveField("Trend", BeEmpty()), HaveField("Forecast.EndOfMonth", BeNil())))
		for _, far := range []string{"0000-01", "0001-01", "9999-12"} {
			Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: &far}).TotalSpend).To(Equal(json.Number("0")), far)
		}
		Expect(dashboard(ctx, "nobody", api.GetCostDashboardParams{})).To(And(HaveField("TotalSpend", json.Number("0")), HaveField("Forecast.Confidence", BeNil())))
	})

	It("show the days that stand out, and where the month is heading, as known at any moment", func(ctx context.Context) {
		for day := range 41 {
			record(ctx, tenant, spent(time.Date(2026, 1, 1+day, 9, 0, 0, 0, time.UTC).Format(time.RFC3339), 2*domain.USD, nil))
		}
		f.now = time.Now().UTC() // the moment at which things were recorded, which as_of is about
		before := f.now
		record(ctx, tenant, spent("2026-02-10T10:00:00Z", 10*domain.USD, func(r *usage.Recorded) { r.AgentID, r.ExecutionID = "late", "e-9" }))
		f.now = time.Date(2026, 2, 11, 15, 0, 0, 0, time.UTC)
		shown := dashboard(ctx, tenant, api.GetCostDashboardParams{})
		Expect(shown.Anomalies).To(Equal([]api.CostAnomaly{{Date: "2026-02-10", Spend: "12", Expected: "2", Sigma: "0.1"}}))
		Expect(shown.Forecast.EndOfMonth).NotTo(BeNil())
		Expect(*shown.Forecast.Confidence).To(BeNumerically("~", 0.096, 0.01))

		response, err := f.costs.GetCostForecast(as(ctx, tenant), api.GetCostForecastRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		forecast := response.(api.GetCostForecast200JSONResponse).Data
		Expect(forecast).To(And(HaveField("Method", api.CostForecastMethodLinearRegression), HaveField("EndOfMonth", Equal(shown.Forecast.EndOfMonth)), HaveField("Daily", HaveLen(18))))
		Expect(forecast.Daily[0].Date).To(Equal("2026-02-11"))
		Expect(forecast.Daily[17].Date).To(Equal("2026-02-28"))

		By("asking as of a moment: only what was recorded by then counts")
		f.now = time.Now().UTC()
		february := new("2026-02")
		then := dashboard(ctx, tenant, api.GetCostDashboardParams{Period: february, AsOf: &before})
		Expect(then.TotalSpend).To(Equal(json.Number("20")))
		Expect(then.Anomalies).To(BeEmpty())
		Expect(then.ByAgent).To(Equal([]api.CostOfAgent{{Agent: "unattributed", Spend: "20"}}))
		now := f.now
		Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: february, AsOf: &now})).To(Equal(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: february})),
			"the ledger and the sums of days say the same")
		long := before.AddDate(0, 0, -1)
		Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{Period: february, AsOf: &long}).TotalSpend).To(Equal(json.Number("0")))

		By("asking with too little data")
		record(ctx, "young", spent("2026-02-05T10:00:00Z", cent, nil))
		f.now = time.Date(2026, 2, 11, 15, 0, 0, 0, time.UTC)
		response, err = f.costs.GetCostForecast(as(ctx, "young"), api.GetCostForecastRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(json.Marshal(response.(api.GetCostForecast200JSONResponse).Data)).To(MatchJSON(`{"end_of_month":null,"confidence":null,"method":"insufficient_data","daily":[]}`))
		f.now = f.now.AddDate(0, 0, 1)
		response, err = f.costs.GetCostForecast(as(ctx, "young"), api.GetCostForecastRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(response.(api.GetCostForecast200JSONResponse).Data.Method).To(Equal(api.CostForecastMethodLinearRegression), "a day without calls is a day")
	})

	It("are broken down by one dimension, in pages that what is recorded meanwhile does not change", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(3, 3))
		want := map[string]domain.Amount{}
		for range 40 {
			user, cost := fmt.Sprintf("u-%02d", random.IntN(9)), domain.Amount(random.IntN(5))*cent
			want[user] += cost
			record(ctx, tenant, spent("2026-02-03T10:00:00Z", cost, func(r *usage.Recorded) { r.UserID = user }))
		}
		whole, err := breakdown(ctx, tenant, "user", api.GetCostBreakdownParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(whole.Data).To(HaveLen(len(want)))
		Expect(slices.IsSortedFunc(whole.Data, func(a, b api.CostShare) int {
			if difference := want[b.Key] - want[a.Key]; difference != 0 {
				return int(difference / cent)
			}
			return strings.Compare(a.Key, b.Key)
		})).To(BeTrue(), fmt.Sprint(whole.Data))
		for _, share := range whole.Data {
			Expect(share).To(And(HaveField("Name", share.Key), HaveField("Spend", want[share.Key].Number())))
			Expect(share.PromptTokens).To(Equal(15 * share.Requests))
			Expect(share.CompletionTokens).To(Equal(5 * share.Requests))
		}
		for _, limit := range []int{1, 2, 5} {
			var paged []api.CostShare
			before, err := breakdown(ctx, tenant, "user", api.GetCostBreakdownParams{})
			Expect(err).NotTo(HaveOccurred())
			for params := (api.GetCostBreakdownParams{Limit: &limit}); ; {
				page, err := breakdown(ctx, tenant, "user", params)
				Expect(err).NotTo(HaveOccurred())
				paged = append(paged, page.Data...)
				if params.Cursor = page.Meta.Pagination.NextCursor; params.Cursor == nil {
					break
				}
				Expect(len(paged)).To(BeNumerically("<", 50), "the list has no end")
				record(ctx, tenant, spent("2026-02-04T10:00:00Z", 5*domain.USD, func(r *usage.Recorded) { r.UserID = fmt.Sprintf("u-%02d", random.IntN(9)) }))
			}
			Expect(paged).To(Equal(before.Data), "%d a page", limit)
		}

		By("taking other spans, by day and by moment")
		sum := func(from, to string) (requests int64) {
			GinkgoHelper()
			var params api.GetCostBreakdownParams
			if from != "" {
				params.From = &from
			}
			if to != "" {
				params.To = &to
			}
			page, err := breakdown(ctx, "spans", "model", params)
			Expect(err).NotTo(HaveOccurred())
			for _, share := range page.Data {
				requests += share.Requests
			}
			return requests
		}
		for _, at := range []string{"2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z", "2026-02-02T12:00:00Z", "2026-02-28T23:59:59.999999Z", "2026-03-01T00:00:00Z"} {
			record(ctx, "spans", spent(at, cent, nil))
		}
		Expect(sum("", "")).To(BeEquivalentTo(3), "this month")
		Expect(sum("2026-01-31", "2026-01-31")).To(BeEquivalentTo(1))
		Expect(sum("2026-02-01", "2026-02-28")).To(BeEquivalentTo(3))
		Expect(sum("", "2026-02-02")).To(BeEquivalentTo(2), "from the first of its month on")
		Expect(sum("2026-02-02", "")).To(BeEquivalentTo(3))
		Expect(sum("2026-02-02T12:00:00Z", "2026-02-28T23:59:59.999999Z")).To(BeEquivalentTo(1), "a moment as to is not included")
		Expect(sum("2026-02-02T13:00:00+01:00", "2026-02-28T23:59:59.999999Z")).To(BeEquivalentTo(1))
		Expect(sum("2026-02-02T12:00:01Z", "2026-02-27")).To(BeEquivalentTo(0))

		By("refusing what does not fit")
		refused := func(dimension string, params api.GetCostBreakdownParams) string {
			GinkgoHelper()
			_, err := breakdown(ctx, tenant, dimension, params)
			failure := httpx.FromError(err)
			return failure.Code + fmt.Sprint(failure.Details)
		}
		Expect(refused("key", api.GetCostBreakdownParams{})).To(HavePrefix("not_found"))
		Expect(refused("user", api.GetCostBreakdownParams{From: new("2026-02-30"), To: new("2026-13-01T00:00:00Z")})).To(And(ContainSubstring("from:"), ContainSubstring("to:")))
		Expect(refused("user", api.GetCostBreakdownParams{From: new("2026-02-03"), To: new("2026-02-02")})).To(ContainSubstring("the same day"))
		for _, forged := range []map[string]any{{"p": -1, "s": "1.0000000000", "k": ""}, {"p": 1, "s": "1e9", "k": ""}, {"p": 1, "s": "1.0000000000", "k": "\x00"}, {"x": 1}} {
			cursor, err := httpx.EncodeCursor("costs by user", forged)
			Expect(err).NotTo(HaveOccurred())
			Expect(refused("user", api.GetCostBreakdownParams{Cursor: &cursor})).To(HavePrefix("invalid_cursor"), fmt.Sprint(forged))
		}
	})

	It("name providers, deleted ones and ones that nobody knows too", func(ctx context.Context) {
		known, unknown := f.register(ctx, tenant, "Known"), uuid.NewString()
		record(ctx, tenant,
			spent("2026-02-03T10:00:00Z", 2*cent, func(r *usage.Recorded) { r.ProviderID = known }), spent("2026-02-03T10:00:00Z", cent, func(r *usage.Recorded) { r.ProviderID = unknown }),
			spent("2026-02-03T10:00:00Z", 0, nil), spent("2026-02-03T10:00:00Z", 922337203*domain.USD, func(r *usage.Recorded) { r.ProviderID = known }),
			spent("2026-02-03T10:00:00Z", 922337203*domain.USD, func(r *usage.Recorded) { r.ProviderID = known }))
		page, err := breakdown(ctx, tenant, "provider", api.GetCostBreakdownParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data).To(HaveExactElements(
			And(HaveField("Key", known), HaveField("Name", "Known"), HaveField("Spend", json.Number("1844674406.02"))),
			And(HaveField("Key", unknown), HaveField("Name", unknown)), And(HaveField("Key", ""), HaveField("Name", "unattributed"))))
		Expect(dashboard(ctx, tenant, api.GetCostDashboardParams{}).TotalSpend).To(Equal(json.Number("1844674406.03")), "beyond an Amount")
	})

	It("are exported call by call, exactly, and safely for a spreadsheet", func(ctx context.Context) {
		hostile := f.register(ctx, tenant, "=cmd|' /C calc'!A0")
		record(ctx, tenant,
			spent("2026-02-03T10:00:00.123456Z", 12345678901, func(r *usage.Recorded) {
				r.ProviderID, r.ExecutionID, r.AgentID, r.DepartmentID, r.UserID = hostile, "-1+1", "\t=1", "a,\"b\"\nc", "＝1"
			}),
			spent("2026-01-31T23:59:59Z", cent, nil), spent("2026-03-01T00:00:00Z", cent, nil),
			spent("2026-02-01T00:00:00Z", 0, func(r *usage.Recorded) { r.CostUSD, r.Unpriced, r.UserID, r.Model = "", true, "ada", "  @x" }),
			spent("2026-02-28T23:59:59.999999Z", 1, func(r *usage.Recorded) { r.UserID = "o'neil; drop" }),
		)
		record(ctx, other, spent("2026-02-03T10:00:00Z", cent, nil))
		got := export(ctx, tenant, "")
		Expect(got.Header().Get("Content-Type")).To(HavePrefix("text/csv"))
		Expect(got.Header().Get("Content-Disposition")).To(Equal(`attachment; filename="archon-costs-2026-02-01-2026-02-11.csv"`))
		Expect(got.Body.String()).To(HavePrefix("timestamp,execution_id,agent,provider,model,department,user,prompt_tokens,completion_tokens,cached_tokens,total_tokens,cost_usd,currency\n"))
		records, err := csv.NewReader(strings.NewReader(got.Body.String())).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect(records[1:]).To(Equal([][]string{
			{"2026-02-01T00:00:00.000000Z", "", "", "", "'  @x", "", "ada", "15", "5", "3", "20", "", "USD"},
			{"2026-02-03T10:00:00.123456Z", "'-1+1", "'\t=1", "'=cmd|' /C calc'!A0", "gpt-4o", "a,\"b\"\nc", "'＝1", "15", "5", "3", "20", "1.2345678901", "USD"},
			{"2026-02-28T23:59:59.999999Z", "", "", "", "gpt-4o", "", "o'neil; drop", "15", "5", "3", "20", "0.0000000001", "USD"},
		}))
		Expect(strings.Count(export(ctx, tenant, "from=2026-01-31&to=2026-03-01").Body.String(), "USD\n")).To(Equal(5))
		Expect(strings.Count(export(ctx, tenant, "from=2026-02-03T10:00:00.123456Z&to=2026-02-03T10:00:00.123457Z").Body.String(), "USD\n")).To(Equal(1))
		Expect(export(ctx, "nobody", "").Body.String()).To(HaveSuffix("currency\n"))
	})

	It("are exported over many pages, each call once, without those that come meanwhile", func(ctx context.Context) {
		const calls = 4500
		_, err := f.owner.Exec(ctx, `insert into token_ledger (tenant_id, started_at, recorded_position, id, kind, outcome, provider_type, model, user_id, prompt_tokens, completion_tokens,
				total_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, priced, cost_usd, occurred_at, created_at)
			select $1, '2026-02-01'::timestamptz + (i / 1000) * interval '1 second', i, gen_random_uuid(), 'chat', 'succeeded', 'openai', 'm', 'u-' || i, 1, 1, 2, 0, 0, 0, true, 0.1, now(), now()
			from generate_series(1, $2::integer) i`, tenant, calls+1)
		Expect(err).NotTo(HaveOccurred())
		_, err = f.owner.Exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash, status) values ($1, 'ledger', 1, $2, sha256('x'), 'live')`, tenant, calls)
		Expect(err).NotTo(HaveOccurred())
		records, err := csv.NewReader(export(ctx, tenant, "").Body).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect(records).To(HaveLen(calls + 1))
		for i, record := range records[1:] {
			Expect(record[6]).To(Equal(fmt.Sprint("u-", i+1)))
		}
	})
})
