package projections_test

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the health tables", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	It("have the status rule of the domain in SQL", func(ctx context.Context) {
		type input struct {
			OK               *bool
			Failures         int
			Requests, Errors int64
			Status           string
		}
		found := collect[input](ctx, b, `select ok, f, r, e, provider_health_status(ok, f, r, e)
			from unnest(array[null, true, false]) as o(ok), generate_series(0, 5) as f, generate_series(0, 120::bigint) as r, generate_series(0, r) as e`)
		Expect(len(found)).To(BeNumerically(">", 100_000))
		for _, in := range found {
			probes := providers.Health{Failures: in.Failures}
			if in.OK != nil {
				probes.Tested, probes.OK = true, *in.OK
			} else if in.Failures > 0 {
				continue // nothing failed that was not tested
			}
			if want := string(providers.StatusOf(probes, in.Requests, in.Errors)); in.Status != want {
				Fail("the rules differ: SQL says " + in.Status + ", the domain " + want)
			}
		}
	})

	It("add slots up place by place", func(ctx context.Context) {
		type sums struct {
			Counts  []int64
			Latency []string
		}
		Expect(collect[sums](ctx, b, `select slots_add(array[1,2,3,4,5,6]::bigint[], array[10,20,30,40,50,9007199254740993]::bigint[]),
			slots_add(array[0,0,0,1e8,2,1e1272]::numeric[], array[0,1,2e8,99999998,3,1e1272]::numeric[])::text[]`)[0]).To(And(
			HaveField("Counts", []int64{11, 22, 33, 44, 55, 9007199254740999}),
			HaveField("Latency", HaveExactElements("0", "1", "200000000", "199999998", "5", HavePrefix("2000")))))
	})

	It("merge histograms by +, as the domain does", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(8, 15))
		for range 50 {
			var left, right providers.Histogram
			for range random.IntN(200) {
				left.Add(random.ExpFloat64() * 300)
				right.Add(random.ExpFloat64() * 600_000)
			}
			numbers := projections.Numerics(&left, &right, &providers.Histogram{})
			var sum, first, none string
			Expect(pgx.BeginFunc(ctx, b.worker, func(tx pgx.Tx) error {
				Expect(projections.Teach(ctx, tx.Conn(), projections.Providers{})).To(Succeed())
				return tx.QueryRow(ctx, `select (n[1] + n[2])::text, n[1]::text, n[3]::text from (select $1::numeric[] as n) as given`, numbers).Scan(&sum, &first, &none)
			})).To(Succeed())
			Expect(providers.FromNumber(first)).To(Equal(left))
			Expect(none).To(Equal("0"))
			merged := left
			merged.Merge(&right)
			Expect(providers.FromNumber(sum)).To(Equal(merged))
		}
	})

	It("have the status as of the last event, not of now", func(ctx context.Context) {
		log := randomLog(5, 1) // a registration
		id := log[0].Payload.(providers.Registered).ProviderID
		at := log[0].Time()
		add := func(after time.Duration, payload eventstore.Typed) {
			log = append(log, projections.Event{Payload: payload, Recorded: eventstore.Recorded{OccurredAt: at.Add(after).UnixMicro()}})
		}
		sample := func(after time.Duration, errors int64) {
			add(after, providers.Sampled{ProviderID: id, From: at.Add(after - 10*time.Second), To: at.Add(after), Requests: 20, Errors: errors})
		}
		status := func() string {
			b.exec(ctx, `delete from model_providers`)
			b.exec(ctx, `delete from provider_health`)
			b.exec(ctx, `delete from provider_health_history`)
			b.exec(ctx, `delete from provider_health_slots`)
			b.project(ctx, "acme", log, func() int { return len(log) })
			return b.providerRows(ctx, "acme")[0].HealthStatus
		}
		Expect(status()).To(Equal("unknown"))
		sample(time.Minute, 2)
		Expect(status()).To(Equal("degraded"))
		sample(2*time.Minute, 19)
		Expect(status()).To(Equal("unhealthy"))
		add(3*time.Minute, providers.Probed{ProviderID: id, OK: true, CheckedAt: at.Add(3 * time.Minute)})
		Expect(status()).To(Equal("unhealthy"), "calls say more than a probe")
		add(8*time.Minute, providers.Probed{ProviderID: id, OK: true, CheckedAt: at.Add(8 * time.Minute)})
		Expect(status()).To(Equal("healthy"), "the calls are over")
		add(9*time.Minute, providers.Probed{ProviderID: id, Failures: 3, CheckedAt: at.Add(9 * time.Minute)})
		sample(9*time.Minute, 0)
		Expect(status()).To(Equal("unhealthy"), "three probes in a row")
	})
})
