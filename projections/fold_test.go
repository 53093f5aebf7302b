package projections_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("a projector that folds", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	// appendLog writes a log of the tenant in pieces, with something to do after each.
	appendLog := func(ctx context.Context, tenant string, log []projections.Event, pieces func() int, after func(last int64)) int64 {
		GinkgoHelper()
		var last int64
		for len(log) > 0 {
			n := min(pieces(), len(log))
			var events []eventstore.NewEvent
			for _, event := range log[:n] {
				data, err := json.Marshal(event.Payload)
				Expect(err).NotTo(HaveOccurred())
				events = append(events, eventstore.NewEvent{Stream: event.Stream, Type: event.Type, Data: data})
			}
			log = log[n:]
			result, err := b.store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte(`{}`)})
			Expect(err).NotTo(HaveOccurred())
			last = result.Last
			after(last)
		}
		return last
	}
	runner := func(reads int) *projections.Runner {
		return b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: reads}, projections.Providers{})
	}
	forget := func(ctx context.Context) {
		b.exec(ctx, `truncate projection_checkpoints, model_providers, provider_health, provider_health_history, provider_health_slots`)
	}

	DescribeTable("makes the same rows live and in one go, whatever a read and a batch hold", func(ctx context.Context, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 17))
		live := runner(1 + random.IntN(30))
		last := appendLog(ctx, "acme", recent(randomLog(seed, 300)), func() int { return 1 + random.IntN(25) }, func(last int64) {
			Expect(live.Wait(ctx, "acme", last)).To(Succeed())
		})
		want := b.dump(ctx, "acme")
		Expect(want).To(ContainElement(ContainSubstring(`"seconds": 10,`)))
		Expect(want).To(ContainElement(ContainSubstring(`"seconds": 600,`)))
		for _, reads := range []int{1000, 1 + random.IntN(12), 1 + random.IntN(100)} {
			forget(ctx)
			Expect(runner(reads).Wait(ctx, "acme", last)).To(Succeed())
			Expect(b.dump(ctx, "acme")).To(Equal(want), "%d events a read", reads)
		}
	}, Entry(nil, uint64(21)), Entry(nil, uint64(22)), Entry(nil, uint64(23)))

	It("takes many reads into one transaction when it is far behind", func(ctx context.Context) {
		last := appendLog(ctx, "acme", randomLog(25, 300), func() int { return 300 }, func(int64) {})
		var moves []int64
		catching := b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: 10, Projected: func(_, _ string, position int64) {
			moves = append(moves, position)
		}}, projections.Providers{})
		Expect(catching.Wait(ctx, "acme", last)).To(Succeed())
		Expect(len(moves)).To(BeNumerically("<", 15), "30 reads")
		Expect(moves).To(ContainElement(last))
	})

	It("ends the batch with the read that has come to 32 MB", func(ctx context.Context) {
		last := appendLog(ctx, "acme", randomLog(26, 100), func() int { return 100 }, func(int64) {})
		for size, batches := range map[int]int{32<<20 - 1: 1, 32 << 20: 10} {
			forget(ctx)
			var moves []int64
			heavy := b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: 10, Projected: func(_, _ string, position int64) {
				moves = append(moves, position)
			}}, weighed{size: size})
			Expect(heavy.Wait(ctx, "acme", last)).To(Succeed())
			Expect(len(moves)).To(BeNumerically("~", batches, 1), "%d bytes", size)
			Expect(moves).To(ContainElement(last))
		}
	})

	It("makes them once, whatever cuts its connections", func(ctx context.Context) {
		last := appendLog(ctx, "acme", recent(randomLog(31, 600)), func() int { return 100 }, func(int64) {})
		Expect(runner(1000).Wait(ctx, "acme", last)).To(Succeed())
		want := b.dump(ctx, "acme")
		for range 5 {
			forget(ctx)
			done := make(chan error, 1)
			go func() { done <- runner(4).Wait(ctx, "acme", last) }()
			for range 4 {
				b.killConnections(ctx)
			}
			Expect(<-done).To(Succeed())
			Expect(b.dump(ctx, "acme")).To(Equal(want))
		}
	})

	DescribeTable("stops exactly before a poison event in the middle of a batch of many reads", func(ctx context.Context, poison string) {
		log := randomLog(41, 200)
		none := func(int64) {}
		whole := func() int { return len(log) }
		before := appendLog(ctx, "acme", log[:130], whole, none)
		_, err := b.store.Append(ctx, eventstore.Append{Tenant: "acme", Meta: []byte(`{}`), Events: []eventstore.NewEvent{
			{Stream: "providerhealth-x", Type: providers.Probed{}.EventType(), Data: []byte(poison)},
		}})
		Expect(err).NotTo(HaveOccurred())
		last := appendLog(ctx, "acme", log[130:], whole, none)
		appendLog(ctx, "intact", log[:130], whole, none)

		Expect(runner(10).Wait(ctx, "acme", last)).To(MatchError(projections.ErrHalted))
		Expect(b.checkpoint(ctx, "acme", projections.ProvidersName)).To(And(
			HaveField("Status", "stalled"), HaveField("Position", before), HaveField("ErrorAt", before+1), HaveField("ErrorType", providers.Probed{}.EventType())))
		Expect(runner(10).Wait(ctx, "intact", before)).To(Succeed())
		Expect(b.providerRows(ctx, "acme")).To(HaveLen(len(b.providerRows(ctx, "intact"))))
		calls := callsIn(b.historyRows(ctx, "acme"))
		Expect(calls).To(And(BeNumerically(">", 0), Equal(callsIn(b.historyRows(ctx, "intact")))))
	},
		Entry("that can't be decoded", `{"provider_id":7}`),
		Entry("that the fold refuses", `{"provider_id":"x"}`),
		Entry("that PostgreSQL refuses", `{"provider_id":"0190a1b2-0000-7000-8000-000000000001","latency_ms":1,"checked_at":"2026-01-01T00:00:00Z","error":"\u0000"}`),
	)

	It("stops at a broken link behind the first read of a batch", func(ctx context.Context) {
		last := appendLog(ctx, "acme", randomLog(51, 200), func() int { return 200 }, func(int64) {})
		b.exec(ctx, `alter table events disable trigger events_append_only`)
		b.exec(ctx, `update events set prev_hash = sha256('x') where position = 150`)
		Expect(runner(10).Wait(ctx, "acme", last)).To(MatchError(projections.ErrHalted))
		Expect(b.checkpoint(ctx, "acme", projections.ProvidersName)).To(And(
			HaveField("Status", "stalled"), HaveField("Position", BeEquivalentTo(149)), HaveField("Error", ContainSubstring("prev_hash of position 150"))))
	})

	It("searches the index for the position that it reads from", func(ctx context.Context) {
		appendLog(ctx, "acme", randomLog(61, 300), func() int { return 300 }, func(int64) {})
		for _, sql := range projections.ReadStatements() {
			var plan []string
			Expect(pgx.BeginFunc(ctx, b.worker, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select set_config('app.tenant_id', 'acme', true),`+projections.PlanByIndex)
				Expect(err).NotTo(HaveOccurred())
				_, err = tx.Exec(ctx, `prepare reading as `+sql)
				Expect(err).NotTo(HaveOccurred())
				_, err = tx.Exec(ctx, `set local plan_cache_mode = force_generic_plan`)
				Expect(err).NotTo(HaveOccurred())
				rows, err := tx.Query(ctx, `explain execute reading('acme', null, 10, null, 'providers', 1`+projections.MoreArguments(sql)+`)`, pgx.QueryExecModeSimpleProtocol)
				Expect(err).NotTo(HaveOccurred())
				plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
				Expect(err).NotTo(HaveOccurred())
				_, err = tx.Exec(ctx, `deallocate reading`)
				return err //nolint:wrapcheck // a test
			})).To(Succeed())
			Expect(plan).To(ContainElement(MatchRegexp(`Index Cond: .*tenant_id.*"position" >`)), sql)
		}
	})
})

// callsIn sums up the calls of history.
func callsIn(rows []historyRow) (calls int64) {
	for _, row := range rows {
		calls += row.Requests
	}
	return calls
}

// recent is a log whose calls and probes end now, so that slots of all widths are kept of it.
func recent(log []projections.Event) []projections.Event {
	by := time.Since(log[len(log)-1].Time()).Truncate(time.Microsecond)
	for i := range log {
		switch payload := log[i].Payload.(type) {
		case providers.Sampled:
			payload.From, payload.To = payload.From.Add(by), payload.To.Add(by)
			log[i].Payload = payload
		case providers.Probed:
			payload.CheckedAt = payload.CheckedAt.Add(by)
			log[i].Payload = payload
		}
	}
	return log
}

// weighed is the providers' projector whose folds say that they are of one size.
type weighed struct {
	projections.Providers
	size int
}

func (w weighed) Fold() projections.Fold { return weighedFold{w.Providers.Fold(), w.size} }

type weighedFold struct {
	projections.Fold
	size int
}

func (f weighedFold) Bytes() int { return f.size }
