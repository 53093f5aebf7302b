package eventstore_test

import (
	"context"
	"fmt"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("Verify over several connections", Ordered, func() {
	var c *crime
	var store *eventstore.Store

	BeforeAll(func(ctx context.Context) {
		c = newCrime(ctx)
		store = openOn(poolOf(ctx, c.db, "archon_app", 8), eventstore.Config{})
	})
	AfterEach(func(ctx context.Context) { c.undo(ctx) })

	// agree holds every way to cut the chain against the verification in one piece.
	agree := func(ctx context.Context, what string) eventstore.Report {
		GinkgoHelper()
		whole := c.verify(ctx, eventstore.VerifyOptions{})
		for parallel := 1; parallel <= chainLength; parallel++ {
			report, err := store.VerifyShares(ctx, c.tenant, parallel, 1, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(report).To(And(HaveField("OK", whole.OK), HaveField("FirstBadPosition", whole.FirstBadPosition), HaveField("Head", whole.Head)),
				"%s in %d pieces: %s, in one: %s", what, parallel, report.Reason, whole.Reason)
			if whole.OK {
				Expect(report.Checked).To(Equal(whole.Checked))
			}
		}
		return whole
	}

	It("says what it says in one piece: of a sound chain, and wherever rows were changed, lost, moved or rewritten", func(ctx context.Context) {
		Expect(agree(ctx, "nothing").OK).To(BeTrue())
		for position := int64(1); position <= chainLength; position++ {
			for name, sql := range map[string]string{
				"a flipped bit": `update events set data = set_byte(data, 0, get_byte(data, 0) # 1) where position = %d`, "a lost row": `delete from events where position = %d`,
				"another link": `update events set prev_hash = sha256('x') where position = %d`, "another hash": `update events set hash = sha256('x') where position = %d`,
				"a row that went elsewhere": `update events set position = 100 where position = %d`, "a lost tail": `delete from events where position >= %d`,
				"a head before": `update chain_heads set position = %d - 1`, "a head behind": `update chain_heads set position = %d + 1000000`,
			} {
				c.do(ctx, fmt.Sprintf(sql, position))
				agree(ctx, fmt.Sprintf("%s, position %d", name, position))
				c.undo(ctx)
			}
			own := c.rows[position-1]
			own.Data = []byte(`{"n":2}`)
			c.rewrite(ctx, own)
			agree(ctx, fmt.Sprintf("a row rewritten with its hash, position %d", position))
			c.undo(ctx)
			relinked := c.rows[position-1]
			relinked.PrevHash = flip(relinked.PrevHash, 0, 1)
			c.rewrite(ctx, relinked)
			agree(ctx, fmt.Sprintf("a row relinked with its hash, position %d", position))
			c.undo(ctx)
		}
	})

	It("reads one snapshot while events arrive, and tells how far it is", func(ctx context.Context) {
		const length = 60_000
		root := superuser(ctx, c.db)
		copyChain(ctx, root, "parallel", length)
		var told atomic.Int64
		report, err := store.VerifyShares(ctx, "parallel", 3, 1000, func(checked int64) {
			told.Store(max(told.Load(), checked))
			_, err := c.store.Append(ctx, single("parallel", fmt.Sprint("more-", checked), 0))
			Expect(err).NotTo(HaveOccurred())
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.OK).To(BeTrue(), report.Reason)
		Expect(report.Checked).To(BeEquivalentTo(length))
		Expect(told.Load()).To(BeEquivalentTo(length))
		again, err := store.VerifyParallel(ctx, "parallel", 4, eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(again.OK).To(BeTrue())
		Expect(again.Checked).To(BeNumerically(">", length), "what arrived meanwhile")
	})

	It("is one verification of the tenant at a time, like that in one piece", func(ctx context.Context) {
		_, err := store.VerifyParallel(ctx, "a\x00", 2, eventstore.VerifyOptions{})
		Expect(err).To(MatchError(eventstore.ErrRange))
		tx, err := superuser(ctx, c.db).Begin(ctx)
		Expect(err).NotTo(HaveOccurred())
		_, err = tx.Exec(ctx, `select pg_advisory_xact_lock(('x' || left(encode(sha256(convert_to('archon.verify', 'UTF8') || '\x00' || convert_to($1, 'UTF8')), 'hex'), 16))::bit(64)::bigint)`, c.tenant)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.VerifyParallel(ctx, c.tenant, 2, eventstore.VerifyOptions{})
		Expect(err).To(MatchError(eventstore.ErrVerifying))
		Expect(tx.Rollback(ctx)).To(Succeed())
	})
})
