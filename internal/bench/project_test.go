package bench_test

import (
	"bytes"
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/bench"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("Project", func() {
	It("measures a catch-up beside a copy, and the lag of all projections", func(ctx context.Context) {
		before := leftovers(ctx)
		var out, progress bytes.Buffer
		config := short(&out)
		config.Progress, config.Events = &progress, 2500
		Expect(bench.Project(ctx, config)).To(Succeed())
		objects := lines(&out)
		Expect(objects).To(HaveLen(4))
		Expect(objects[0]).To(And(HaveKeyWithValue("bench", "environment"), HaveKeyWithValue("events", BeNumerically("==", 2500))))
		for i, variant := range []string{"archon", "copy", "lag"} {
			Expect(objects[i+1]).To(And(
				HaveKeyWithValue("bench", "project"), HaveKeyWithValue("variant", variant), HaveKeyWithValue("events_per_s", BeNumerically(">", 0))))
		}
		Expect(objects[3]).To(And(
			HaveKeyWithValue("p50_ms", BeNumerically(">", 0)), HaveKeyWithValue("p99_ms", BeNumerically(">=", objects[3]["p50_ms"]))))
		Expect(progress.String()).To(ContainSubstring("round 2 of 2, copy"))
		Expect(leftovers(ctx)).To(ConsistOf(before))
	})

	It("tells why it could not", func(ctx context.Context) {
		config := short(&bytes.Buffer{})
		config.OwnerDSN = "postgres://127.0.0.1:1/none"
		Expect(bench.Project(ctx, config)).To(MatchError(ContainSubstring("scratch database")))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		Expect(bench.Project(cancelled, short(&bytes.Buffer{}))).NotTo(Succeed())
	})
})

var _ = Describe("Rebuild", func() {
	It("measures rebuilds beside a copy, which find the rows that are there", func(ctx context.Context) {
		before := leftovers(ctx)
		var out bytes.Buffer
		config := short(&out)
		config.Events = 2500
		Expect(bench.Rebuild(ctx, config, []projections.Projector{projections.Providers{}, projections.AuditIndex{}, projections.Keys{}})).To(Succeed())
		objects := lines(&out)
		Expect(objects).To(HaveLen(5))
		for i, variant := range []string{"all", "providers", "audit_index", "copy"} {
			Expect(objects[i+1]).To(And(
				HaveKeyWithValue("bench", "rebuild"), HaveKeyWithValue("variant", variant), HaveKeyWithValue("events_per_s", BeNumerically(">", 0))))
		}
		Expect(leftovers(ctx)).To(ConsistOf(before))
	})
})
