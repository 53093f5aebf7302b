package eventstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
)

// rootOf is the root over the hashes of rows, by other code than the store's.
func rootOf(rows []eventstore.Recorded) tlog.Hash {
	var r eventstore.Range
	for i := range rows {
		r.Add(rows[i].Hash)
	}
	return r.Root()
}

var _ = Describe("The tree of a log", func() {
	var store *eventstore.Store
	var tenant string

	BeforeEach(func(ctx context.Context) {
		store, tenant = open(ctx, shared, eventstore.Config{}), newTenant()
	})

	grow := func(ctx context.Context) *eventstore.Tree {
		GinkgoHelper()
		tree, err := store.GrowTree(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		return tree
	}
	// many appends n events in one go.
	many := func(ctx context.Context, n int) {
		GinkgoHelper()
		request := eventstore.Append{Tenant: tenant, Meta: []byte("{}")}
		for i := range n {
			request.Events = append(request.Events, eventstore.NewEvent{Stream: fmt.Sprintf("thing-%d", i%7), Type: "test.happened.v1", Data: []byte(`{"n":1}`)})
		}
		_, err := store.Append(ctx, request)
		Expect(err).NotTo(HaveOccurred())
	}

	It("is empty for a tenant without events, of whom nothing is written", func(ctx context.Context) {
		tree := grow(ctx)
		Expect(tree.Size).To(BeZero())
		Expect(tree.Root(ctx, 0)).To(Equal(rootOf(nil)))
		var rows int
		Expect(superuser(ctx, shared).QueryRow(ctx, `select count(*) from audit_trees where tenant_id = $1`, tenant).Scan(&rows)).To(Succeed())
		Expect(rows).To(BeZero())
	})

	It("has the root of the events' hashes at every size it grew to, and proves each event and each prefix", func(ctx context.Context) {
		sizes := []int64{}
		for _, more := range []int{1, 1, 253, 1, 1, 300} {
			many(ctx, more)
			sizes = append(sizes, grow(ctx).Size)
		}
		Expect(sizes).To(Equal([]int64{1, 2, 255, 256, 257, 557}))
		rows, err := store.Read(ctx, tenant, 0, 1000)
		Expect(err).NotTo(HaveOccurred())
		tree := grow(ctx)
		root := rootOf(rows)
		for _, size := range sizes {
			old, err := tree.Root(ctx, size)
			Expect(err).NotTo(HaveOccurred())
			Expect(old).To(Equal(rootOf(rows[:size])))
			proof, err := tree.Consistency(ctx, size, tree.Size)
			Expect(err).NotTo(HaveOccurred())
			if size < tree.Size {
				Expect(tlog.CheckTree(proof, tree.Size, root, size, old)).To(Succeed())
			}
			subtrees, err := tree.Subtrees(ctx, size)
			Expect(err).NotTo(HaveOccurred())
			continued, ok := eventstore.NewRange(size, subtrees)
			Expect(ok).To(BeTrue())
			for i := range rows[size:] {
				continued.Add(rows[size:][i].Hash)
			}
			Expect(continued.Root()).To(Equal(root))
		}
		for _, position := range []int64{1, 2, 255, 256, 257, 557} {
			proof, err := tree.Inclusion(ctx, position, tree.Size)
			Expect(err).NotTo(HaveOccurred())
			Expect(tlog.CheckRecord(proof, tree.Size, root, position-1, tlog.RecordHash(rows[position-1].Hash))).To(Succeed())
		}
		for _, wrong := range []func() error{
			func() error { _, err := tree.Root(ctx, 558); return err },
			func() error { _, err := tree.Inclusion(ctx, 558, 557); return err },
			func() error { _, err := tree.Inclusion(ctx, 0, 557); return err },
			func() error { _, err := tree.Consistency(ctx, 0, 557); return err },
			func() error { _, err := tree.Consistency(ctx, 3, 2); return err },
		} {
			Expect(wrong()).To(MatchError(eventstore.ErrRange))
		}
	})

	It("comes out the same where several nodes build it at once, while events arrive", func(ctx context.Context) {
		const builders, rounds = 4, 8
		other := open(ctx, shared, eventstore.Config{})
		done := make(chan error, builders)
		for i := range builders {
			on := []*eventstore.Store{store, other}[i%2]
			go func() {
				defer GinkgoRecover()
				for range rounds {
					if _, err := on.GrowTree(ctx, tenant); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range rounds {
			many(ctx, 100)
		}
		for range builders {
			Expect(<-done).To(Succeed())
		}
		rows, err := store.Read(ctx, tenant, 0, 1000)
		Expect(err).NotTo(HaveOccurred())
		Expect(rows).To(HaveLen(100 * rounds))
		Expect(grow(ctx).Root(ctx, int64(len(rows)))).To(Equal(rootOf(rows)))
	})

	DescribeTable("is not built of a log that does not continue it", func(ctx context.Context, crime, words string) {
		many(ctx, 5)
		grow(ctx)
		many(ctx, 5)
		_, err := superuser(ctx, shared).Exec(ctx, crime+` and tenant_id = '`+tenant+`'`)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.GrowTree(ctx, tenant)
		Expect(err).To(MatchError(eventstore.ErrTreeBroken))
		Expect(err).To(MatchError(ContainSubstring(words)))
	},
		Entry("the next event is gone", `delete from events where position = 6`, "position 6 is missing"),
		Entry("one of the new ones is gone", `delete from events where position = 8`, "position 8 is missing"),
		Entry("the last ones are gone", `delete from events where position > 8`, "position 9 is missing"),
		Entry("the next one links elsewhere", `update events set prev_hash = sha256('x') where position = 6`, "position 5 has another hash"),
		Entry("a new one links elsewhere", `update events set prev_hash = sha256('x') where position = 8`, "position 8 does not name"),
		Entry("a new one lost its hash", `update events set hash = '' where position = 7`, "position 7 has no hash"),
		Entry("the head went back", `update chain_heads set position = 4 where true`, "the tree has 5 leaves"),
		Entry("a tile was changed", `update audit_tiles set hashes = sha256('x') || substr(hashes, 1, 128) where level = 0`, "position 5 has another hash"),
		Entry("a tile was cut", `update audit_tiles set hashes = substr(hashes, 1, 64) where level = 0`, "too short"),
	)

	It("notices that the last event was replaced, though nothing was added", func(ctx context.Context) {
		many(ctx, 5)
		grow(ctx)
		_, err := superuser(ctx, shared).Exec(ctx, `update chain_heads set hash = sha256('x') where tenant_id = $1`, tenant)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.GrowTree(ctx, tenant)
		Expect(err).To(MatchError(eventstore.ErrTreeBroken))
	})

	Describe("exported", func() {
		export := func(ctx context.Context, from, to int64) []map[string]any {
			GinkgoHelper()
			prepared, err := store.PrepareExport(ctx, eventstore.Export{Tree: grow(ctx), From: from, To: to, Note: "a note\n"})
			Expect(err).NotTo(HaveOccurred())
			var out bytes.Buffer
			Expect(prepared.Write(ctx, &out)).To(Succeed())
			var lines []map[string]any
			scanner := bufio.NewScanner(&out)
			scanner.Buffer(nil, 16<<20)
			for scanner.Scan() {
				var line map[string]any
				Expect(json.Unmarshal(scanner.Bytes(), &line)).To(Succeed())
				lines = append(lines, line)
			}
			return lines
		}

		It("is every event, in order, over many pages, and the checkpoint", func(ctx context.Context) {
			const events = 2100
			many(ctx, events)
			big := single(tenant, "big-1", 0)
			big.Events[0].Data = bytes.Repeat([]byte("x"), 3<<20)
			_, err := store.Append(ctx, big)
			Expect(err).NotTo(HaveOccurred())
			lines := export(ctx, 0, 0)
			Expect(lines).To(HaveLen(events + 2))
			for i, line := range lines[:events+1] {
				Expect(line).To(HaveKeyWithValue("position", float64(i+1)))
			}
			Expect(lines[events+1]).To(Equal(map[string]any{"checkpoint": "a note\n"}))
		})

		It("begins with an anchor and ends with a proof where it is a part", func(ctx context.Context) {
			many(ctx, 9)
			tree, rows := grow(ctx), 0
			lines := export(ctx, 4, 6)
			anchor := lines[0]["anchor"].(map[string]any)
			Expect(anchor).To(HaveKeyWithValue("position", 3.0))
			Expect(anchor).To(HaveKeyWithValue("hash", lines[1]["prev_hash"]))
			Expect(anchor["subtrees"]).To(HaveLen(2))
			for _, line := range lines[1:4] {
				Expect(line).To(HaveKeyWithValue("position", float64(4+rows)))
				rows++
			}
			proof, err := tree.Consistency(ctx, 6, 9)
			Expect(err).NotTo(HaveOccurred())
			wanted := []any{}
			for _, hash := range proof {
				wanted = append(wanted, hex.EncodeToString(hash[:]))
			}
			Expect(lines[4]).To(Equal(map[string]any{"checkpoint": "a note\n", "consistency": wanted}))
		})

		It("refuses what is no range of the log", func(ctx context.Context) {
			many(ctx, 3)
			for _, bad := range [][2]int64{{4, 0}, {2, 1}, {1, 4}} {
				_, err := store.PrepareExport(ctx, eventstore.Export{Tree: grow(ctx), From: bad[0], To: bad[1]})
				Expect(err).To(MatchError(eventstore.ErrRange))
			}
		})
	})
})
