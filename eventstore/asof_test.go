package eventstore_test

import (
	"context"
	"math/rand/v2"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("The position at a time", func() {
	It("is the one that a search from the start finds", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(8, 1))
		for range 8 {
			now := time.Date(2025, 2, 3, 4, 5, 6, 7000, time.UTC)
			begin := now
			store := open(ctx, shared, eventstore.Config{Now: func() time.Time { return now }})
			tenant := newTenant()
			var times []time.Time
			for range random.IntN(40) {
				now = now.Add(time.Duration(random.IntN(4)) * time.Microsecond) // many occur at the same time
				events := make([]eventstore.NewEvent, 1+random.IntN(3))
				for i := range events {
					events[i] = eventstore.NewEvent{Stream: "a-1", Type: "t.v1"}
				}
				result, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events})
				Expect(err).NotTo(HaveOccurred())
				for range events {
					times = append(times, time.UnixMicro(result.OccurredAt))
				}
			}
			for at := begin.Add(-2 * time.Microsecond); at.Before(now.Add(2 * time.Microsecond)); at = at.Add(time.Microsecond / 2) {
				want := int64(0)
				for want < int64(len(times)) && !times[want].After(at) {
					want++
				}
				Expect(store.PositionAt(ctx, tenant, at)).To(Equal(want), "at %s of %d events", at, len(times))
			}
		}
	})
})
