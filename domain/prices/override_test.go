package prices_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/internal/spec"
)

func TestPrices(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Prices")
}

var _ = Describe("A price book", func() {
	given := func(events ...domain.Event) spec.Behaviour[prices.State, prices.Set] {
		return spec.Given(prices.Decider(), events...)
	}
	override := func(change ...func(*prices.Override)) prices.Override {
		one := prices.Override{ProviderType: "openai", Model: "gpt-99", Rates: prices.NewRates(usd("1"), usd("2"), nil, nil), EffectiveFrom: day("2026-03-01")}
		for _, c := range change {
			c(&one)
		}
		return one
	}
	from := func(text string) func(*prices.Override) {
		return func(o *prices.Override) { o.EffectiveFrom = day(text) }
	}
	costing := func(input string) func(*prices.Override) {
		return func(o *prices.Override) { o.Rates = prices.NewRates(usd(input), usd("2"), nil, nil) }
	}
	set := func(overrides ...prices.Override) prices.Set {
		return prices.Set{Tenant: "acme", Overrides: overrides}
	}
	overridden := func(overrides ...prices.Override) domain.To {
		return domain.To{Stream: prices.Stream("acme"), Event: prices.Overridden{Overrides: overrides}}
	}

	It("takes overrides of several models at once, in a stream of the tenant's", func() {
		other := override(func(o *prices.Override) { o.ProviderType, o.Model = "vllm", "qwen" })
		given().When(set(override(), other)).Then(overridden(override(), other))
		Expect(prices.Stream("acme")).To(Equal("pricebook-5d05b0b5-4c5d-541a-8083-ab3cdf9463d9"))
		Expect(prices.Stream("globex")).NotTo(Equal(prices.Stream("acme")))
	})

	It("stores names without space around them, and moments in microseconds of UTC", func() {
		sent := override(func(o *prices.Override) {
			o.Model, o.EffectiveFrom = " gpt-99\t", day("2026-03-01").Add(999*time.Nanosecond).In(time.FixedZone("", 3600))
		})
		given().When(set(sent)).Then(overridden(override()))
	})

	It("leaves out what says nothing new of any moment", func() {
		before := prices.Overridden{Overrides: []prices.Override{override(), override(from("2026-06-01"), costing("5"))}}
		given(before).When(set(override())).Then()
		given(before).When(set(override(from("2026-04-01")))).Then()
		given(before).When(set(override(from("2026-06-01"), costing("5")), override(from("2026-07-01")))).Then(overridden(override(from("2026-07-01"))))
		given(before).When(set(override(costing("3")))).Then(overridden(override(costing("3"))))
		given(before).When(set(override(from("2026-02-01")))).Then(overridden(override(from("2026-02-01"))))
		given().When(set(override(), override(from("2026-04-01")))).Then(overridden(override()))
	})

	It("takes an override that says what the list does, since the list may change", func() {
		price, _ := prices.NewBook(nil).At("openai", "gpt-4o", day("2026-03-01"))
		same := override(func(o *prices.Override) { o.Model, o.Rates = "gpt-4o", price.Rates })
		given().When(set(same)).Then(overridden(same))
	})

	It("folds to a book in which the later of two overrides counts", func() {
		state := prices.Decider().Fold(prices.Overridden{Overrides: []prices.Override{override()}}, prices.Overridden{Overrides: []prices.Override{override(costing("3"))}})
		price, ok := state.Book().At("openai", "gpt-99", day("2026-03-01"))
		Expect(ok).To(BeTrue())
		Expect(price).To(Equal(override(costing("3")).Price()))
	})

	It("does not share what it has folded between states", func() {
		decider := prices.Decider()
		before := decider.Fold(prices.Overridden{Overrides: []prices.Override{override()}})
		one := decider.Evolve(before, prices.Overridden{Overrides: []prices.Override{override(costing("3"))}})
		two := decider.Evolve(before, prices.Overridden{Overrides: []prices.Override{override(costing("4"))}})
		Expect(one.Overrides[1].Input).To(Equal(usd("3")))
		Expect(two.Overrides[1].Input).To(Equal(usd("4")))
	})

	DescribeTable("refuses what makes no sense, all of it", func(field string, change func(*prices.Override)) {
		good := override(func(o *prices.Override) { o.Model = "good" })
		given().When(set(good, override(change))).ThenRefused(domain.Invalid, "validation_failed", "prices.1"+field)
	},
		Entry("an unknown type", ".provider_type", func(o *prices.Override) { o.ProviderType = "skynet" }),
		Entry("no model", ".model", func(o *prices.Override) { o.Model = " " }),
		Entry("a long model", ".model", func(o *prices.Override) { o.Model = strings.Repeat("m", 201) }),
		Entry("a control character", ".model", func(o *prices.Override) { o.Model = "a\x1bb" }),
		Entry("long ago", ".effective_from", from("1999-12-31")),
		Entry("far away", ".effective_from", from("2100-01-02")),
		Entry("a negative price", ".input_usd_per_1m", func(o *prices.Override) { o.Input = -1 }),
		Entry("a price beyond all", ".output_usd_per_1m", func(o *prices.Override) { o.Output = prices.MaxRate + 1 }),
		Entry("a negative price of cached input", ".cached_input_usd_per_1m", func(o *prices.Override) { o.CacheRead = -1 }),
		Entry("a negative price of cache writes", ".cache_write_usd_per_1m", func(o *prices.Override) { o.CacheWrite = -1 }),
		Entry("the same model and moment twice", "", func(o *prices.Override) { o.Model = "good" }),
	)

	It("refuses nothing, and too many", func() {
		given().When(set()).ThenRefused(domain.Invalid, "validation_failed", "prices")
		given().When(set(make([]prices.Override, 201)...)).ThenRefused(domain.Invalid, "validation_failed", "prices")
	})
})
