package reactions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

const patience = 30 * time.Second

// ownerPool is a superuser's.
func ownerPool(db *testdb.Database) *pgxpool.Pool {
	GinkgoHelper()
	opened, err := pgxpool.New(context.Background(), db.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(opened.Close)
	return opened
}

var _ = Describe("Jobs", Label("postgres"), func() {
	const topic = "test.work"
	var db *testdb.Database
	var worker *pgxpool.Pool
	var jobs *reactions.Jobs
	BeforeEach(func() {
		db = database()
		worker = pool(db, "archon_worker")
		jobs = &reactions.Jobs{Pool: pool(db, "archon_app")}
	})

	event := func(tenant string, position int64) *projections.Event {
		return &projections.Event{Recorded: eventstore.Recorded{
			Tenant: tenant, Position: position, EventID: uuid.New(), Meta: []byte(`{"correlation_id":"c-1"}`),
		}}
	}
	enqueue := func(tenant string, position int64, payload any) uuid.UUID {
		GinkgoHelper()
		job, err := reactions.NewJob(event(tenant, position), topic, payload)
		Expect(err).NotTo(HaveOccurred())
		out := &projections.Statements{}
		Expect(job.Enqueue(out)).To(Succeed())
		Expect(pgx.BeginFunc(context.Background(), worker, func(tx pgx.Tx) error {
			for sql, args := range out.All() {
				if _, err := tx.Exec(context.Background(), sql, args...); err != nil {
					return err //nolint:wrapcheck // a test
				}
			}
			return nil
		})).To(Succeed())
		return job.ID
	}
	run := func(handler func(ctx context.Context, job reactions.Job) error) (stop func()) {
		GinkgoHelper()
		router, err := reactions.NewRouter(worker, reactions.RouterConfig{
			Tries: 3, FirstWait: 5 * time.Millisecond, CloseTimeout: time.Second,
			Subscriber: reactions.SubscriberConfig{Poll: 5 * time.Millisecond, Lease: time.Second},
		})
		Expect(err).NotTo(HaveOccurred())
		router.Handle(topic, handler)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- router.Run(ctx) }()
		stop = sync.OnceFunc(func() {
			cancel()
			Eventually(ended).WithTimeout(patience).Should(Receive(BeNil()))
		})
		DeferCleanup(stop)
		return stop
	}
	status := func(tenant string, id uuid.UUID) func() reactions.Status {
		return func() reactions.Status {
			record, err := jobs.Get(context.Background(), tenant, id)
			Expect(err).NotTo(HaveOccurred())
			return record.Status
		}
	}

	It("are put off where a handler says so, while others of their topic go on, and count their attempts", func() {
		errLater := errors.New("not yet")
		first, second := enqueue("acme", 1, "patient"), enqueue("acme", 2, "quick")
		var mu sync.Mutex
		var order []string
		run(func(_ context.Context, job reactions.Job) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprint(string(job.Payload), job.Attempt))
			if job.ID == first && job.Attempt < 3 {
				return &reactions.Later{After: 300 * time.Millisecond, Cause: errLater}
			}
			return nil
		})
		Eventually(status("acme", second)).WithTimeout(patience).Should(Equal(reactions.Done))
		Eventually(status("acme", first)).WithTimeout(patience).Should(Equal(reactions.Done))
		mu.Lock()
		defer mu.Unlock()
		Expect(order).To(HaveExactElements(`"patient"1`, `"quick"1`, `"patient"2`, `"patient"3`))
		record, err := jobs.Get(context.Background(), "acme", first)
		Expect(err).NotTo(HaveOccurred())
		Expect(record).To(And(HaveField("Attempts", 3), HaveField("Error", "not yet")))
	})

	It("fail at once where a handler says so, and begin to count anew when an operator retries them", func() {
		id := enqueue("acme", 1, "hopeless")
		var attempts atomic.Int32
		var last atomic.Int32
		run(func(_ context.Context, job reactions.Job) error {
			attempts.Add(1)
			last.Store(int32(job.Attempt))
			return &reactions.Final{Cause: errors.New("never")}
		})
		Eventually(status("acme", id)).WithTimeout(patience).Should(Equal(reactions.Failed))
		Expect(attempts.Load()).To(BeEquivalentTo(1))
		record, err := jobs.Retry(context.Background(), "acme", id)
		Expect(err).NotTo(HaveOccurred())
		Expect(record.Error).To(Equal("never"))
		Eventually(attempts.Load).WithTimeout(patience).Should(BeEquivalentTo(2))
		Expect(last.Load()).To(BeEquivalentTo(1))
		Eventually(status("acme", id)).WithTimeout(patience).Should(Equal(reactions.Failed))
	})

	It("are one however often an event asks for them, and end in a command whose id is always the same", func() {
		first, err := reactions.NewJob(event("acme", 7), topic, nil)
		Expect(err).NotTo(HaveOccurred())
		again, err := reactions.NewJob(event("acme", 7), topic, nil)
		Expect(err).NotTo(HaveOccurred())
		other, err := reactions.NewJob(event("rival", 7), topic, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(first.ID).To(Equal(again.ID))
		Expect(first.CommandID()).To(Equal(again.CommandID()))
		Expect(first.ID).NotTo(Equal(other.ID))
		Expect(first.CommandID()).NotTo(Equal(first.ID))
		enqueue("acme", 7, "x")
		enqueue("acme", 7, "x")
		listed, err := jobs.List(context.Background(), "acme", 0, 10)
		Expect(err).NotTo(HaveOccurred())
		Expect(listed).To(HaveLen(1))
	})

	It("reach the handler with their tenant, payload and correlation, and are done once", func() {
		var seen atomic.Int64
		got := make(chan reactions.Job, 10)
		run(func(_ context.Context, job reactions.Job) error {
			seen.Add(1)
			got <- job
			return nil
		})
		id := enqueue("acme", 1, map[string]string{"a": "b"})
		var job reactions.Job
		Eventually(got).WithTimeout(patience).Should(Receive(&job))
		Expect(job.Tenant).To(Equal("acme"))
		Expect(job.ID).To(Equal(id))
		Expect(job.Payload).To(MatchJSON(`{"a":"b"}`))
		Expect(job.CorrelationID).To(Equal("c-1"))
		Eventually(status("acme", id)).WithTimeout(patience).Should(Equal(reactions.Done))
		Consistently(seen.Load).WithTimeout(100 * time.Millisecond).Should(Equal(int64(1)))
	})

	It("are shared by routers, each done once", func() {
		const count = 60
		var mu sync.Mutex
		seen := map[uuid.UUID]int{}
		handler := func(_ context.Context, job reactions.Job) error {
			mu.Lock()
			defer mu.Unlock()
			seen[job.ID]++
			return nil
		}
		run(handler)
		run(handler)
		for i := range count {
			enqueue("acme", int64(i), i)
		}
		Eventually(func() int {
			done, err := jobs.List(context.Background(), "acme", 0, 100, reactions.Done)
			Expect(err).NotTo(HaveOccurred())
			return len(done)
		}).WithTimeout(patience).Should(Equal(count))
		for id, times := range seen {
			Expect(times).To(Equal(1), id.String())
		}
	})

	It("that fail for good, or panic, wait for an operator with the reason, and go on when retried", func() {
		var mended atomic.Bool
		var tries atomic.Int64
		run(func(_ context.Context, job reactions.Job) error {
			tries.Add(1)
			switch {
			case mended.Load():
				return nil
			case string(job.Payload) == `"panic"`:
				panic("boom")
			}
			return errors.New("the vault is away")
		})
		failing, panicking := enqueue("acme", 1, "x"), enqueue("acme", 2, "panic")
		Eventually(status("acme", failing)).WithTimeout(patience).Should(Equal(reactions.Failed))
		Eventually(status("acme", panicking)).WithTimeout(patience).Should(Equal(reactions.Failed))
		Expect(tries.Load()).To(Equal(int64(6)))
		record, err := jobs.Get(context.Background(), "acme", failing)
		Expect(err).NotTo(HaveOccurred())
		Expect(record.Error).To(ContainSubstring("the vault is away"))
		Expect(record.FinishedAt).NotTo(BeNil())

		_, err = jobs.Retry(context.Background(), "rival", failing)
		Expect(err).To(MatchError(reactions.ErrNoJob))
		mended.Store(true)
		_, err = jobs.Retry(context.Background(), "acme", failing)
		Expect(err).NotTo(HaveOccurred())
		Eventually(status("acme", failing)).WithTimeout(patience).Should(Equal(reactions.Done))
		_, err = jobs.Retry(context.Background(), "acme", failing)
		Expect(err).To(MatchError(reactions.ErrJobState))
		discarded, err := jobs.Discard(context.Background(), "acme", panicking)
		Expect(err).NotTo(HaveOccurred())
		Expect(discarded.Status).To(Equal(reactions.Discarded))
	})

	It("are done again by another node when the one that took them dies", func() {
		id := enqueue("acme", 1, "x")
		_, err := worker.Exec(context.Background(), `update jobs set lock_token = gen_random_uuid(), locked_until = now() + interval '1 second', attempts = 1`)
		Expect(err).NotTo(HaveOccurred(), "a node has taken it and is gone")
		run(func(context.Context, reactions.Job) error { return nil })
		Eventually(status("acme", id)).WithTimeout(patience).Should(Equal(reactions.Done))
	})

	It("keep their lease while they take long", func() {
		var seen atomic.Int64
		release := make(chan struct{})
		handler := func(context.Context, reactions.Job) error {
			seen.Add(1)
			<-release
			return nil
		}
		run(handler)
		run(handler)
		id := enqueue("acme", 1, "x")
		Eventually(seen.Load).WithTimeout(patience).Should(Equal(int64(1)))
		Consistently(seen.Load).WithTimeout(2500 * time.Millisecond).Should(Equal(int64(1)))
		close(release)
		Eventually(status("acme", id)).WithTimeout(patience).Should(Equal(reactions.Done))
	})

	It("that are in hand when the node goes down are given back, not failed", func() {
		begun := make(chan struct{}, 10)
		stop := run(func(ctx context.Context, _ reactions.Job) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		id := enqueue("acme", 1, "x")
		Eventually(begun).WithTimeout(patience).Should(Receive())
		stop()
		Eventually(func() bool {
			record, err := jobs.Get(context.Background(), "acme", id)
			Expect(err).NotTo(HaveOccurred())
			return record.Status == reactions.Pending && !record.Running
		}).WithTimeout(patience).Should(BeTrue())
	})

	It("page newest first and keep to their tenant", func() {
		for i := range 5 {
			enqueue("acme", int64(i), i)
		}
		enqueue("rival", 1, "x")
		page, err := jobs.List(context.Background(), "acme", 0, 3)
		Expect(err).NotTo(HaveOccurred())
		Expect(page).To(HaveLen(3))
		rest, err := jobs.List(context.Background(), "acme", page[2].Number, 10, reactions.Pending, reactions.Failed)
		Expect(err).NotTo(HaveOccurred())
		Expect(rest).To(HaveLen(2))
	})

	It("to remove a deleted provider's secret come from its event", func() {
		out := &projections.Statements{}
		deleted := event("acme", 9)
		deleted.Payload = providers.Deleted{ProviderID: "0190a1b2-0000-7000-8000-000000000001"}
		Expect(reactions.SecretRemoval{}.Project([]projections.Event{*deleted}, out)).To(Succeed())
		var asked []any
		for _, args := range out.All() {
			asked = args
		}
		Expect(asked[2]).To(Equal(reactions.RemoveSecretTopic))
		payload, _ := asked[3].([]byte)
		removed := ""
		handler := reactions.RemoveSecrets(func(_ context.Context, _ reactions.Job, id string) error {
			removed = id
			return nil
		})
		Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(payload)})).To(Succeed())
		Expect(removed).To(Equal("0190a1b2-0000-7000-8000-000000000001"))
		Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(`[`)})).NotTo(Succeed())
	})
})
