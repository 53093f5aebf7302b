package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the prices projection", Label("postgres"), func() {
	It("builds the overrides that a plain fold gives, wherever batches end", func(ctx context.Context) {
		b := newBench(ctx)
		random := rand.New(rand.NewPCG(5, 6))
		start := time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC)
		var log []projections.Event
		var state prices.State
		for i := range 60 {
			event := prices.Overridden{}
			for range 1 + random.IntN(4) {
				event.Overrides = append(event.Overrides, prices.Override{
					ProviderType: "openai", Model: fmt.Sprintf("m'%d", random.IntN(4)), EffectiveFrom: start.AddDate(0, 0, random.IntN(5)),
					Rates: prices.NewRates(prices.Rate(random.Int64N(1e15)), prices.Rate(random.Int64N(1e15)), new(prices.Rate(random.Int64N(9))), nil),
				})
			}
			log = append(log, recordedAt(int64(i+1), int64(i+1), prices.Stream("acme"), event))
			state = prices.Decider().Evolve(state, event)
		}
		whole := b.rowsOf(ctx, projections.Prices{}, "price_overrides", log, len(log))
		for _, size := range []int{1, 7} {
			Expect(b.rowsOf(ctx, projections.Prices{}, "price_overrides", log, size)).To(Equal(whole))
		}

		type row struct {
			Model                                           string
			From                                            time.Time
			Input, CacheRead, CacheWrite, Output, Reasoning prices.Rate
		}
		rows := collect[row](ctx, b, `select model, effective_from, input, cache_read, cache_write, output, reasoning
			from price_overrides where tenant_id = 'first-1' order by model, effective_from`)
		var built, folded []prices.Price
		for _, r := range rows {
			built = append(built, prices.Override{ProviderType: "openai", Model: r.Model, EffectiveFrom: r.From.UTC(), Rates: prices.Rates{
				Input: r.Input, CacheRead: r.CacheRead, CacheWrite: r.CacheWrite, Output: r.Output, Reasoning: r.Reasoning,
			}}.Price())
		}
		for _, price := range state.Book().Prices() {
			if price.Source == prices.FromOverride {
				folded = append(folded, price)
			}
		}
		Expect(built).To(Equal(folded))
		Expect(len(built)).To(BeNumerically(">", 10))
	})
})
