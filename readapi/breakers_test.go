package readapi_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
)

var _ = Describe("the circuit breaker of a provider", Label("postgres"), func() {
	It("is shown as it is now, what has ended by itself included", func(ctx context.Context) {
		f := newFixture(ctx)
		id := f.register(ctx, tenant, "Busy")
		show := func() api.CircuitBreaker {
			GinkgoHelper()
			f.project(ctx, tenant)
			response, err := f.providers.GetProviderHealth(as(ctx, tenant), api.GetProviderHealthRequestObject{ID: id})
			Expect(err).NotTo(HaveOccurred())
			return response.(api.GetProviderHealth200JSONResponse).Data.CircuitBreaker
		}
		change := func(changed providers.BreakerChanged) {
			GinkgoHelper()
			changed.ProviderID, changed.At = id, f.now
			f.append(ctx, tenant, providers.HealthStream(id), did("", "", 200), changed)
		}
		Expect(show()).To(Equal(api.CircuitBreaker{State: api.CircuitBreakerStateClosed}))

		opened, until := f.now.Truncate(time.Microsecond), f.now.Add(time.Minute).Truncate(time.Microsecond)
		change(providers.BreakerChanged{From: "closed", To: "open", Failures: 5, OpenedAt: &opened, Until: &until, Generation: 1})
		Expect(show()).To(Equal(api.CircuitBreaker{State: api.CircuitBreakerStateOpen, FailureCount: 5, OpenedAt: &opened}))
		f.now = f.now.Add(time.Minute + time.Second)
		Expect(show().State).To(Equal(api.CircuitBreakerStateHalfOpen), "the cooldown is over and nobody has called since")

		change(providers.BreakerChanged{From: "half_open", To: "closed", Generation: 2})
		until = f.now.Add(time.Second).Truncate(time.Microsecond)
		change(providers.BreakerChanged{From: "closed", To: "rate_limited", Until: &until, Generation: 2})
		Expect(show()).To(Equal(api.CircuitBreaker{
			State: api.CircuitBreakerStateClosed, Blocked: &api.CircuitBreakerBlocked{Reason: api.CircuitBreakerBlockedReasonRateLimited, Until: &until},
		}))
		f.now = f.now.Add(2 * time.Second)
		Expect(show().Blocked).To(BeNil())

		change(providers.BreakerChanged{From: "closed", To: "dead", Until: &until, Generation: 3})
		Expect(show().Blocked.Reason).To(Equal(api.CircuitBreakerBlockedReasonDead), "until a try has shown otherwise")
	})
})
