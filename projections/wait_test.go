package projections_test

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/projections"
)

var _ = Describe("waiting for a position", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	It("projects itself where nobody does", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"}, accounts{name: "others"})
		position := b.append(ctx, "acme", ones(5)...)
		Expect(runner.Wait(ctx, "acme", position, "others")).To(Succeed())
		Expect(b.ledger(ctx, "acme", "others")).To(Equal(upTo(5)))
		Expect(b.checkpoint(ctx, "acme", "accounts")).To(Equal(row{}), "only what was asked for")
		Expect(runner.Wait(ctx, "acme", position)).To(Succeed())
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(5)))
		Expect(runner.Wait(ctx, "nobody", 0)).To(Succeed())
	})

	It("shares the work among many waiters, beside a running runner", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"}, accounts{name: "others"})
		start(runner)
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				defer GinkgoRecover()
				for range 5 {
					tenant := tenantName(i % 3)
					position := b.append(ctx, tenant, ones(1)...)
					runner.Wake(tenant)
					Expect(runner.Wait(ctx, tenant, position)).To(Succeed())
					Expect(b.checkpoint(ctx, tenant, "others").Position).To(BeNumerically(">=", position))
				}
			})
		}
		group.Wait()
		var appended int64
		for i := range 3 {
			head, err := b.store.Head(ctx, tenantName(i))
			Expect(err).NotTo(HaveOccurred())
			appended += head.Position
			Expect(b.ledger(ctx, tenantName(i), "accounts")).To(Equal(upTo(head.Position)))
		}
		Expect(appended).To(BeEquivalentTo(250))
	})

	It("waits while another node has the lock, and goes on when it is free", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(1)...))).To(Succeed())
		position := b.append(ctx, "acme", ones(1)...)

		tx, err := b.owner.Begin(ctx)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = tx.Rollback(ctx) }()
		_, err = tx.Exec(ctx, `select from projection_checkpoints for update`)
		Expect(err).NotTo(HaveOccurred())

		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		Expect(runner.Wait(short, "acme", position)).To(MatchError(projections.ErrLagging))

		waited := make(chan error, 1)
		go func() { waited <- runner.Wait(ctx, "acme", position) }()
		Consistently(waited, "50ms").ShouldNot(Receive())
		Expect(tx.Rollback(ctx)).To(Succeed())
		Eventually(waited, soon).Should(Receive(BeNil()))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(2)))
	})

	It("ends with its context where the position does not exist yet", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		for _, tenant := range []string{"nobody", "acme"} {
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			Expect(runner.Wait(short, tenant, 2)).To(MatchError(projections.ErrLagging))
			cancel()
			b.append(ctx, "acme", ones(1)...)
		}
		Expect(b.checkpoint(ctx, "nobody", "accounts")).To(Equal(row{}), "waiting writes nothing")
	})

	It("survives a database that goes away meanwhile", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		position := b.append(ctx, "acme", ones(500)...)
		waited := make(chan error, 1)
		go func() { waited <- runner.Wait(ctx, "acme", position) }()
		for range 5 {
			b.killConnections(ctx)
		}
		Eventually(waited, soon).Should(Receive(BeNil()))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(position)))
	})

	It("says at once that a projection is paused", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(1)...))).To(Succeed())
		b.exec(ctx, `update projection_checkpoints set status = 'paused'`)
		Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(1)...))).To(MatchError(projections.ErrHalted))
	})

	It("knows its projections", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		Expect(runner.Names()).To(Equal([]string{"accounts"}))
		Expect(runner.Wait(ctx, "acme", 1, "acounts")).To(MatchError(projections.ErrUnknownProjection))
		_, err := runner.Retry(ctx, "acounts", "")
		Expect(err).To(MatchError(projections.ErrUnknownProjection))
	})

	It("tells the rate and the lag", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		position := b.append(ctx, "acme", ones(1000)...)
		states, err := runner.States(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(states).To(HaveLen(1))
		Expect(states[0]).To(And(HaveField("LagEvents", position), HaveField("Head", position), HaveField("EventsPerSecond", BeZero())))
		Eventually(ctx, func() int64 {
			states, err := runner.States(ctx)
			Expect(err).NotTo(HaveOccurred())
			return states[0].LagMS
		}, soon).Should(BeNumerically(">", 20))
		Expect(runner.Wait(ctx, "acme", position)).To(Succeed())
		b.exec(ctx, `update projection_checkpoints set rate_since = now() - interval '4 s'`)
		states, err = runner.StatesOf(ctx, "acme")
		Expect(err).NotTo(HaveOccurred())
		Expect(states[0]).To(And(HaveField("LagEvents", BeZero()), HaveField("LagMS", BeZero()), HaveField("EventsPerSecond", BeNumerically("~", 250, 10))))
		states, err = runner.StatesOf(ctx, "nobody")
		Expect(err).NotTo(HaveOccurred())
		Expect(states).To(Equal([]projections.State{{Name: "accounts", Version: 1, Status: "live"}}))
	})

	It("fails where the database is away", func(ctx context.Context) {
		b.append(ctx, "acme", ones(1)...)
		pool := b.pool(ctx, "archon_worker")
		runner := b.runnerOn(pool, oldCodec(), projections.Config{}, accounts{name: "accounts"})
		start(runner)
		pool.Close()
		_, err := runner.States(ctx)
		Expect(err).To(HaveOccurred())
		_, err = runner.Retry(ctx, "accounts", "")
		Expect(err).To(HaveOccurred())
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		Expect(runner.Wait(short, "acme", 100)).To(MatchError(projections.ErrLagging))
	})

	It("refuses a connection that delivers text instead of reading nonsense", func(ctx context.Context) {
		config := b.worker.Config()
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		pool, err := poolOf(ctx, config)
		Expect(err).NotTo(HaveOccurred())
		defer pool.Close()
		runner := b.runnerOn(pool, oldCodec(), projections.Config{}, accounts{name: "accounts"})
		position := b.append(ctx, "acme", ones(1)...)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		Expect(runner.Wait(short, "acme", position)).To(MatchError(projections.ErrLagging))
		Expect(b.ledger(ctx, "acme", "accounts")).To(BeEmpty())
	})
})
