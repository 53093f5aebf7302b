package eventstore_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// stall takes a tenant's head row away from every node until release is called; blocked waits until somebody waits for it.
func stall(ctx context.Context, tenant string) (release, blocked func()) {
	GinkgoHelper()
	root := superuser(ctx, shared)
	tx, err := root.Begin(ctx)
	Expect(err).NotTo(HaveOccurred())
	_, err = tx.Exec(ctx, `select from chain_heads where tenant_id = $1 for update`, tenant)
	Expect(err).NotTo(HaveOccurred())
	watcher := superuser(ctx, shared)
	blocked = func() {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			var waiters int
			g.Expect(watcher.QueryRow(ctx, `select count(*) from pg_stat_activity where datname = current_database()
				and usename = 'archon_app' and wait_event_type = 'Lock'`).Scan(&waiters)).To(Succeed())
			g.Expect(waiters).To(BeNumerically(">", 0))
		}, bound).Should(Succeed())
	}
	return func() { Expect(tx.Rollback(ctx)).To(Succeed()) }, blocked
}

// waiting appends from n callers at once and returns their outcomes as they come.
func waiting(ctx context.Context, store *eventstore.Store, n int, request func(i int) eventstore.Append) chan error {
	outcomes := make(chan error, n)
	for i := range n {
		go func() {
			_, err := store.Append(ctx, request(i))
			outcomes <- err
		}()
	}
	return outcomes
}

var _ = Describe("The queue", func() {
	It("is bounded by appends: one too many is refused, and the others land", func(ctx context.Context) {
		const most = 5
		tenant := newTenant()
		store := open(ctx, shared, eventstore.Config{MaxQueuedAppends: most})
		fill(ctx, store, tenant, 1)
		release, blocked := stall(ctx, tenant)
		under := waiting(ctx, store, 1, func(int) eventstore.Append { return single(tenant, "first-1", 0) })
		blocked()
		queued, giveUp := context.WithCancel(ctx)
		outcomes := waiting(queued, store, most+3, func(int) eventstore.Append { return single(tenant, "queued-1", 0) })
		for range 3 {
			Eventually(outcomes, bound).Should(Receive(MatchError(eventstore.ErrBusy)))
		}
		giveUp()
		for range most {
			Eventually(outcomes, bound).Should(Receive(MatchError(context.Canceled)))
		}
		release()
		Eventually(under, bound).Should(Receive(BeNil()))
		Eventually(func() error {
			_, err := store.Append(ctx, single(tenant, "after-1", 0))
			return err
		}, bound).Should(Succeed())
		Expect(store.Load(ctx, tenant, "queued-1", 0)).To(BeEmpty(), "callers who had gone were not sent")
		expectIntact(ctx, store, tenant)
	})

	It("is bounded by bytes", func(ctx context.Context) {
		const size = 1000
		tenant := newTenant()
		store := open(ctx, shared, eventstore.Config{MaxQueuedBytes: 4 * size})
		fill(ctx, store, tenant, 1)
		release, blocked := stall(ctx, tenant)
		under := waiting(ctx, store, 1, func(int) eventstore.Append { return single(tenant, "first-1", 0) })
		blocked()
		outcomes := waiting(ctx, store, 12, func(i int) eventstore.Append {
			request := single(tenant, fmt.Sprintf("a-%d", i), 0)
			request.Events[0].Data = make([]byte, size)
			return request
		})
		for range 12 - 3 { // three fit
			Eventually(outcomes, bound).Should(Receive(MatchError(eventstore.ErrBusy)))
		}
		release()
		Eventually(under, bound).Should(Receive(BeNil()))
		for range 3 {
			Eventually(outcomes, bound).Should(Receive(BeNil()))
		}
		Expect(expectIntact(ctx, store, tenant).Checked).To(BeEquivalentTo(2 + 3))
	})

	It("refuses at once what it could never hold", func(ctx context.Context) {
		tenant := newTenant()
		store := open(ctx, shared, eventstore.Config{MaxQueuedBytes: 2000})
		request := single(tenant, "a-1", 0)
		request.Events[0].Data = make([]byte, 2000)
		_, err := store.Append(ctx, request)
		Expect(err).To(MatchError(eventstore.ErrInvalid))
		request.Events = make([]eventstore.NewEvent, 100)
		for i := range request.Events {
			request.Events[i] = eventstore.NewEvent{Stream: "a-1", Type: "t.v1"}
		}
		_, err = store.Append(ctx, request)
		Expect(err).To(MatchError(eventstore.ErrInvalid), "many empty events weigh something, too")
	})

	It("goes in batches of bounded size, and a bigger append goes alone", func(ctx context.Context) {
		tenant := newTenant()
		var batches sync.Map
		store := open(ctx, shared, eventstore.Config{MaxBatchEvents: 3, Appended: func(_ string, position int64) { batches.Store(position, true) }})
		fill(ctx, store, tenant, 1)
		release, blocked := stall(ctx, tenant)
		outcomes := waiting(ctx, store, 20, func(i int) eventstore.Append {
			request := single(tenant, fmt.Sprintf("a-%d", i), 0)
			if i == 7 {
				for range 9 {
					request.Events = append(request.Events, request.Events[0])
				}
			}
			return request
		})
		blocked()
		release()
		for range 20 {
			Eventually(outcomes, bound).Should(Receive(BeNil()))
		}
		Expect(expectIntact(ctx, store, tenant).Checked).To(BeEquivalentTo(1 + 19 + 10))
		count := 0
		batches.Range(func(any, any) bool { count++; return true })
		Expect(count).To(BeNumerically(">=", 1+19/3))
	})

	It("is not waited for longer than Close's context", func(ctx context.Context) {
		tenant := newTenant()
		store := open(ctx, shared, eventstore.Config{})
		fill(ctx, store, tenant, 1)
		release, blocked := stall(ctx, tenant)
		outcome := waiting(ctx, store, 1, func(int) eventstore.Append { return single(tenant, "a-1", 0) })
		blocked()
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		Expect(store.Close(short)).To(MatchError(context.DeadlineExceeded))
		release()
		Eventually(outcome, bound).Should(Receive(BeNil()), "it was let in, so it lands")
	})
})

