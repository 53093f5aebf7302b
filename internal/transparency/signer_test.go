package transparency_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/transparency"
)

const (
	signedMetric  = "archon_audit_checkpoints_signed_total"
	refusedMetric = "archon_audit_checkpoints_refused_total"
)

// opened verifies a note as any other tool would, and reads it.
func opened(vkey, signed string) eventstore.Checkpoint {
	GinkgoHelper()
	verifier, err := note.NewVerifier(vkey)
	Expect(err).NotTo(HaveOccurred())
	n, err := note.Open([]byte(signed), note.VerifierList(verifier))
	Expect(err).NotTo(HaveOccurred())
	Expect(n.Sigs).To(HaveLen(1))
	checkpoint, err := eventstore.ParseCheckpoint(n.Text)
	Expect(err).NotTo(HaveOccurred())
	Expect(n.Sigs[0].Name).To(Equal(checkpoint.Origin), "the key is named as the origin")
	return checkpoint
}

var _ = Describe("The signer", func() {
	var p *place

	BeforeEach(func(ctx context.Context) { p = newPlace(ctx) })

	sign := func(ctx context.Context) transparency.Signed {
		GinkgoHelper()
		signed, err := p.signer.Checkpoint(ctx, p.tenant)
		Expect(err).NotTo(HaveOccurred())
		return signed
	}
	refusal := func(ctx context.Context) *transparency.Refusal {
		GinkgoHelper()
		_, err := p.signer.Checkpoint(ctx, p.tenant)
		refused, ok := errors.AsType[*transparency.Refusal](err)
		Expect(ok).To(BeTrue(), "%v", err)
		return refused
	}

	It("signs what the Go checksum database's own code accepts, and each checkpoint continues the last", func(ctx context.Context) {
		var last transparency.Signed
		for _, more := range []int{1, 6, 250, 1} {
			size := p.append(ctx, more)
			signed := sign(ctx)
			origin, vkey, err := p.signer.Key(ctx, p.tenant)
			Expect(err).NotTo(HaveOccurred())
			Expect(origin).To(Equal(deployment + "/" + p.tenant + "/1"))
			Expect(opened(vkey, signed.Note)).To(Equal(signed.Checkpoint))
			Expect(signed.Checkpoint).To(And(HaveField("Origin", origin), HaveField("Size", size)))
			if last.Size > 0 {
				proof, err := signed.Tree.Consistency(ctx, last.Size, signed.Size)
				Expect(err).NotTo(HaveOccurred())
				Expect(tlog.CheckTree(proof, signed.Size, signed.Root, last.Size, last.Root)).To(Succeed())
			}
			last = signed
		}
		Expect(p.store.Checkpoints(ctx, p.tenant, last.Size)).To(Equal(map[int64]string{last.Size: last.Note}))
	})

	It("signs the same log with the same bytes, on every node, and writes nothing for it", func(ctx context.Context) {
		p.append(ctx, 3)
		first := sign(ctx)
		puts := p.secrets.puts.Load()
		Expect(sign(ctx).Note).To(Equal(first.Note))
		again, err := p.another().Checkpoint(ctx, p.tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(again.Note).To(Equal(first.Note))
		Expect(p.secrets.puts.Load()).To(Equal(puts))
	})

	It("signs nothing and leaves nothing behind for a tenant without events", func(ctx context.Context) {
		_, err := p.signer.Checkpoint(ctx, p.tenant)
		Expect(err).To(MatchError(transparency.ErrEmpty))
		_, _, err = p.signer.Key(ctx, p.tenant)
		Expect(err).To(MatchError(transparency.ErrEmpty))
		Expect(p.secrets.List(ctx, "tenants")).To(BeEmpty())
	})

	It("gives tenants keys of their own", func(ctx context.Context) {
		p.append(ctx, 1)
		_, mine, err := p.signer.Key(ctx, p.tenant)
		Expect(err).NotTo(HaveOccurred())
		p.tenant += "-other"
		p.append(ctx, 1)
		_, theirs, err := p.signer.Key(ctx, p.tenant)
		Expect(err).NotTo(HaveOccurred())
		last := func(vkey string) string { return vkey[strings.LastIndex(vkey, "+"):] }
		Expect(last(mine)).NotTo(Equal(last(theirs)))
		verifier, err := note.NewVerifier(mine)
		Expect(err).NotTo(HaveOccurred())
		_, err = note.Open([]byte(sign(ctx).Note), note.VerifierList(verifier))
		Expect(err).To(HaveOccurred())
	})

	It("never signs two trees of one size, however many nodes sign at once while events arrive", func(ctx context.Context) {
		const nodes, rounds = 4, 6
		p.append(ctx, 1)
		var mu sync.Mutex
		roots := map[int64]tlog.Hash{}
		var group sync.WaitGroup
		for range nodes {
			signer := p.another()
			group.Go(func() {
				defer GinkgoRecover()
				for range rounds {
					signed, err := signer.Checkpoint(ctx, p.tenant)
					Expect(err).NotTo(HaveOccurred())
					mu.Lock()
					if known, found := roots[signed.Size]; found {
						Expect(signed.Root).To(Equal(known))
					}
					roots[signed.Size] = signed.Root
					mu.Unlock()
				}
			})
		}
		for range rounds {
			p.append(ctx, 20)
		}
		group.Wait()
		Expect(sign(ctx).Size).To(BeEquivalentTo(1 + 20*rounds))
	})

	It("begins anew where another node moves the guard between its look and its own move", func(ctx context.Context) {
		p.append(ctx, 2)
		sign(ctx)
		p.append(ctx, 2)
		other := p.another()
		race := func() {
			p.append(ctx, 3)
			_, err := other.Checkpoint(ctx, p.tenant)
			Expect(err).NotTo(HaveOccurred())
		}
		p.secrets.beforePut.Store(&race)
		Expect(sign(ctx).Size).To(BeEquivalentTo(7))
	})

	DescribeTable("refuses a log that contradicts what was signed", func(ctx context.Context, crime func(ctx context.Context, p *place), words string) {
		p.append(ctx, 6)
		signed := sign(ctx)
		crime(ctx, p)
		Expect(refusal(ctx).Reason).To(ContainSubstring(words))
		Expect(p.logged.errors.Load()).To(BeEquivalentTo(1))
		Expect(p.counted(refusedMetric)).To(BeEquivalentTo(1))
		Expect(p.counted(signedMetric)).To(BeEquivalentTo(1))
		worker, err := p.db.Pool(ctx, "archon_worker", 2)
		Expect(err).NotTo(HaveOccurred())
		defer worker.Close()
		Expect(eventstore.New(worker, eventstore.Config{}).RefusedTrees(ctx)).To(BeNumerically(">=", 1))
		Expect(signed.Size).To(BeEquivalentTo(6))
	},
		Entry("cut off, with its tree and its checkpoints", func(ctx context.Context, p *place) {
			p.do(ctx, `delete from events where tenant_id = $1 and position > 4`, p.tenant)
			p.do(ctx, `update chain_heads h set position = 4, hash = (select hash from events e where e.tenant_id = h.tenant_id and position = 4) where tenant_id = $1`, p.tenant)
			forget(ctx, p)
		}, "it has 4 events, and 6 were signed"),
		Entry("rewritten from a position on, with its tree and its checkpoints", func(ctx context.Context, p *place) {
			rewrite(ctx, p, 3)
			forget(ctx, p)
		}, "its 6 events are not those that were signed"),
		Entry("rewritten, and grown since", func(ctx context.Context, p *place) {
			rewrite(ctx, p, 3)
			forget(ctx, p)
			p.append(ctx, 2)
		}, "its first 6 events are not those that were signed"),
		Entry("rewritten, without its tree", func(ctx context.Context, p *place) { rewrite(ctx, p, 3) }, "contradicts the Merkle tree"),
		Entry("emptied", func(ctx context.Context, p *place) {
			p.do(ctx, `delete from events where tenant_id = $1`, p.tenant)
			p.do(ctx, `delete from chain_heads where tenant_id = $1`, p.tenant)
			forget(ctx, p)
		}, "it has 0 events, and 6 were signed"),
		Entry("of which the secret store has lost the memory", func(ctx context.Context, p *place) {
			Expect(p.secrets.Destroy(ctx, "tenants/"+p.tenant+"/audit/guard")).To(Succeed())
		}, "has lost what was signed last"),
		Entry("whose key the secret store has lost", func(ctx context.Context, p *place) {
			Expect(p.secrets.Destroy(ctx, "tenants/"+p.tenant+"/audit/key")).To(Succeed())
		}, "has lost the signing key"),
	)

	It("signs again once the log is what it was", func(ctx context.Context) {
		p.append(ctx, 6)
		first := sign(ctx)
		p.do(ctx, `update chain_heads set hash = sha256(hash) where tenant_id = $1`, p.tenant)
		refusal(ctx)
		p.do(ctx, `update chain_heads h set hash = (select hash from events e where e.tenant_id = h.tenant_id and position = 6) where tenant_id = $1`, p.tenant)
		Expect(sign(ctx).Note).To(Equal(first.Note))
	})

	DescribeTable("signs nothing while the secret store can't be asked", func(ctx context.Context, failure error) {
		p.append(ctx, 2)
		sign(ctx)
		p.append(ctx, 2)
		p.secrets.failure.Store(&failure)
		_, err := p.signer.Checkpoint(ctx, p.tenant)
		Expect(err).To(MatchError(failure))
		p.secrets.failure.Store(nil)
		Expect(sign(ctx).Size).To(BeEquivalentTo(4))
	}, Entry("away", secrets.ErrUnavailable), Entry("closed to us", secrets.ErrDenied))

	It("signs in the background what has grown, on one node at a time, and is not held up by a log that it refuses", func(ctx context.Context) {
		pool, err := p.db.Pool(context.WithoutCancel(ctx), "archon_worker", 4)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		across := eventstore.New(pool, eventstore.Config{})
		worker := &transparency.Worker{Signer: p.signer, Pool: pool, Unsigned: across.Unsigned, Logger: p.signer.Logger}
		p.append(ctx, 3)
		Expect(across.Unsigned(ctx)).To(ContainElement(p.tenant))
		broken := p.tenant
		sign(ctx)
		p.do(ctx, `update chain_heads set position = 2 where tenant_id = $1`, broken)
		p.tenant += "-good"
		p.append(ctx, 3)
		conn, err := pool.Acquire(ctx)
		Expect(err).NotTo(HaveOccurred())
		_, err = conn.Exec(ctx, `select pg_advisory_lock($1)`, int64(0x73_6967_6e))
		Expect(err).NotTo(HaveOccurred())
		Expect(worker.Round(ctx)).To(Succeed())
		Expect(across.Unsigned(ctx)).To(ContainElement(p.tenant), "another node is at it")
		_, err = conn.Exec(ctx, `select pg_advisory_unlock($1)`, int64(0x73_6967_6e))
		Expect(err).NotTo(HaveOccurred())
		conn.Release()
		Expect(worker.Round(ctx)).To(Succeed())
		Expect(across.Unsigned(ctx)).To(And(Not(ContainElement(p.tenant)), ContainElement(broken)))
		Expect(p.store.Checkpoints(ctx, p.tenant, 3)).To(HaveLen(1))
	})
})

// forget takes away what the database knows of the tree and of what was signed.
func forget(ctx context.Context, p *place) {
	GinkgoHelper()
	for _, table := range []string{"audit_tiles", "audit_trees", "audit_checkpoints"} {
		p.do(ctx, `delete from `+table+` where tenant_id = $1`, p.tenant)
	}
}

// rewrite changes an event and everything after it, so that all hashes and links are right again.
func rewrite(ctx context.Context, p *place, from int64) {
	GinkgoHelper()
	rows, err := p.store.Read(ctx, p.tenant, from-1, 100)
	Expect(err).NotTo(HaveOccurred())
	prev := rows[0].PrevHash
	for i := range rows {
		row := &rows[i]
		row.Data, row.PrevHash = []byte(`{"changed":true}`), prev
		sum := eventstore.Hash(row)
		p.do(ctx, `update events set data = $3, prev_hash = $4, hash = $5 where tenant_id = $1 and position = $2`, p.tenant, row.Position, row.Data, row.PrevHash, sum[:])
		prev = sum[:]
	}
	p.do(ctx, `update chain_heads set hash = $2 where tenant_id = $1`, p.tenant, prev)
}
