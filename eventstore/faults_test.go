package eventstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// poolOn opens a pool on a connection string.
func poolOn(ctx context.Context, dsn string, conns int32) *pgxpool.Pool {
	GinkgoHelper()
	config, err := pgxpool.ParseConfig(dsn)
	Expect(err).NotTo(HaveOccurred())
	config.MaxConns = conns
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(pool.Close)
	return pool
}

var _ = Describe("Two nodes on one tenant", func() {
	It("share it: nobody starves, and the chain is one", func(ctx context.Context) {
		const callers, duration, slowest = 16, 1500 * time.Millisecond, 5 * time.Second
		tenant := newTenant()
		nodes := []*eventstore.Store{open(ctx, shared, eventstore.Config{}), open(ctx, shared, eventstore.Config{})}
		counts := make([]atomic.Int64, len(nodes)*callers)
		var worst atomic.Int64
		deadline := time.Now().Add(duration)
		var all sync.WaitGroup
		var failed atomic.Value
		for i := range counts {
			all.Go(func() {
				for time.Now().Before(deadline) {
					before := time.Now()
					if _, err := nodes[i%len(nodes)].Append(ctx, eventstore.Append{
						Tenant: tenant, Events: []eventstore.NewEvent{{Stream: fmt.Sprintf("a-%d", i), Type: "t.v1"}},
					}); err != nil {
						failed.Store(err)
						return
					}
					counts[i].Add(1)
					if took := int64(time.Since(before)); took > worst.Load() {
						worst.Store(took)
					}
				}
			})
		}
		all.Wait()
		Expect(failed.Load()).To(BeNil())
		var sums [2]int64
		for i := range counts {
			Expect(counts[i].Load()).To(BeNumerically(">", 3), "caller %d", i)
			sums[i%len(nodes)] += counts[i].Load()
		}
		AddReportEntry("appends a node", sums)
		AddReportEntry("slowest", time.Duration(worst.Load()).String())
		Expect(time.Duration(worst.Load())).To(BeNumerically("<", slowest))
		Expect(min(sums[0], sums[1])*5).To(BeNumerically(">", max(sums[0], sums[1])), "neither gets less than a fifth of the other: %v", sums)
		Expect(expectIntact(ctx, nodes[0], tenant).Checked).To(Equal(sums[0] + sums[1]))
	})
})

var _ = Describe("300 callers on a pool of 20", func() {
	It("are all served, through one connection a tenant", func(ctx context.Context) {
		const callers, each, conns = 300, 10, 20
		tenant := newTenant()
		pool := poolOf(ctx, shared, "archon_app", conns)
		store := openOn(pool, eventstore.Config{})
		var most atomic.Int32
		watching, stop := context.WithCancel(ctx)
		go func() {
			for watching.Err() == nil {
				most.Store(max(most.Load(), pool.Stat().AcquiredConns()))
			}
		}()
		var all sync.WaitGroup
		var failed atomic.Value
		for i := range callers {
			all.Go(func() {
				for n := range int64(each) {
					if _, err := store.Append(ctx, single(tenant, fmt.Sprintf("a-%d", i), n)); err != nil {
						failed.Store(err)
					}
				}
			})
		}
		all.Wait()
		stop()
		Expect(failed.Load()).To(BeNil())
		Expect(most.Load()).To(BeEquivalentTo(1), "waiting appends hold no connection")
		Expect(expectIntact(ctx, store, tenant).Checked).To(BeEquivalentTo(callers * each))
	})
})