var _ = Describe("A database that is away", func() {
	It("is said to be so within the patience, at once from then on, and not any more when it is back", func(ctx context.Context) {
		const patience, callers = 300 * time.Millisecond, 50
		p, dsn := newProxy(shared.URL("archon_app"), func([]byte) cut { return cutNothing })
		tenant := newTenant()
		store := openOn(poolOn(ctx, dsn, 4), eventstore.Config{UnavailableAfter: patience, MaxBatchEvents: 4})
		fill(ctx, store, tenant, 1)
		p.refusing.Store(true)
		p.cutAll()
		started := time.Now()
		// The first to notice may have to look for an outcome; whoever waits behind it is told with it.
		outcomes := waiting(ctx, store, callers, func(i int) eventstore.Append { return single(tenant, fmt.Sprintf("a-%d", i), 0) })
		Eventually(func() error {
			quick, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_, err := store.Append(quick, single(tenant, "b-1", 0))
			return err
		}, bound).Should(MatchError(context.DeadlineExceeded))
		p.refusing.Store(false)
		told := 0
		for range callers {
			var err error
			Eventually(outcomes, bound).Should(Receive(&err))
			if err != nil {
				Expect(err).To(MatchError(eventstore.ErrUnavailable))
				told++
			}
		}
		AddReportEntry("told that it is away", told)
		Expect(time.Since(started)).To(BeNumerically("<", bound))
		Eventually(func() error {
			_, err := store.Append(ctx, single(tenant, "c-1", 0))
			return err
		}, bound).Should(Succeed())
		Expect(expectIntact(ctx, store, tenant).Checked).To(BeNumerically(">=", 2+callers-told))
	})

	It("is said to be so to everybody who waits, when nothing has been sent", func(ctx context.Context) {
		const patience, callers = 200 * time.Millisecond, 50
		p, dsn := newProxy(shared.URL("archon_app"), func([]byte) cut { return cutNothing })
		p.refusing.Store(true)
		tenant := newTenant()
		store := openOn(poolOn(ctx, dsn, 4), eventstore.Config{UnavailableAfter: patience, MaxBatchEvents: 4})
		started := time.Now()
		outcomes := waiting(ctx, store, callers, func(i int) eventstore.Append { return single(tenant, fmt.Sprintf("a-%d", i), 0) })
		for range callers {
			Eventually(outcomes, bound).Should(Receive(MatchError(eventstore.ErrUnavailable)))
		}
		Expect(time.Since(started)).To(BeNumerically(">=", patience))
		_, err := store.Append(ctx, single(tenant, "b-1", 0))
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		_, err = store.Read(ctx, tenant, 0, 1)
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		_, err = store.Head(ctx, tenant)
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		_, err = store.Verify(ctx, tenant, eventstore.VerifyOptions{})
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		_, err = store.Tenants(ctx)
		Expect(err).To(MatchError(eventstore.ErrUnavailable))
		p.refusing.Store(false)
		Eventually(func() error {
			_, err := store.Append(ctx, single(tenant, "c-1", 0))
			return err
		}, bound).Should(Succeed())
		Expect(expectIntact(ctx, store, tenant).Checked).To(BeEquivalentTo(1))
	})
})

