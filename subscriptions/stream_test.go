package subscriptions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/subscriptions"
)

var _ = Describe("A socket", func() {
	It("goes from the past into the live tail, each event once and in order", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		write(ctx, tenant, 700, 10)
		c := n.subscribe(ctx, "auditor."+tenant, "after=0")
		Expect(positionsOf(c.events(ctx, 500))).To(Equal(upTo(1, 500)))
		write(ctx, tenant, 300, 10)
		Expect(positionsOf(c.events(ctx, 500))).To(Equal(upTo(501, 1000)))
		for range 3 {
			write(ctx, tenant, 1, 10)
		}
		Expect(positionsOf(c.events(ctx, 3))).To(Equal(upTo(1001, 1003)))
	})

	It("without a position begins at the end, and says where that is", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		write(ctx, tenant, 5, 10)
		c := n.subscribe(ctx, "viewer."+tenant, "")
		write(ctx, tenant, 2, 10)
		first, err := c.next(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(first.text).To(Equal(`{"type":"position","position":5}`))
		Expect(positionsOf(c.events(ctx, 2))).To(Equal(upTo(6, 7)))
	})

	It("serves a tenant that has no events yet", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		c := n.subscribe(ctx, "viewer."+tenant, "after=0")
		write(ctx, tenant, 1, 10)
		Expect(positionsOf(c.events(ctx, 1))).To(Equal(upTo(1, 1)))
	})

	It("shows auditors and admins the export's fields, and others that something happened", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		write(ctx, tenant, 1, 3)
		recorded, err := store.Read(ctx, tenant, 0, 1)
		Expect(err).NotTo(HaveOccurred())
		event := recorded[0]
		for _, role := range []string{"auditor", "admin"} {
			for _, query := range []string{"after=0", ""} {
				c := n.subscribe(ctx, role+"."+tenant, query)
				if query == "" {
					write(ctx, tenant, 1, 3)
					Expect(c.events(ctx, 1)[0].text).To(ContainSubstring(`"data":"\"ddd\""`))
					continue
				}
				Expect(c.events(ctx, 1)[0].text).To(MatchJSON(fmt.Sprintf(`{"type": "event", "event_type": "x.v1", "tenant_id": %q, "position": 1, "stream": "a-1", "version": 1,
					"event_id": %q, "occurred_at": %q, "command_id": %q, "meta": "{\"actor\":{\"id\":\"ada\"}}", "data": "\"ddd\"", "prev_hash": "%x", "hash": "%x"}`,
					tenant, event.EventID, event.Time().Format("2006-01-02T15:04:05.000000Z07:00"), event.CommandID, event.PrevHash, event.Hash)))
			}
		}
		for _, role := range []string{"viewer", "operator"} {
			c := n.subscribe(ctx, role+"."+tenant, "after=0&types=x*")
			Expect(c.events(ctx, 1)[0].text).To(MatchJSON(`{"type": "event", "event_type": "x.v1", "position": 1, "stream": "a-1"}`), role)
			head, err := store.Head(ctx, tenant)
			Expect(err).NotTo(HaveOccurred())
			write(ctx, tenant, 2, 3)
			live := n.subscribe(ctx, role+"."+tenant, fmt.Sprint("after=", head.Position))
			Expect(live.events(ctx, 1)[0].text).NotTo(Or(ContainSubstring("ada"), ContainSubstring("ddd")), role)
		}
	})

	It("filters by stream and type, past and live alike, and never leaves its tenant", func(ctx context.Context) {
		n, tenant, other := start(subscriptions.Config{}), newTenant(), newTenant()
		filters := map[string]func(message) bool{
			"":                              func(message) bool { return true },
			"streams=*&types=*":             func(message) bool { return true },
			"streams=a-*":                   func(m message) bool { return m.Stream[0] == 'a' },
			"streams=a-1,b-*":               func(m message) bool { return m.Stream != "a-2" },
			"types=x.*":                     func(m message) bool { return m.EventType == "x.v1" },
			"streams=b-1&types=y.v1":        func(m message) bool { return m.Stream == "b-1" && m.EventType == "y.v1" },
			"streams=" + escaped(other+"*"): func(message) bool { return false },
		}
		write(ctx, other, 100, 10)
		write(ctx, tenant, 100, 10)
		all := n.subscribe(ctx, "viewer."+tenant, "after=0")
		clients := map[string]*client{}
		for filter := range filters {
			clients[filter] = n.subscribe(ctx, "viewer."+tenant, "after=0&"+filter)
		}
		write(ctx, other, 100, 10)
		write(ctx, tenant, 100, 10)
		everything := all.events(ctx, 200)
		for filter, fits := range filters {
			var want []int64
			for _, m := range everything {
				if fits(m) {
					want = append(want, m.Position)
				}
			}
			if len(want) > 0 {
				Expect(positionsOf(clients[filter].events(ctx, len(want)))).To(Equal(want), filter)
			}
		}
	})

	It("tells its position over what the filters leave out", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{Positions: 20 * time.Millisecond}), newTenant()
		write(ctx, tenant, 10, 10)
		c := n.subscribe(ctx, "viewer."+tenant, "after=0&streams=none")
		reach := func(position int64) {
			GinkgoHelper()
			last := int64(0)
			for last < position {
				read, err := c.next(ctx)
				Expect(err).NotTo(HaveOccurred())
				Expect(read.Type).To(Equal("position"))
				Expect(read.Position).To(BeNumerically(">=", last))
				last = read.Position
			}
			Expect(last).To(Equal(position))
		}
		reach(10)
		write(ctx, tenant, 7, 10)
		reach(17)
	})

	It("never tells a position before the events up to it", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{Positions: time.Millisecond}), newTenant()
		c := n.subscribe(ctx, "viewer."+tenant, "after=0")
		writing(func() {
			for range 50 {
				write(ctx, tenant, 20, 10)
			}
		})
		last := int64(0)
		for last < 1000 {
			read, err := c.next(ctx)
			Expect(err).NotTo(HaveOccurred())
			if read.Type == "event" {
				Expect(read.Position).To(Equal(last + 1))
			} else {
				Expect(read.Position).To(Equal(last))
			}
			last = read.Position
		}
	})

	It("answers pings", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		c := n.subscribe(ctx, "viewer."+tenant, "after=0")
		for range 3 {
			Expect(c.Write(ctx, websocket.MessageText, []byte(` {"type": "ping", "id": 7}`))).To(Succeed())
			read, err := c.next(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(read.text).To(Equal(`{"type":"pong"}`))
		}
	})

	It("reads large events through bounded pieces", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		c := n.subscribe(ctx, "auditor."+tenant, "after=0")
		writing(func() {
			for range 6 {
				write(ctx, tenant, 3, 700<<10)
			}
		})
		Expect(positionsOf(c.events(ctx, 18))).To(Equal(upTo(1, 18)))
		late := n.subscribe(ctx, "auditor."+tenant, "after=0")
		for i, m := range late.events(ctx, 18) {
			Expect(m.Position).To(BeNumerically("==", i+1))
			Expect(len(m.text)).To(BeNumerically(">", 700<<10))
		}
	})
})

