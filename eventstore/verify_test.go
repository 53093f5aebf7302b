package eventstore_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/testdb"
)

// copyChain writes an intact chain of n events past the store, which is quicker.
func copyChain(ctx context.Context, root *pgx.Conn, tenant string, n int) {
	GinkgoHelper()
	last := eventstore.Recorded{Hash: eventstore.Genesis(tenant), OccurredAt: time.Now().UnixMicro()}
	columns := []string{
		"tenant_id", "stream", "type", "position", "version", "event_id", "command_id", "occurred_at", "meta", "data", "prev_hash", "hash",
	}
	_, err := root.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		e := eventstore.Recorded{
			Tenant: tenant, Stream: "a-1", Type: fmt.Sprintf("t%d.v1", i%1500), Position: int64(i) + 1, Version: int64(i) + 1, EventID: uuid.New(),
			CommandID: uuid.New(), OccurredAt: last.OccurredAt + 1, Meta: []byte("{}"), Data: []byte("{}"), PrevHash: last.Hash,
		}
		sum := eventstore.Hash(&e)
		e.Hash = sum[:]
		last = e
		return []any{e.Tenant, e.Stream, e.Type, e.Position, e.Version, e.EventID, e.CommandID, e.Time(), e.Meta, e.Data, e.PrevHash, e.Hash}, nil
	}))
	Expect(err).NotTo(HaveOccurred())
	_, err = root.Exec(ctx, `insert into chain_heads (tenant_id, position, hash, occurred_at) values ($1, $2, $3, $4)`,
		tenant, last.Position, last.Hash, last.Time())
	Expect(err).NotTo(HaveOccurred())
}

