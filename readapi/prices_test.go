package readapi_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("prices", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) {
		f = newFixture(ctx)
		f.now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	})

	list := func(ctx context.Context, of string, params api.ListPricesParams) (api.ListPrices200JSONResponse, error) {
		response, err := f.prices.ListPrices(as(ctx, of), api.ListPricesRequestObject{Params: params})
		page, _ := response.(api.ListPrices200JSONResponse)
		return page, err //nolint:wrapcheck // a test
	}
	walk := func(ctx context.Context, params api.ListPricesParams) []api.Price {
		GinkgoHelper()
		var all []api.Price
		for {
			page, err := list(ctx, tenant, params)
			Expect(err).NotTo(HaveOccurred())
			all = append(all, page.Data...)
			Expect(len(all)).To(BeNumerically("<", 500), "the list has no end")
			if params.Cursor = page.Meta.Pagination.NextCursor; params.Cursor == nil {
				return all
			}
			Expect(page.Data).To(HaveLen(*params.Limit))
		}
	}
	override := func(ctx context.Context, of, model string, input prices.Rate, from time.Time) {
		GinkgoHelper()
		f.append(ctx, of, prices.Stream(of), did("PUT", "/api/v1/cost/pricing", 200), prices.Overridden{Overrides: []prices.Override{
			{ProviderType: "google", Model: model, Rates: prices.NewRates(input, 2*input, nil, nil), EffectiveFrom: from},
		}})
		f.project(ctx, of)
	}
	flash := api.ListPricesParams{ProviderType: new(api.ProviderTypeGoogle), Model: new("gemini-3.6-flash")}

	It("are those of the list, with their dates, tiers, and which of them hold now", func(ctx context.Context) {
		page, err := list(ctx, tenant, flash)
		Expect(err).NotTo(HaveOccurred())
		at := func(text string) *time.Time {
			parsed, err := time.Parse(time.DateOnly, text)
			Expect(err).NotTo(HaveOccurred())
			return &parsed
		}
		price := func(input, output, cached json.Number, from *time.Time, current bool) api.Price {
			return api.Price{
				ProviderType: "google", Model: "gemini-3.6-flash", InputUsdPer1M: input, OutputUsdPer1M: output, CachedInputUsdPer1M: cached,
				CacheWriteUsdPer1M: input, LongContext: []api.LongContextPrice{}, Source: "list", EffectiveFrom: from, IsCurrent: current,
			}
		}
		Expect(page.Data).To(Equal([]api.Price{
			price("1.5", "7.5", "0.15", nil, false), price("0.75", "3.75", "0.075", at("2026-08-13"), true), price("1.5", "7.5", "0.15", at("2027-01-01"), false),
		}))
		page, err = list(ctx, tenant, api.ListPricesParams{ProviderType: new(api.ProviderTypeAnthropic), Model: new("claude-sonnet-4-5")})
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data[0].LongContext).To(Equal([]api.LongContextPrice{
			{AbovePromptTokens: 200_000, InputUsdPer1M: "6", OutputUsdPer1M: "22.5", CachedInputUsdPer1M: "0.6", CacheWriteUsdPer1M: "7.5"},
		}))
	})

	It("have the tenant's overrides among them, and nobody else's", func(ctx context.Context) {
		override(ctx, tenant, "gemini-3.6-flash", 10_000_000_000, f.now.AddDate(0, 0, -1))
		override(ctx, other, "gemini-3.6-flash", 90_000_000_000, f.now.AddDate(0, 0, -2))
		override(ctx, tenant, "own model", 36_250_000, f.now.AddDate(0, 0, 1))
		page, err := list(ctx, tenant, flash)
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data).To(HaveLen(4))
		Expect(page.Data[2]).To(And(HaveField("Source", api.PriceSourceOverride), HaveField("IsCurrent", true), HaveField("InputUsdPer1M", json.Number("1"))))
		for _, i := range []int{0, 1, 3} {
			Expect(page.Data[i]).To(And(HaveField("Source", api.PriceSourceList), HaveField("IsCurrent", false)), "an override holds though the list changes")
		}
		page, err = list(ctx, tenant, api.ListPricesParams{Model: new("own model")})
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data).To(HaveExactElements(And(HaveField("InputUsdPer1M", json.Number("0.003625")), HaveField("IsCurrent", false))))

		book, err := f.prices.Book(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		now, ok := book.At("google", "gemini-3.6-flash", f.now)
		Expect(ok).To(BeTrue())
		Expect(now.Input).To(BeEquivalentTo(10_000_000_000))
	})

	It("page by page, each once, in a stable order", func(ctx context.Context) {
		override(ctx, tenant, "gemini-3.6-flash", 1, time.Date(2026, 8, 13, 0, 0, 0, 0, time.UTC)) // the same moment as one of the list
		whole := walk(ctx, api.ListPricesParams{Limit: new(500)})
		Expect(len(whole)).To(BeNumerically(">", 80))
		for _, limit := range []int{1, 7, len(whole) - 1, len(whole)} {
			Expect(walk(ctx, api.ListPricesParams{Limit: &limit})).To(Equal(whole), "limit %d", limit)
		}
		current := map[string]int{}
		for _, price := range whole {
			if price.IsCurrent {
				current[string(price.ProviderType)+" "+price.Model]++
			}
		}
		Expect(current).To(HaveEach(1), "a model has one price at a time")
	})

	It("refuse a cursor that another list gave out", func(ctx context.Context) {
		foreign, err := httpx.EncodeCursor("keys", map[string]int{"b": 1})
		Expect(err).NotTo(HaveOccurred())
		for _, cursor := range []string{foreign, "nonsense"} {
			_, err = list(ctx, tenant, api.ListPricesParams{Cursor: &cursor})
			Expect(err).To(MatchError(ContainSubstring("cursor")))
		}
	})
})
