package eventstore_test

import (
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("The past of a chain", Ordered, func() {
	var store *eventstore.Store
	var tenant string
	start := time.Date(2025, 2, 3, 4, 5, 6, 7000, time.UTC)

	BeforeAll(func(ctx context.Context) {
		now := start
		store = open(ctx, shared, eventstore.Config{Now: func() time.Time { return now }})
		tenant = newTenant()
		for i, stream := range []string{"a-1", "b-1", "a-1", "b-1", "a-1"} {
			eventType := "t.odd.v1"
			if i%2 == 1 {
				eventType = "t.even.v1"
			}
			_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{{Stream: stream, Type: eventType}}})
			Expect(err).NotTo(HaveOccurred())
			now = now.Add(time.Hour)
		}
	})

	positions := func(events []eventstore.Recorded, err error) []int64 {
		GinkgoHelper()
		Expect(err).NotTo(HaveOccurred())
		found := []int64{}
		for i := range events {
			found = append(found, events[i].Position)
		}
		return found
	}

	It("has a stream as it was", func(ctx context.Context) {
		Expect(positions(store.LoadUntil(ctx, tenant, "a-1", 4))).To(Equal([]int64{1, 3}))
		Expect(positions(store.LoadUntil(ctx, tenant, "a-1", 0))).To(BeEmpty())
		Expect(positions(store.LoadUntil(ctx, tenant, "a-1", 99))).To(Equal([]int64{1, 3, 5}))
	})

	It("has events at positions", func(ctx context.Context) {
		Expect(positions(store.At(ctx, tenant, []int64{4, 2, 99, 2}))).To(Equal([]int64{2, 4}))
		Expect(positions(store.At(ctx, tenant, nil))).To(BeEmpty())
	})

	It("tells whether anything of interest has happened", func(ctx context.Context) {
		newest := func(of string, after int64, types ...string) [2]int64 {
			GinkgoHelper()
			position, head, err := store.Newest(ctx, of, after, types)
			Expect(err).NotTo(HaveOccurred())
			return [2]int64{position, head}
		}
		Expect(newest(tenant, 0, "t.even.v1")).To(Equal([2]int64{4, 5}))
		Expect(newest(tenant, 4, "t.even.v1")).To(Equal([2]int64{0, 5}))
		Expect(newest(tenant, 1, "t.even.v1", "t.odd.v1")).To(Equal([2]int64{5, 5}))
		Expect(newest(tenant, 5, "t.odd.v1")).To(Equal([2]int64{0, 5}))
		Expect(newest(newTenant(), 0, "t.odd.v1")).To(Equal([2]int64{0, 0}))
	})

	It("tells which streams have an event of a type", func(ctx context.Context) {
		Expect(store.Having(ctx, tenant, "t.even.v1", []string{"a-1", "b-1", "nowhere"})).To(Equal([]string{"b-1"}))
		Expect(store.Having(ctx, newTenant(), "t.even.v1", []string{"b-1"})).To(BeEmpty())
		Expect(store.Having(ctx, tenant, "t.even.v1", nil)).To(BeEmpty())

		even, err := store.Of(ctx, tenant, "t.even.v1", []string{"b-1", "a-1", "nowhere"})
		Expect(err).NotTo(HaveOccurred())
		whole, err := store.Load(ctx, tenant, "b-1", 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(even).To(Equal(slices.DeleteFunc(whole, func(e eventstore.Recorded) bool { return e.Type != "t.even.v1" })))
		Expect(even).NotTo(BeEmpty())
		Expect(store.Of(ctx, newTenant(), "t.even.v1", []string{"b-1"})).To(BeEmpty())
	})

	It("has the last event of a type", func(ctx context.Context) {
		event, found, err := store.Last(ctx, tenant, "b-1", "t.even.v1")
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue())
		Expect(event.Position).To(BeEquivalentTo(4))
		_, found, err = store.Last(ctx, tenant, "b-1", "t.odd.v1")
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeFalse())
	})

	DescribeTable("has a position for every time", func(ctx context.Context, after time.Duration, position int64) {
		Expect(store.PositionAt(ctx, tenant, start.Add(after))).To(Equal(position))
	},
		Entry("before it", -time.Microsecond, int64(0)), Entry("its beginning", time.Duration(0), int64(1)),
		Entry("a moment after", time.Microsecond, int64(1)), Entry("just before the third", 2*time.Hour-time.Microsecond, int64(2)),
		Entry("at the third", 2*time.Hour, int64(3)), Entry("long after", 1000*time.Hour, int64(5)),
	)

	It("is not guessed where it has a hole", func(ctx context.Context) {
		hole := newTenant()
		fill(ctx, store, hole, 3)
		_, err := superuser(ctx, shared).Exec(ctx, `delete from events where tenant_id = $1 and position = 2`, hole)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.PositionAt(ctx, hole, start)
		Expect(err).To(MatchError(eventstore.ErrChainBroken))
	})
})