var _ = Describe("A connection that is cut during a commit", func() {
	DescribeTable("tells the caller the truth where it is cut", func(ctx context.Context, kind cut) {
		const atTheAppend = 400 // bytes: only the append statement's pieces are longer
		var armed atomic.Bool
		p, dsn := newProxy(shared.URL("archon_app"), func(piece []byte) cut {
			if len(piece) > atTheAppend && armed.CompareAndSwap(true, false) {
				return kind
			}
			return cutNothing
		})
		tenant := newTenant()
		store := openOn(poolOn(ctx, dsn, 2), eventstore.Config{})
		fill(ctx, store, tenant, 3) // connections are open, statements prepared
		armed.Store(true)
		request := single(tenant, "cut-1", 0)
		request.Events[0].Data = make([]byte, atTheAppend)
		result, err := store.Append(ctx, request)
		Expect(err).NotTo(HaveOccurred())
		Expect(p.cuts[kind].Load()).To(BeEquivalentTo(1))
		Expect(result.First).To(BeEquivalentTo(4))
		loaded, err := store.Load(ctx, tenant, "cut-1", 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(loaded).To(HaveLen(1))
		Expect(loaded[0].Position).To(Equal(result.First))
		fill(ctx, store, tenant+"-2", 1)
		expectIntact(ctx, store, tenant)
	},
		Entry("before the server has the statement", cutBefore), Entry("after", cutAfter),
		Entry("after the server has answered", cutAnswer), Entry("and the statement comes late", cutLate),
	)

	It("tells every caller the truth, at any moment, under load", func(ctx context.Context) {
		const writers, duration = 24, 4 * time.Second
		l := newLedger()
		p, dsn := newProxy(shared.URL("archon_app"), sometimes(12))
		store := openOn(poolOn(ctx, dsn, 6), eventstore.Config{})
		l.run(ctx, store, writers, func() { <-time.After(duration) })
		for kind := cutBefore; kind < cutKinds; kind++ {
			Expect(p.cuts[kind].Load()).To(BeNumerically(">", 3))
		}
		l.audit(ctx, open(ctx, shared, eventstore.Config{}))
		Expect(l.acknowledged.Load()).To(BeNumerically(">", writers))
		Expect(l.unknown.Load()).To(BeZero(), "the server was there all the time")
	})

	It("tells every caller the truth with two nodes on the tenant", func(ctx context.Context) {
		const writers, duration = 8, 3 * time.Second
		l := newLedger()
		_, dsn := newProxy(shared.URL("archon_app"), sometimes(20))
		var nodes sync.WaitGroup
		for range 2 {
			store := openOn(poolOn(ctx, dsn, 4), eventstore.Config{})
			nodes.Go(func() {
				defer GinkgoRecover()
				l.run(ctx, store, writers, func() { <-time.After(duration) })
			})
		}
		nodes.Wait()
		l.audit(ctx, open(ctx, shared, eventstore.Config{}))
		Expect(l.acknowledged.Load()).To(BeNumerically(">", writers))
	})

	It("says that the outcome is unknown where the database stays away, and goes on when it is back", func(ctx context.Context) {
		var p *proxy
		var armed atomic.Bool
		p, dsn := newProxy(shared.URL("archon_app"), func(piece []byte) cut {
			if len(piece) > 1000 && armed.CompareAndSwap(true, false) {
				p.refusing.Store(true)
				go p.cutAll()
				return cutAnswer
			}
			return cutNothing
		})
		tenant := newTenant()
		store := openOn(poolOn(ctx, dsn, 2), eventstore.Config{ResolveWithin: 200 * time.Millisecond, UnavailableAfter: 100 * time.Millisecond})
		fill(ctx, store, tenant, 1)
		armed.Store(true)
		request := single(tenant, "cut-1", 0)
		request.Events[0].Data = make([]byte, 1000)
		_, err := store.Append(ctx, request)
		Expect(err).To(MatchError(eventstore.ErrOutcomeUnknown))
		_, err = store.Append(ctx, single(tenant, "cut-2", 0))
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		p.refusing.Store(false)
		Eventually(func() error {
			_, err := store.Append(ctx, single(tenant, "cut-3", 0))
			return err
		}, bound).Should(Succeed())
		Expect(store.Load(ctx, tenant, "cut-2", 0)).To(BeEmpty())
		expectIntact(ctx, store, tenant)
	})
})

var _ = Describe("Backends that are terminated in storms", func() {
	It("cost no write and no truth", func(ctx context.Context) {
		const writers, storms = 24, 60
		db := newDatabase(ctx)
		root := superuser(ctx, db)
		l := newLedger()
		store := open(ctx, db, eventstore.Config{})
		killed := 0
		l.run(ctx, store, writers, func() {
			for range storms {
				var n int
				Expect(root.QueryRow(ctx, `select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
					where datname = current_database() and usename = 'archon_app') t`).Scan(&n)).To(Succeed())
				killed += n
				before := l.acknowledged.Load()
				Eventually(l.acknowledged.Load, bound, time.Millisecond).Should(BeNumerically(">", before), "it goes on")
			}
		})
		Expect(killed).To(BeNumerically(">", storms/2))
		l.audit(ctx, store)
		Expect(l.unknown.Load()).To(BeZero())
	})
})