var _ = Describe("Many sockets", func() {
	// Subscribers that come and go at random while several writers append must each see the whole log once and in order.
	It("miss nothing and see nothing twice, whatever breaks", func(ctx context.Context) {
		const writers, batches, subscribers = 4, 60, 12
		n, tenant := start(subscriptions.Config{Positions: 5 * time.Millisecond}), newTenant()
		var writing, reading sync.WaitGroup
		for writer := range writers {
			writing.Go(func() {
				defer GinkgoRecover()
				random := rand.New(rand.NewPCG(uint64(writer), 1))
				for range batches {
					events := make([]eventstore.NewEvent, 1+random.IntN(150))
					for i := range events {
						events[i] = eventstore.NewEvent{Stream: fmt.Sprint("s-", random.IntN(5)), Type: "t.v1", Data: make([]byte, random.IntN(800))}
					}
					_, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events})
					Expect(err).NotTo(HaveOccurred())
				}
			})
		}
		done := make(chan struct{})
		var head int64
		go func() {
			defer GinkgoRecover()
			defer close(done)
			writing.Wait()
			last, err := store.Head(ctx, tenant)
			Expect(err).NotTo(HaveOccurred())
			head = last.Position
		}()
		seen := make([][]message, subscribers)
		for i := range subscribers {
			reading.Go(func() {
				defer GinkgoRecover()
				random := rand.New(rand.NewPCG(uint64(i), 2))
				filter := []string{"", "&streams=s-1,s-3", "&streams=s-*&types=t*"}[i%3]
				after := int64(0)
				for {
					c := n.subscribe(ctx, "auditor."+tenant, fmt.Sprint("after=", after, filter))
					for budget := random.IntN(3000); budget > 0; budget-- {
						read, err := c.next(ctx)
						Expect(err).NotTo(HaveOccurred())
						Expect(read.Position).To(BeNumerically(">=", after))
						after = read.Position // of a position frame as well
						if read.Type == "event" {
							seen[i] = append(seen[i], read)
						}
						select {
						case <-done:
							if after >= head {
								return
							}
						default:
						}
					}
					if random.IntN(2) == 0 {
						_ = c.CloseNow()
					} else {
						_ = c.Close(websocket.StatusNormalClosure, "")
					}
				}
			})
		}
		reading.Wait()
		all, err := store.Read(ctx, tenant, 0, int(head))
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(HaveLen(int(head)))
		for i := range subscribers {
			var want []int64
			for _, event := range all {
				if i%3 != 1 || event.Stream == "s-1" || event.Stream == "s-3" {
					want = append(want, event.Position)
				}
			}
			Expect(positionsOf(seen[i])).To(Equal(want), "subscriber %d", i)
		}
	})
})