var _ = Describe("A log that contradicts its head", func() {
	DescribeTable("is not written to", func(ctx context.Context, sql string) {
		tenant := newTenant()
		fill(ctx, open(ctx, shared, eventstore.Config{}), tenant, 3)
		root := superuser(ctx, shared)
		_, err := root.Exec(ctx, sql, tenant)
		Expect(err).NotTo(HaveOccurred())
		store := open(ctx, shared, eventstore.Config{})
		outcomes := waiting(ctx, store, 10, func(i int) eventstore.Append { return single(tenant, fmt.Sprintf("a-%d", i), 0) })
		for range 10 {
			Eventually(outcomes, bound).Should(Receive(MatchError(eventstore.ErrChainBroken)))
		}
		var rows int
		Expect(root.QueryRow(ctx, `select count(*) from events where tenant_id = $1`, tenant).Scan(&rows)).To(Succeed())
		Expect(rows).To(Equal(3))
	},
		Entry("without its head", `delete from chain_heads where tenant_id = $1`),
		Entry("with an older head", `update chain_heads set position = 2 where tenant_id = $1`),
	)
})

var _ = Describe("An append that PostgreSQL refuses", func() {
	DescribeTable("fails alone, and says why", func(ctx context.Context, callers, every int) {
		db := newDatabase(ctx)
		root := superuser(ctx, db)
		_, err := root.Exec(ctx, `create function poison() returns trigger language plpgsql as $$ begin
			if new.stream = 'poison-1' then raise exception 'poisoned'; end if; return new; end $$;
			create trigger poison before insert on events for each row execute function poison()`)
		Expect(err).NotTo(HaveOccurred())
		store := open(ctx, db, eventstore.Config{})
		outcomes := make(chan error, callers)
		for i := range callers {
			go func() {
				stream := fmt.Sprintf("a-%d", i)
				if i%every == 0 {
					stream = "poison-1"
				}
				_, err := store.Append(ctx, single("t", stream, 0))
				outcomes <- err
			}()
		}
		refused := 0
		for range callers {
			var err error
			Eventually(outcomes, bound).Should(Receive(&err))
			if err != nil {
				Expect(err).To(MatchError(ContainSubstring("poisoned")))
				Expect(err).NotTo(MatchError(eventstore.ErrUnavailable))
				refused++
			}
		}
		Expect(refused).To(Equal(callers / every))
		Expect(expectIntact(ctx, store, "t").Checked).To(BeEquivalentTo(callers - refused))
	},
		Entry("among few", 40, 10),
		Entry("where the next batch is made beside one in flight", 2000, 100),
	)

	It("is tried again where PostgreSQL cancelled it", func(ctx context.Context) {
		tenant := newTenant()
		store := open(ctx, shared, eventstore.Config{})
		fill(ctx, store, tenant, 1)
		release, blocked := stall(ctx, tenant)
		outcome := waiting(ctx, store, 1, func(int) eventstore.Append { return single(tenant, "a-1", 0) })
		blocked()
		_, err := superuser(ctx, shared).Exec(ctx, `select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database()
			and usename = 'archon_app' and wait_event_type = 'Lock'`)
		Expect(err).NotTo(HaveOccurred())
		release()
		Eventually(outcome, bound).Should(Receive(BeNil()))
		expectIntact(ctx, store, tenant)
	})
})
