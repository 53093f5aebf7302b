package eventstore_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("Selecting", func() {
	names := func(list string) eventstore.Names {
		GinkgoHelper()
		parsed, err := eventstore.ParseNames(list)
		Expect(err).NotTo(HaveOccurred())
		return parsed
	}

	It("finds what a look at every event finds, in any steps", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(5, 6))
		store, tenant := open(ctx, shared, eventstore.Config{}), newTenant()
		streams, types := []string{"a-1", "a-2", "ab-1", "b-1", "b_1"}, []string{"a.x.v1", "a.y.v1", "b.x.v1"}
		for range 60 {
			events := make([]eventstore.NewEvent, 1+random.IntN(4))
			for i := range events {
				events[i] = eventstore.NewEvent{
					Stream: streams[random.IntN(len(streams))], Type: types[random.IntN(len(types))], Data: make([]byte, random.IntN(50)),
				}
			}
			_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte("meta")})
			Expect(err).NotTo(HaveOccurred())
		}
		all, err := store.Read(ctx, tenant, 0, math.MaxInt32)
		Expect(err).NotTo(HaveOccurred())
		head := all[len(all)-1].Position
		for _, by := range [][2]string{
			{"", ""},
			{"a-1", ""},
			{"a-1", "a.*"},
			{"a-1,b-1", ""},
			{"a-*", "a.x.v1"},
			{"a*,b-1", "a.*,b.x.v1"},
			{"b_*", ""},
			{"", "b.*"},
			{"none", ""},
			{"none*", "none"},
			{"a-1", "none"},
		} {
			for range 8 {
				at := fmt.Sprint(by)
				selection := eventstore.Selection{
					After: random.Int64N(head + 2), Streams: names(by[0]), Types: names(by[1]), Limit: 1 + random.IntN(20), MaxBytes: random.IntN(200),
				}
				var want, got []int64
				for i := range all {
					if all[i].Position > selection.After && selection.Streams.Match(all[i].Stream) && selection.Types.Match(all[i].Type) {
						want = append(want, all[i].Position)
					}
				}
				for {
					selection.UpTo = 0
					if random.IntN(2) == 0 {
						selection.UpTo = selection.After + 1 + random.Int64N(40)
					}
					found, err := store.Select(ctx, tenant, selection)
					Expect(err).NotTo(HaveOccurred())
					Expect(found.Head).To(Equal(head), at)
					Expect(len(found.Events)).To(BeNumerically("<=", selection.Limit), at)
					bytes := 0
					for i := range found.Events {
						event := &found.Events[i]
						Expect(selection.MaxBytes == 0 || bytes <= selection.MaxBytes).To(BeTrue(), "%s: one more after %d bytes", at, bytes)
						bytes += len(event.Meta) + len(event.Data)
						Expect(*event).To(Equal(all[event.Position-1]), at)
						got = append(got, event.Position)
					}
					if found.UpTo >= head {
						break
					}
					Expect(found.UpTo).To(BeNumerically(">", selection.After), at+": it gets on")
					selection.After = found.UpTo
				}
				Expect(got).To(Equal(want), at)
			}
		}
	})

	It("looks at so many positions and says how far it got", func(ctx context.Context) {
		store, tenant := open(ctx, shared, eventstore.Config{}), newTenant()
		const events = 20_500
		for range events / 500 {
			batch := make([]eventstore.NewEvent, 500)
			for i := range batch {
				batch[i] = eventstore.NewEvent{Stream: "a-1", Type: "t.v1"}
			}
			_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: batch})
			Expect(err).NotTo(HaveOccurred())
		}
		found, err := store.Select(ctx, tenant, eventstore.Selection{Streams: names("b*"), Limit: 5})
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(Equal(eventstore.Selected{UpTo: 20_000, Head: events}))
		found, err = store.Select(ctx, tenant, eventstore.Selection{After: found.UpTo, Streams: names("b*"), Limit: 5})
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(Equal(eventstore.Selected{UpTo: events, Head: events}))
		found, err = store.Select(ctx, tenant, eventstore.Selection{After: math.MaxInt64, Limit: 5})
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(Equal(eventstore.Selected{UpTo: math.MaxInt64, Head: events}))
	})

	It("finds nothing of another tenant, nor of one without a chain", func(ctx context.Context) {
		store, tenant := open(ctx, shared, eventstore.Config{}), newTenant()
		_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{{Stream: "a-1", Type: "t.v1"}}})
		Expect(err).NotTo(HaveOccurred())
		for _, streams := range []string{"", "a-1", "a*"} {
			Expect(store.Select(ctx, newTenant(), eventstore.Selection{Streams: names(streams), Limit: 5})).To(Equal(eventstore.Selected{}))
		}
	})

	It("loads a part of a stream, from either end", func(ctx context.Context) {
		store, tenant := open(ctx, shared, eventstore.Config{}), newTenant()
		for i := range 6 {
			_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{{Stream: fmt.Sprint("s-", i%2), Type: "t.v1"}}})
			Expect(err).NotTo(HaveOccurred())
		}
		versions := func(events []eventstore.Recorded, err error) []int64 {
			GinkgoHelper()
			Expect(err).NotTo(HaveOccurred())
			var list []int64
			for i := range events {
				Expect(events[i].Stream).To(Equal("s-1"))
				Expect(events[i].Position).To(Equal(2 * events[i].Version))
				list = append(list, events[i].Version)
			}
			return list
		}
		Expect(versions(store.LoadSome(ctx, tenant, "s-1", 0, 100, 2))).To(Equal([]int64{1, 2}))
		Expect(versions(store.LoadSome(ctx, tenant, "s-1", 1, 5, 10))).To(Equal([]int64{2}))
		Expect(versions(store.LoadNewest(ctx, tenant, "s-1", 100, 2))).To(Equal([]int64{2, 3}))
		Expect(versions(store.LoadNewest(ctx, tenant, "s-1", 5, 1))).To(Equal([]int64{2}))
		Expect(versions(store.LoadNewest(ctx, tenant, "s-1", 1, 1))).To(BeNil())
		Expect(versions(store.LoadNewest(ctx, newTenant(), "s-1", 100, 1))).To(BeNil())
		Expect(versions(store.LoadNewest(ctx, tenant, "s-1\x00", 100, 1))).To(BeNil())
		Expect(versions(store.LoadSome(ctx, tenant, "\xff", 0, 100, 1))).To(BeNil())
	})
})
