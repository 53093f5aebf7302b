package providers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/spec"
)

var _ = Describe("A provider's health", func() {
	at := func(minutes int, ok bool, failures int) providers.Probed {
		return providers.Probed{
			ProviderID: first, OK: ok, Failures: failures, Trigger: providers.OnSchedule,
			CheckedAt: noon.Add(time.Duration(minutes) * time.Minute),
		}
	}
	record := func(probe providers.Probed) providers.RecordProbe {
		probe.Failures = 0
		return providers.RecordProbe{Probe: probe}
	}
	to := func(probe providers.Probed) domain.To {
		return domain.To{Stream: providers.HealthStream(first), Event: probe}
	}

	DescribeTable("records a scheduled probe that says something new",
		func(before []domain.Event, now providers.Probed) {
			spec.Given(providers.HealthDecider(), before...).When(record(now)).Then(to(now))
		},
		Entry("the first one", nil, at(0, true, 0)),
		Entry("a failure after a success", []domain.Event{at(0, true, 0)}, at(1, false, 1)),
		Entry("a second failure", []domain.Event{at(0, false, 1)}, at(1, false, 2)),
		Entry("the third failure, which makes it unhealthy", []domain.Event{at(0, false, 2)}, at(1, false, 3)),
		Entry("a recovery, which ends the row of failures", []domain.Event{at(0, false, 7)}, at(1, true, 0)),
		Entry("the same success after ten minutes", []domain.Event{at(0, true, 0)}, at(10, true, 0)),
		Entry("the same failure after ten minutes", []domain.Event{at(0, false, 3)}, at(10, false, 4)),
	)

	DescribeTable("leaves out a scheduled probe that says nothing new",
		func(before, now providers.Probed) {
			spec.Given(providers.HealthDecider(), before).When(record(now)).Then()
		},
		Entry("the same success", at(0, true, 0), at(9, true, 0)),
		Entry("yet another failure", at(0, false, 3), at(9, false, 4)),
	)

	It("records every probe that somebody asked for", func() {
		probe := at(1, true, 0)
		probe.Trigger = providers.OnDemand
		spec.Given(providers.HealthDecider(), at(0, true, 0)).When(record(probe)).Then(to(probe))
	})

	It("records every sample, which does not count as a probe", func() {
		sample := providers.Sampled{ProviderID: first, Requests: 3}
		spec.Given(providers.HealthDecider()).When(providers.RecordSample{Sample: sample}).
			Then(domain.To{Stream: providers.HealthStream(first), Event: sample})
		Expect(providers.HealthDecider().Fold(sample).Tested).To(BeFalse())
	})

	DescribeTable("is a status",
		func(probes providers.Health, requests, failures int, expected providers.Status) {
			Expect(providers.StatusOf(probes, int64(requests), int64(failures))).To(Equal(expected))
		},
		Entry("unknown before any test", providers.Health{}, 0, 0, providers.Unknown),
		Entry("unknown with too few calls", providers.Health{}, 19, 19, providers.Unknown),
		Entry("healthy by a probe", providers.Health{Tested: true, OK: true}, 0, 0, providers.Healthy),
		Entry("unhealthy by a probe", providers.Health{Tested: true, Failures: 1}, 0, 0, providers.Unhealthy),
		Entry("healthy by calls although one probe failed", providers.Health{Tested: true, Failures: 2}, 20, 1, providers.Healthy),
		Entry("unhealthy by three probes although calls succeed", providers.Health{Tested: true, Failures: 3}, 20, 0, providers.Unhealthy),
		Entry("healthy at exactly 5 %", providers.Health{}, 100, 5, providers.Healthy),
		Entry("degraded above 5 %", providers.Health{}, 100, 6, providers.Degraded),
		Entry("degraded at exactly 50 %", providers.Health{}, 100, 50, providers.Degraded),
		Entry("unhealthy above 50 %", providers.Health{Tested: true, OK: true}, 100, 51, providers.Unhealthy),
	)
})