var _ = Describe("Verify reads a long chain in pieces", Ordered, func() {
	const tenant, length = "long", 50_000
	var root *pgx.Conn
	var store *eventstore.Store
	var db *testdb.Database

	BeforeAll(func(ctx context.Context) {
		db = newDatabase(ctx)
		root, store = superuser(ctx, db), open(ctx, db, eventstore.Config{})
		copyChain(ctx, root, tenant, length)
		copyChain(ctx, root, "long2", 3)
	})

	It("all of it, and tells how far it is", func(ctx context.Context) {
		var seen []int64
		report, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{Progress: func(checked int64) { seen = append(seen, checked) }})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.OK).To(BeTrue(), report.Reason)
		Expect(report.Checked).To(BeEquivalentTo(length))
		Expect(report.Head.Position).To(BeEquivalentTo(length))
		Expect(seen).To(Equal([]int64{10_000, 20_000, 30_000, 40_000, 50_000}))
	})

	DescribeTable("seeing a change anywhere, at their borders in particular", func(ctx context.Context, position int64) {
		for sql, words := range map[string]string{
			`update events set data = '{ }' where tenant_id = 'long' and position = $1`: "its hash is not that of its columns",
			`delete from events where tenant_id = 'long' and position = $1`:             "is missing",
		} {
			tx, err := root.Begin(ctx)
			Expect(err).NotTo(HaveOccurred())
			_, err = tx.Exec(ctx, `create temp table lost on commit preserve rows as select * from events where tenant_id = 'long' and position = $1`, position)
			Expect(err).NotTo(HaveOccurred())
			_, err = tx.Exec(ctx, sql, position)
			Expect(err).NotTo(HaveOccurred())
			Expect(tx.Commit(ctx)).To(Succeed())
			report, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{})
			Expect(err).NotTo(HaveOccurred())
			Expect(report.FirstBadPosition).To(Equal(position), report.Reason)
			Expect(report.Reason).To(ContainSubstring(words))
			ranged, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{From: max(position-5, 1), To: position + 30_000})
			Expect(err).NotTo(HaveOccurred())
			Expect(ranged.FirstBadPosition).To(Equal(position), ranged.Reason)
			_, err = root.Exec(ctx, `delete from events where tenant_id = 'long' and position = (select position from lost)`)
			Expect(err).NotTo(HaveOccurred())
			_, err = root.Exec(ctx, `insert into events select * from lost`)
			Expect(err).NotTo(HaveOccurred())
			_, err = root.Exec(ctx, `drop table lost`)
			Expect(err).NotTo(HaveOccurred())
		}
	}, Entry(nil, int64(1)), Entry(nil, int64(19_999)), Entry(nil, int64(20_000)), Entry(nil, int64(20_001)), Entry(nil, int64(40_000)),
		Entry(nil, int64(49_999)), Entry(nil, int64(50_000)))

	It("without going through empty pieces where the head was moved to the end of the world", func(ctx context.Context) {
		_, err := root.Exec(ctx, `update chain_heads set position = 9223372036854775807 where tenant_id = $1`, tenant)
		Expect(err).NotTo(HaveOccurred())
		report, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(length + 1))
		report, err = store.Verify(ctx, tenant, eventstore.VerifyOptions{From: 49_000, To: 1 << 60})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(length + 1))
		_, err = root.Exec(ctx, `update chain_heads set position = $2 where tenant_id = $1`, tenant, length)
		Expect(err).NotTo(HaveOccurred())
	})

	It("once a tenant at a time, on all nodes", func(ctx context.Context) {
		other := open(ctx, db, eventstore.Config{})
		inside, goOn := make(chan bool), make(chan bool)
		done := make(chan error)
		var once sync.Once
		go func() {
			_, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{Progress: func(int64) { once.Do(func() { close(inside); <-goOn }) }})
			done <- err
		}()
		Eventually(inside, bound).Should(BeClosed())
		for _, s := range []*eventstore.Store{store, other} {
			_, err := s.Verify(ctx, tenant, eventstore.VerifyOptions{From: 2, To: 3})
			Expect(err).To(MatchError(eventstore.ErrVerifying))
		}
		expectIntact(ctx, other, "long2")
		close(goOn)
		Eventually(done, bound).Should(Receive(BeNil()))
		expectIntact(ctx, other, tenant)
	})

	It("until its context ends", func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		_, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{Progress: func(int64) { cancel() }})
		Expect(err).To(MatchError(context.Canceled))
	})

	It("in one snapshot, while others write", func(ctx context.Context) {
		stop, done := make(chan bool), make(chan error)
		go func() {
			writer := eventstore.New(poolOf(ctx, db, "archon_app", 2), eventstore.Config{})
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if _, err := writer.Append(ctx, eventstore.Append{Tenant: "busy", Events: []eventstore.NewEvent{{Stream: "a-1", Type: "t.v1"}}}); err != nil {
					done <- err
					return
				}
			}
		}()
		for range 20 {
			expectIntact(ctx, store, "busy")
		}
		close(stop)
		Eventually(done, bound).Should(Receive(BeNil()))
	})

	Describe("of every tenant", func() {
		It("that a worker sees by its head", func(ctx context.Context) {
			worker := eventstore.New(poolOf(ctx, db, "archon_worker", 3), eventstore.Config{})
			Expect(worker.Tenants(ctx)).To(ContainElements(tenant, "long2"))
			Expect(store.Tenants(ctx)).To(BeEmpty(), "archon_app sees none")
			outcomes := map[string]bool{}
			Expect(worker.VerifyAll(ctx, 2, func(tenant string, report eventstore.Report, err error) {
				Expect(err).NotTo(HaveOccurred())
				outcomes[tenant] = report.OK
			})).To(Succeed())
			Expect(outcomes).To(HaveKeyWithValue(tenant, true))
			Expect(outcomes).To(HaveKeyWithValue("long2", true))
		})

		It("that a superuser sees by its events", func(ctx context.Context) {
			copyChain(ctx, root, "headless", 3)
			_, err := root.Exec(ctx, `delete from chain_heads where tenant_id = 'headless'`)
			Expect(err).NotTo(HaveOccurred())
			pool := poolOn(ctx, db.OwnerURL(), 3)
			all := eventstore.New(pool, eventstore.Config{})
			Expect(all.Tenants(ctx)).To(ContainElements("headless", tenant, "long2"))
			outcomes := map[string]int64{}
			Expect(all.VerifyAll(ctx, 0, func(tenant string, report eventstore.Report, err error) {
				Expect(err).NotTo(HaveOccurred())
				outcomes[tenant] = report.FirstBadPosition
			})).To(Succeed())
			Expect(outcomes).To(HaveKeyWithValue(tenant, int64(0)))
			Expect(outcomes).To(HaveKeyWithValue("headless", int64(4)))
			ended, cancel := context.WithCancel(ctx)
			cancel()
			Expect(all.VerifyAll(ended, 1, func(string, eventstore.Report, error) {})).To(MatchError(context.Canceled))
		})
	})

	It("is right about a tenant that has nothing", func(ctx context.Context) {
		report, err := store.Verify(ctx, "nobody", eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report).To(Equal(eventstore.Report{OK: true, Head: eventstore.Head{Hash: eventstore.Genesis("nobody")}}))
		_, err = root.Exec(ctx, `insert into chain_heads (tenant_id, position, hash, occurred_at) values ('nobody2', 0, sha256(''), now())`)
		Expect(err).NotTo(HaveOccurred())
		report, err = store.Verify(ctx, "nobody2", eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(1))
		for _, tenant := range []string{"", "a\x00"} {
			_, err = store.Verify(ctx, tenant, eventstore.VerifyOptions{})
			Expect(err).To(MatchError(eventstore.ErrRange))
		}
	})
})
