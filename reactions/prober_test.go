package reactions_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/reactions"
)

const bound = 20 * time.Second

// probes records what was probed.
type probes struct {
	mu   sync.Mutex
	seen []string
}

func (p *probes) probe(_ context.Context, _, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, id)
	return nil
}

func (p *probes) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// startProber runs a prober until the spec ends or stop is called.
func startProber(prober *reactions.Prober) (stop func()) {
	if prober.Log == nil {
		prober.Log = slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- prober.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		Eventually(ended, bound).Should(Receive(BeNil()))
	})
	DeferCleanup(stop)
	return stop
}

var _ = Describe("the prober", Label("postgres"), func() {
	var db *testdb.Database
	var worker *pgxpool.Pool
	BeforeEach(func() {
		db = database()
		worker = pool(db, "archon_worker")
	})

	It("shares the work with other nodes: each due provider is probed once", func(ctx context.Context) {
		ids := dueNow(ctx, worker, 60)
		seen := &probes{}
		for range 3 {
			startProber(&reactions.Prober{Pool: worker, Probe: seen.probe, Interval: time.Hour})
		}
		Eventually(seen.list, bound).Should(ConsistOf(ids))
		var due int
		Expect(worker.QueryRow(ctx, `select count(*) from provider_probes where due_at <= now()`).Scan(&due)).To(Succeed())
		Expect(due).To(BeZero())
		Expect(seen.list()).To(HaveLen(60))
	})

	It("spreads what was due together over the interval, give or take a fifth", func(ctx context.Context) {
		dueNow(ctx, worker, 80)
		seen := &probes{}
		startProber(&reactions.Prober{Pool: worker, Probe: seen.probe, Interval: time.Hour})
		Eventually(seen.list, bound).Should(HaveLen(80))
		rows, err := worker.Query(ctx, `select extract(epoch from due_at - now()) / 60 from provider_probes order by 1`)
		Expect(err).NotTo(HaveOccurred())
		minutes, err := pgx.CollectRows(rows, pgx.RowTo[float64])
		Expect(err).NotTo(HaveOccurred())
		Expect(minutes[0]).To(BeNumerically(">", 47))
		Expect(minutes[79]).To(BeNumerically("<=", 72))
		Expect(minutes[79] - minutes[0]).To(BeNumerically(">", 10))
		Expect(slices.Compact(minutes)).To(HaveLen(80), "each has a jitter of its own")
	})

	It("probes the longest due first, and few at once", func(ctx context.Context) {
		ids := dueNow(ctx, worker, 30)
		seen := &probes{}
		release := make(chan struct{})
		startProber(&reactions.Prober{Pool: worker, Interval: time.Hour, Probe: func(ctx context.Context, tenant, id string) error {
			_ = seen.probe(ctx, tenant, id)
			<-release
			return nil
		}})
		Eventually(seen.list, bound).Should(ConsistOf(ids[:8]))
		Consistently(seen.list, 200*time.Millisecond).Should(HaveLen(8))
		close(release)
		Eventually(seen.list, bound).Should(ConsistOf(ids))
	})

	It("leaves a provider due again after the interval where a node dies between claim and probe", func(ctx context.Context) {
		ids := dueNow(ctx, worker, 1)
		claimed := make(chan struct{})
		stop := startProber(&reactions.Prober{Pool: worker, Interval: time.Second, Probe: func(ctx context.Context, _, _ string) error {
			close(claimed)
			<-ctx.Done() // it dies here, and nothing is recorded
			return ctx.Err()
		}})
		Eventually(claimed, bound).Should(BeClosed())
		seen := &probes{}
		stop()
		startProber(&reactions.Prober{Pool: worker, Probe: seen.probe, Interval: time.Second})
		Eventually(seen.list, bound).Should(ContainElement(ids[0]))
	})

	It("goes on where a probe or the database fails", func(ctx context.Context) {
		ids := dueNow(ctx, worker, 2)
		seen := &probes{}
		startProber(&reactions.Prober{Pool: worker, Interval: 100 * time.Millisecond, Probe: func(ctx context.Context, tenant, id string) error {
			_ = seen.probe(ctx, tenant, id)
			return errors.New("the wire is cut")
		}})
		count := func(id string) func() int {
			return func() int {
				n := 0
				for _, one := range seen.list() {
					if one == id {
						n++
					}
				}
				return n
			}
		}
		Eventually(count(ids[0]), bound).Should(BeNumerically(">", 2))
		owner, err := pgx.Connect(ctx, db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		defer owner.Close(ctx)
		_, err = owner.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
		Expect(err).NotTo(HaveOccurred())
		before := count(ids[1])()
		Eventually(count(ids[1]), bound).Should(BeNumerically(">", before+2))
	})

	It("leaves those alone that calls tell enough about", func(ctx context.Context) {
		ids := dueNow(ctx, worker, 3)
		owner, err := pgx.Connect(ctx, db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		defer owner.Close(ctx)
		for i, ago := range []string{"15 seconds", "100 seconds"} { // the third one has no calls at all
			_, err := owner.Exec(ctx, `insert into provider_health_slots (tenant_id, provider_id, seconds, block_start, requests, errors, latency, created_at)
				select $1, $2, 10, date_trunc('minute', at), array(select case when slot = floor(extract(second from at) / 10) then 1 else 0 end from generate_series(0, 5) as slot),
					array_fill(0, array[6]), array_fill(0, array[6]), at from (select now() - $3::text::interval as at) t`, []string{"tenant-0", "tenant-1"}[i], ids[i], ago)
			Expect(err).NotTo(HaveOccurred())
		}
		seen := &probes{}
		startProber(&reactions.Prober{Pool: worker, Probe: seen.probe, Interval: time.Hour})
		Eventually(seen.list, bound).Should(ConsistOf(ids[1], ids[2]))
		Eventually(func(ctx context.Context) (left int, err error) {
			err = worker.QueryRow(ctx, `select count(*) from provider_probes where due_at <= now()`).Scan(&left)
			return left, err //nolint:wrapcheck // a test
		}, bound).WithContext(ctx).Should(BeZero())
		Expect(seen.list()).To(HaveLen(2))
	})
})
