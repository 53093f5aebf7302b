package readapi_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
)

var _ = Describe("the health of providers", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	health := func(ctx context.Context, id string, window *api.Window) api.ProviderHealth {
		GinkgoHelper()
		response, err := f.providers.GetProviderHealth(as(ctx, tenant), api.GetProviderHealthRequestObject{ID: id, Params: api.GetProviderHealthParams{Window: window}})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.GetProviderHealth200JSONResponse).Data
	}
	hour, day, week := api.HealthWindowN1H, api.HealthWindowN24H, api.HealthWindowN7D

	It("shows percentiles near the exact ones in every window", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Busy")
		random := rand.New(rand.NewPCG(1, 2))
		exact := map[api.Window][]float64{}
		var failures int64
		for _, part := range []struct {
			ago     time.Duration
			windows []api.Window
		}{
			{time.Minute, []api.Window{hour, day, week}},
			{50 * time.Minute, []api.Window{hour, day, week}},
			{5 * time.Hour, []api.Window{day, week}},
			{23 * time.Hour, []api.Window{day, week}},
			{6 * 24 * time.Hour, []api.Window{week}},
			{9 * 24 * time.Hour, nil},
		} {
			latencies := make([]float64, 400)
			for i := range latencies {
				latencies[i] = math.Exp(3 + 5*random.Float64())
			}
			f.sample(ctx, id, part.ago, 4, latencies...)
			failures += 4
			for _, window := range part.windows {
				exact[window] = append(exact[window], latencies...)
			}
		}
		f.project(ctx, tenant)
		for window, minutes := range map[api.Window]float64{hour: 60, day: 24 * 60, week: 7 * 24 * 60} {
			shown, latencies := health(ctx, id, &window), exact[window]
			slices.Sort(latencies)
			for share, got := range map[float64]*float64{0.5: shown.LatencyMsP50, 0.95: shown.LatencyMsP95, 0.99: shown.LatencyMsP99} {
				want := latencies[int(math.Ceil(share*float64(len(latencies))))-1]
				Expect(got).To(HaveValue(And(BeNumerically(">=", want-0.01), BeNumerically("<=", want*1.0906+0.01))), "p%v of %s", share, window)
			}
			Expect(shown.ErrorRatePct).To(HaveValue(BeNumerically("==", 1)))
			Expect(shown.RequestsPerMinute).To(BeNumerically("~", float64(len(latencies))/minutes, 0.01))
			Expect(shown.History).To(HaveLen(len(latencies)/400), string(window))
			Expect(slices.IsSortedFunc(shown.History, func(a, b api.HealthPoint) int { return a.Timestamp.Compare(b.Timestamp) })).To(BeTrue())
		}
		Expect(health(ctx, id, nil)).To(Equal(health(ctx, id, &hour)))
		point := health(ctx, id, nil).History[1]
		Expect(point).To(And(HaveField("Timestamp", f.now.Add(-time.Minute).Truncate(10*time.Second)), HaveField("RPM", 2400.0), HaveField("ErrorRate", HaveValue(Equal(1.0)))))
	})

	It("shows what is not known as null, and an empty history", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Idle")
		f.project(ctx, tenant)
		Expect(health(ctx, id, nil)).To(Equal(api.ProviderHealth{
			ProviderID: id, CurrentStatus: "unknown", History: []api.HealthPoint{}, CircuitBreaker: api.CircuitBreaker{State: api.CircuitBreakerStateClosed},
		}))
		f.probe(ctx, tenant, id, true, 0)
		f.project(ctx, tenant)
		shown := health(ctx, id, nil)
		Expect(shown).To(And(HaveField("CurrentStatus", api.HealthStatus("healthy")), HaveField("LatencyMsP50", BeNil()), HaveField("ErrorRatePct", BeNil())),
			"probes don't enter the metrics")
		Expect(shown.LastCheckAt).To(HaveValue(BeTemporally("~", f.now, time.Millisecond)))
	})

	It("forgets calls that are over five minutes old", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Was busy")
		f.sample(ctx, id, 0, 30, repeat(100, 30)...)
		f.project(ctx, tenant)
		Expect(health(ctx, id, nil).CurrentStatus).To(Equal(api.HealthStatus("unhealthy")))
		f.now = f.now.Add(4*time.Minute + 45*time.Second)
		Expect(health(ctx, id, nil).CurrentStatus).To(Equal(api.HealthStatus("unhealthy")))
		f.now = f.now.Add(20 * time.Second)
		Expect(health(ctx, id, nil).CurrentStatus).To(Equal(api.HealthStatus("unknown")))
		Expect(health(ctx, id, nil).ErrorRatePct).To(HaveValue(Equal(100.0)), "the hour is not over")
	})

	It("counts every provider by its status, and lists them in detail by page", func(ctx context.Context) {
		counts := func() api.ProvidersHealth {
			GinkgoHelper()
			response, err := f.providers.GetProvidersHealth(as(ctx, tenant), api.GetProvidersHealthRequestObject{})
			Expect(err).NotTo(HaveOccurred())
			return response.(api.GetProvidersHealth200JSONResponse).Data
		}
		Expect(counts()).To(Equal(api.ProvidersHealth{}))
		f.register(ctx, tenant, "1 unknown")
		f.probe(ctx, tenant, f.register(ctx, tenant, "2 healthy"), true, 0)
		f.probe(ctx, tenant, f.register(ctx, tenant, "3 unhealthy"), false, 1)
		f.sample(ctx, f.register(ctx, tenant, "4 degraded"), time.Minute, 2, repeat(50, 20)...)
		f.sample(ctx, f.register(ctx, tenant, "5 healthy"), time.Minute, 1, repeat(50, 20)...)
		f.sample(ctx, f.register(ctx, tenant, "6 too few calls"), time.Minute, 19, repeat(50, 19)...)
		f.project(ctx, tenant)
		Expect(counts()).To(Equal(api.ProvidersHealth{Total: 6, Healthy: 2, Degraded: 1, Unhealthy: 1, Unknown: 2}))

		var statuses []string
		var cursor *string
		for {
			response, err := f.providers.ListProviderHealth(as(ctx, tenant), api.ListProviderHealthRequestObject{Params: api.ListProviderHealthParams{Limit: new(4), Cursor: cursor, Window: &day}})
			Expect(err).NotTo(HaveOccurred())
			page := response.(api.ListProviderHealth200JSONResponse)
			for _, one := range page.Data {
				statuses = append(statuses, string(one.CurrentStatus))
			}
			if cursor = page.Meta.Pagination.NextCursor; cursor == nil {
				break
			}
		}
		Expect(statuses).To(Equal([]string{"unknown", "healthy", "unhealthy", "degraded", "healthy", "unknown"}))
	})
})
