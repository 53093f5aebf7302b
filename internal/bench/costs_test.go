package bench_test

import (
	"bytes"
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/bench"
)

var _ = Describe("Costs", func() {
	It("measures a rebuild beside a copy, what is read beside a round trip, and reservations beside a ping", func(ctx context.Context) {
		before := leftovers(ctx)
		var out, progress bytes.Buffer
		config := short(&out)
		config.Progress, config.Events, config.Rows = &progress, 2500, 3000
		Expect(bench.Costs(ctx, config)).To(Succeed())
		objects := lines(&out)
		Expect(objects[0]).To(And(
			HaveKeyWithValue("bench", "environment"), HaveKeyWithValue("events", BeNumerically("==", 2500)), HaveKeyWithValue("rows", BeNumerically("==", 3000))))
		var variants []any
		for _, object := range objects[1:] {
			Expect(object).To(And(HaveKeyWithValue("bench", "costs"), HaveKeyWithValue("events_per_s", BeNumerically(">", 0))))
			variants = append(variants, object["variant"])
		}
		Expect(variants).To(HaveExactElements("rebuild", "copy", "dashboard", "dashboard, as_of mid-month", "dashboard, as_of an hour ago", "breakdown",
			"breakdown since a noon", "select 1", HavePrefix("reserve"), "ping"))
		for _, object := range objects[3:] {
			Expect(object).To(And(HaveKeyWithValue("p50_ms", BeNumerically(">", 0)), HaveKeyWithValue("p99_ms", BeNumerically(">=", object["p50_ms"]))))
		}
		Expect(progress.String()).To(ContainSubstring("round 2 of 2, copy"))
		Expect(leftovers(ctx)).To(ConsistOf(before))

		By("printing a table in which only what is the same work has a ratio")
		out.Reset()
		config.JSON, config.Rounds = false, 1
		Expect(bench.Costs(ctx, config)).To(Succeed())
		Expect(out.String()).To(MatchRegexp(`(?m)^ +costs +copy .* ×`))
		Expect(out.String()).To(MatchRegexp(`(?m)^ +costs +dashboard .* - *$`))
	})

	It("tells why it could not", func(ctx context.Context) {
		config := short(&bytes.Buffer{})
		config.OwnerDSN = "postgres://127.0.0.1:1/none"
		Expect(bench.Costs(ctx, config)).To(MatchError(ContainSubstring("scratch database")))
	})
})
