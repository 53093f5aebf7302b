package projections_test

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the breakers projection", Label("postgres"), func() {
	It("shows the latest generation, whatever order nodes append in, and keeps the state under what blocks", func(ctx context.Context) {
		b := newBench(ctx)
		id := uuid.NewSHA1(uuid.Nil, []byte("p")).String()
		at := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
		until := at.Add(time.Minute)
		var log []projections.Event
		add := func(changed providers.BreakerChanged) {
			changed.ProviderID, changed.At = id, at
			position := int64(len(log) + 1)
			log = append(log, recordedAt(position, position, providers.HealthStream(id), changed))
		}
		add(providers.BreakerChanged{From: "closed", To: "open", Failures: 5, OpenedAt: &at, Until: &until, Generation: 2})
		add(providers.BreakerChanged{From: "half_open", To: "closed", Generation: 4})
		add(providers.BreakerChanged{From: "open", To: "half_open", Failures: 5, OpenedAt: &at, Generation: 3}) // of a node that was slow
		for _, size := range []int{1, 2, 3} {
			Expect(b.rowsOf(ctx, projections.Breakers{}, "provider_breakers", log, size)).To(ConsistOf(And(
				ContainSubstring(`"state": "closed"`), ContainSubstring(`"opened_at": null`), ContainSubstring(`"generation": 4`), ContainSubstring(`"failure_count": 0`))))
		}
		add(providers.BreakerChanged{From: "closed", To: "dead", Reason: "invalid_api_key", Until: &until, Generation: 4})
		Expect(b.rowsOf(ctx, projections.Breakers{}, "provider_breakers", log, 9)).To(ConsistOf(And(
			ContainSubstring(`"state": "closed"`), ContainSubstring(`"blocked": "dead"`), ContainSubstring(`"until": "2026-03-29T00:31:00+00:00"`))))
		add(providers.BreakerChanged{From: "dead", To: "closed", Generation: 5})
		Expect(b.rowsOf(ctx, projections.Breakers{}, "provider_breakers", log, 8)).To(ConsistOf(And(
			ContainSubstring(`"blocked": null`), ContainSubstring(`"until": null`))))
		log[0].Payload = providers.BreakerChanged{ProviderID: "no id"}
		Expect(projections.Breakers{}.Project(log[:1], &projections.Statements{})).To(MatchError(ContainSubstring(fmt.Sprint("position ", 1))))
	})
})
