package projections_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the runner", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	It("finds work by polling alone, of tenants that are new, and passes over types that it does not handle", func(ctx context.Context) {
		start(b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"}))
		for i := range 3 {
			b.append(ctx, tenantName(i), counted{Account: "a", N: 2}, passed{Text: "x"}, counted{Account: "b", N: 3})
		}
		for i := range 3 {
			Eventually(ctx, func() row { return b.checkpoint(ctx, tenantName(i), "accounts") }, soon).Should(Equal(row{Position: 3, Status: "live"}))
			Expect(b.ledger(ctx, tenantName(i), "accounts")).To(Equal([]int64{1, 3}))
			Expect(b.total(ctx, tenantName(i), "accounts")).To(BeEquivalentTo(5))
		}
	})

	It("writes nothing for idle tenants", func(ctx context.Context) {
		position := b.append(ctx, "acme", ones(3)...)
		runner := b.runner(oldCodec(), projections.Config{PollInterval: time.Millisecond}, accounts{name: "accounts"})
		start(runner)
		Eventually(ctx, func() int64 { return b.checkpoint(ctx, "acme", "accounts").Position }, soon).Should(Equal(position))
		version := func() (xmin string) {
			Expect(b.owner.QueryRow(ctx, `select xmin::text || ctid::text from projection_checkpoints`).Scan(&xmin)).To(Succeed())
			return xmin
		}
		before := version()
		runner.Wake("acme")
		runner.Wake("nobody")
		Consistently(version, "200ms", "10ms").Should(Equal(before))
		Expect(b.checkpoint(ctx, "nobody", "accounts")).To(Equal(row{}))
	})

	It("projects at once when it is woken", func(ctx context.Context) {
		projected := make(chan int64, 100)
		runner := b.runner(oldCodec(), projections.Config{PollInterval: time.Hour, Projected: func(_, projection string, position int64) {
			if projection == "accounts" {
				projected <- position
			}
		}}, accounts{name: "accounts"})
		start(runner)
		// The first look of the runner may find the first event; the second one is found by Wake or not at all.
		for range 2 {
			position := b.append(ctx, "acme", ones(1)...)
			Eventually(func() int64 {
				runner.Wake("acme")
				select {
				case reached := <-projected:
					return reached
				default:
					return 0
				}
			}, soon, "1ms").Should(Equal(position))
		}
	})

	It("keeps within the bounds of a batch", func(ctx context.Context) {
		b.append(ctx, "acme", ones(95)...)
		large := counted{Account: strings.Repeat("x", 1000)}
		b.append(ctx, "acme", large, large, large, large)
		var mu sync.Mutex
		var sizes []int
		projector := accounts{name: "accounts", before: func(events []projections.Event) {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(events))
		}}
		start(b.runner(oldCodec(), projections.Config{MaxBatchEvents: 40, MaxBatchBytes: 2500}, projector))
		Eventually(ctx, func() int64 { return b.checkpoint(ctx, "acme", "accounts").Position }, soon).Should(BeEquivalentTo(99))
		mu.Lock()
		defer mu.Unlock()
		Expect(sizes[0]).To(BeNumerically("<=", 40))
		Expect(sizes[len(sizes)-1]).To(BeNumerically("<=", 3), "events of a kilobyte")
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(99)))
	})

	It("projects each event exactly once under several runners that are killed all the time", func(ctx context.Context) {
		const tenants, chunks, chunk = 3, 40, 25
		two := []projections.Projector{accounts{name: "accounts"}, accounts{name: "others"}}
		var group sync.WaitGroup
		writing, written := context.WithCancel(ctx)
		for range 3 { // nodes that come and go, some by a cancelled context, all by cut connections
			group.Go(func() {
				defer GinkgoRecover()
				pool := b.pool(ctx, "archon_worker")
				defer pool.Close()
				for writing.Err() == nil {
					life, end := context.WithTimeout(writing, time.Duration(20+rand.IntN(100))*time.Millisecond)
					Expect(b.runnerOn(pool, oldCodec(), projections.Config{MaxBatchEvents: 7, Drain: time.Millisecond}, two...).Run(life)).To(Succeed())
					end()
				}
			})
		}
		group.Go(func() {
			defer GinkgoRecover()
			for writing.Err() == nil {
				b.killConnections(ctx)
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) //nolint:forbidigo // the pace of the killing is what is random
			}
		})
		for i := range chunks {
			for tenant := range tenants {
				b.append(ctx, tenantName(tenant), ones(chunk+i%3)...)
			}
		}
		written()
		group.Wait()

		registry := prometheus.NewRegistry()
		start(b.runner(oldCodec(), projections.Config{Metrics: registry}, two...))
		for tenant := range tenants {
			for _, name := range []string{"accounts", "others"} {
				head, err := b.store.Head(ctx, tenantName(tenant))
				Expect(err).NotTo(HaveOccurred())
				Eventually(ctx, func() row { return b.checkpoint(ctx, tenantName(tenant), name) }, soon).Should(Equal(row{Position: head.Position, Status: "live"}))
				Expect(b.ledger(ctx, tenantName(tenant), name)).To(Equal(upTo(head.Position)))
				Expect(b.total(ctx, tenantName(tenant), name)).To(Equal(head.Position))
			}
		}
		Expect(testutil.GatherAndLint(registry)).To(BeEmpty())
	})

	It("recovers by itself when all connections are cut under load", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{Workers: 4}, accounts{name: "accounts"}, accounts{name: "others"})
		start(runner)
		var last int64
		for i := range 30 {
			last = b.append(ctx, "acme", ones(50)...)
			runner.Wake("acme")
			if i%3 == 0 {
				b.killConnections(ctx)
			}
		}
		for _, name := range []string{"accounts", "others"} {
			Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", name) }, soon).Should(Equal(row{Position: last, Status: "live"}))
			Expect(b.ledger(ctx, "acme", name)).To(Equal(upTo(last)))
		}
	})

	It("finishes the batch in hand when it is stopped, and begins no other", func(ctx context.Context) {
		b.append(ctx, "acme", ones(30)...)
		entered, release := make(chan struct{}, 10), make(chan struct{})
		projector := accounts{name: "accounts", before: func([]projections.Event) {
			entered <- struct{}{}
			<-release
		}}
		runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 10}, projector)
		running, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- runner.Run(running) }()
		Eventually(entered, soon).Should(Receive())
		Expect(runner.Run(ctx)).To(MatchError(projections.ErrRunning))
		cancel()
		Consistently(done, "50ms").ShouldNot(Receive())
		close(release)
		Eventually(done, soon).Should(Receive(BeNil()))
		Expect(b.checkpoint(ctx, "acme", "accounts")).To(Equal(row{Position: 10, Status: "live"}))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(10)))
	})

	It("lets nobody write who was away in the middle of a batch", func(ctx context.Context) {
		b.append(ctx, "acme", ones(10)...)
		entered, release := make(chan struct{}, 10), make(chan struct{})
		zombie := b.runner(oldCodec(), projections.Config{IdleTimeout: 200 * time.Millisecond, MaxBatchEvents: 5}, accounts{name: "accounts", before: func([]projections.Event) {
			entered <- struct{}{}
			<-release
		}})
		start(zombie)
		Eventually(entered, soon).Should(Receive())

		// PostgreSQL ends the zombie's transaction, another node goes on, and then the zombie wakes up.
		start(b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"}))
		Eventually(ctx, func() int64 { return b.checkpoint(ctx, "acme", "accounts").Position }, soon).Should(BeEquivalentTo(10))
		close(release)
		b.append(ctx, "acme", ones(5)...)
		Eventually(ctx, func() int64 { return b.checkpoint(ctx, "acme", "accounts").Position }, soon).Should(BeEquivalentTo(15))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(15)))
	})

	It("writes nothing of a batch that it had read before another node went on", func(ctx context.Context) {
		last := b.append(ctx, "acme", ones(40)...)
		committed, release := make(chan int64, 10), make(chan struct{})
		// This one stands still between its first batch and the second one, which it has read while it wrote the first.
		slow := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 10, Projected: func(_, _ string, position int64) {
			committed <- position
			<-release
		}}, accounts{name: "accounts"})
		start(slow)
		Eventually(committed, soon).Should(Receive(BeEquivalentTo(10)))
		Expect(b.runner(oldCodec(), projections.Config{MaxBatchEvents: 7}, accounts{name: "accounts"}).Wait(ctx, "acme", 21)).To(Succeed())
		close(release)
		Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", "accounts") }, soon).Should(Equal(row{Position: last, Status: "live"}))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(last)))
	})

	It("makes the same rows whatever the batches, live or from zero", func(ctx context.Context) {
		for round := range 5 {
			tenant := tenantName(round)
			want := map[string]int64{}
			live := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 1 + rand.IntN(20)}, accounts{name: "live"})
			for range 10 {
				var payloads []eventstore.Typed
				for range 1 + rand.IntN(30) {
					if rand.IntN(3) == 0 {
						payloads = append(payloads, passed{Text: "x"})
						continue
					}
					event := counted{Account: string(rune('a' + rand.IntN(5))), N: rand.Int64N(100)}
					want[event.Account] += event.N
					payloads = append(payloads, event)
				}
				last := b.append(ctx, tenant, payloads...)
				if rand.IntN(2) == 0 {
					Expect(live.Wait(ctx, tenant, last)).To(Succeed())
				}
			}
			head, err := b.store.Head(ctx, tenant)
			Expect(err).NotTo(HaveOccurred())
			Expect(live.Wait(ctx, tenant, head.Position)).To(Succeed())
			rebuilt := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 1 + rand.IntN(200)}, accounts{name: "rebuilt"})
			Expect(rebuilt.Wait(ctx, tenant, head.Position)).To(Succeed())

			got := func(name string) map[string]int64 {
				rows := map[string]int64{}
				found, err := b.owner.Query(ctx, `select account, total from test_accounts where tenant_id = $1 and projection = $2`, tenant, name)
				Expect(err).NotTo(HaveOccurred())
				defer found.Close()
				for found.Next() {
					var account string
					var total int64
					Expect(found.Scan(&account, &total)).To(Succeed())
					rows[account] = total
				}
				Expect(found.Err()).NotTo(HaveOccurred())
				return rows
			}
			Expect(got("live")).To(Equal(want))
			Expect(got("rebuilt")).To(Equal(want))
			Expect(b.ledger(ctx, tenant, "rebuilt")).To(Equal(b.ledger(ctx, tenant, "live")))
		}
	})

	It("refuses projectors that can't work", func(context.Context) {
		for _, projectors := range [][]projections.Projector{
			{accounts{name: ""}},
			{accounts{name: "twice"}, accounts{name: "twice"}},
		} {
			_, err := projections.NewRunner(b.worker, oldCodec(), projections.Config{}, projectors...)
			Expect(err).To(HaveOccurred())
		}
		empty, err := eventstore.NewCodec()
		Expect(err).NotTo(HaveOccurred())
		_, err = projections.NewRunner(b.worker, empty, projections.Config{}, accounts{name: "accounts"})
		Expect(err).To(MatchError(eventstore.ErrUnknownType))
	})
})
