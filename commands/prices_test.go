package commands_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/internal/httpx"
)

func (f *fixture) override(ctx context.Context, sent ...api.PriceOverride) (httpx.Answer, error) {
	done, err := f.prices.OverridePrices(ctx, api.OverridePricesRequestObject{Body: &api.OverridePrices{Prices: sent}})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func pricesIn(answer httpx.Answer) []api.Price {
	GinkgoHelper()
	var envelope api.OverriddenPricesEnvelope
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
	return envelope.Data.Prices
}

// sentPrice is what a client sends for a model that the list does not know.
func sentPrice(change ...func(*api.PriceOverride)) api.PriceOverride {
	sent := api.PriceOverride{ProviderType: "openai", Model: "gpt-99", InputUsdPer1M: "1.000001", OutputUsdPer1M: "2"}
	for _, c := range change {
		c(&sent)
	}
	return sent
}

var _ = Describe("Commands on prices", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	It("override several at once, from now on or from a date on, exactly", func() {
		from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		answer, err := f.override(as(), sentPrice(), sentPrice(func(p *api.PriceOverride) {
			p.Model, p.EffectiveFrom, p.CachedInputUsdPer1M, p.CacheWriteUsdPer1M = " gpt-4o ", &from, new(json.Number("0.25e0")), new(json.Number("3"))
		}))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusOK))
		Expect(f.types()).To(Equal([]string{"prices.overridden.v1"}))
		var event prices.Overridden
		Expect(json.Unmarshal(f.log()[0].Data, &event)).To(Succeed())
		Expect(event.Overrides[0].EffectiveFrom).To(BeTemporally("~", time.Now(), time.Minute))
		Expect(event.Overrides[0].Rates).To(Equal(prices.NewRates(10_000_010_000, 20_000_000_000, nil, nil)))
		Expect(event.Overrides[1]).To(Equal(prices.Override{ProviderType: "openai", Model: "gpt-4o", EffectiveFrom: from, Rates: prices.Rates{
			Input: 10_000_010_000, Output: 20_000_000_000, Reasoning: 20_000_000_000, CacheRead: 2_500_000_000, CacheWrite: 30_000_000_000,
		}}))

		shown := pricesIn(answer)
		Expect(shown).To(HaveLen(2))
		Expect(shown[0]).To(And(HaveField("Source", api.PriceSourceOverride), HaveField("IsCurrent", true), HaveField("InputUsdPer1M", json.Number("1.000001")), HaveField("CachedInputUsdPer1M", json.Number("1.000001"))))
		Expect(shown[1]).To(And(HaveField("Model", "gpt-4o"), HaveField("IsCurrent", false), HaveField("EffectiveFrom", HaveValue(Equal(from))), HaveField("CachedInputUsdPer1M", json.Number("0.25"))))

		book, err := f.prices.Book(context.Background(), tenant)
		Expect(err).NotTo(HaveOccurred())
		price, ok := book.At("openai", "gpt-99-2026-10-10", time.Now())
		Expect(ok).To(BeTrue())
		Expect(price.Cost(domain.Tokens{Input: 1_000_000}).String()).To(Equal("1.0000010000"))
		rivals, err := f.prices.Book(context.Background(), "rival")
		Expect(err).NotTo(HaveOccurred())
		_, ok = rivals.At("openai", "gpt-99", time.Now())
		Expect(ok).To(BeFalse())
	})

	It("append nothing where nothing changes, and show what holds", func() {
		first, err := f.override(as(), sentPrice())
		Expect(err).NotTo(HaveOccurred())
		second, err := f.override(as(), sentPrice())
		Expect(err).NotTo(HaveOccurred())
		Expect(pricesIn(second)).To(Equal(pricesIn(first)), "the moment included, from which it holds")
		Expect(f.log()).To(HaveLen(1))
	})

	It("lose none of many that are made at once", func() {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				defer GinkgoRecover()
				Eventually(func() error {
					_, err := f.override(as(), sentPrice(func(p *api.PriceOverride) { p.Model = string(rune('a' + i)) }))
					return err
				}).Should(Succeed(), "contention is told to the caller, who tries again")
			})
		}
		wg.Wait()
		book, err := f.prices.Book(context.Background(), tenant)
		Expect(err).NotTo(HaveOccurred())
		for i := range 8 {
			_, ok := book.At("openai", string(rune('a'+i)), time.Now())
			Expect(ok).To(BeTrue(), string(rune('a'+i)))
		}
	})

	DescribeTable("refuse what makes no sense, by field", func(field string, change func(*api.PriceOverride)) {
		_, err := f.override(as(), sentPrice(func(p *api.PriceOverride) { p.Model = "good" }), sentPrice(change))
		refused := refusal(err)
		Expect(refused.Kind).To(Equal(domain.Invalid))
		Expect(refused.Details).To(HaveKey("prices.1" + field))
		Expect(f.log()).To(BeEmpty())
	},
		Entry("finer than money", ".input_usd_per_1m", func(p *api.PriceOverride) { p.InputUsdPer1M = "0.0000001" }),
		Entry("no number", ".output_usd_per_1m", func(p *api.PriceOverride) { p.OutputUsdPer1M = "1e9999" }),
		Entry("cached input finer than money", ".cached_input_usd_per_1m", func(p *api.PriceOverride) { p.CachedInputUsdPer1M = new(json.Number("1.0000001")) }),
		Entry("cache writes beyond all", ".cache_write_usd_per_1m", func(p *api.PriceOverride) { p.CacheWriteUsdPer1M = new(json.Number("10001")) }),
		Entry("below nothing", ".input_usd_per_1m", func(p *api.PriceOverride) { p.InputUsdPer1M = "-1" }),
		Entry("no model", ".model", func(p *api.PriceOverride) { p.Model = " " }),
		Entry("long ago", ".effective_from", func(p *api.PriceOverride) { p.EffectiveFrom = new(time.Time) }),
		Entry("the same twice", "", func(p *api.PriceOverride) { p.Model = "good" }),
	)
})
