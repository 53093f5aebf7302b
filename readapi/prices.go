package readapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/internal/httpx"
)

// Prices answers what models cost.
type Prices struct {
	Database Database
	Now      func() time.Time
}

// overrideRow is a row of price_overrides.
type overrideRow struct {
	ProviderType  string
	Model         string
	EffectiveFrom time.Time
	Input         prices.Rate
	CacheRead     prices.Rate
	CacheWrite    prices.Rate
	Output        prices.Rate
	Reasoning     prices.Rate
}

// Book is a tenant's price book as the read tables have it.
func (p *Prices) Book(ctx context.Context, tenant string) (prices.Book, error) {
	rows, err := query[overrideRow](ctx, p.Database, tenant, `select provider_type, model, effective_from, input, cache_read, cache_write,
		output, reasoning from price_overrides where tenant_id = $1`)
	if err != nil {
		return prices.Book{}, err
	}
	overrides := make([]prices.Override, len(rows))
	for i, row := range rows {
		overrides[i] = prices.Override{
			ProviderType: row.ProviderType, Model: row.Model, EffectiveFrom: row.EffectiveFrom.UTC(),
			Rates: prices.Rates{Input: row.Input, CacheRead: row.CacheRead, CacheWrite: row.CacheWrite, Output: row.Output, Reasoning: row.Reasoning},
		}
	}
	return prices.NewBook(overrides), nil
}

// priceCursor is where a page of the list ended.
type priceCursor struct {
	ProviderType  string        `json:"t"`
	Model         string        `json:"m"`
	EffectiveFrom time.Time     `json:"f"`
	Source        prices.Source `json:"s"`
}

// isBefore tells whether the page ended before a price.
func (c priceCursor) isBefore(price prices.Price) bool {
	return prices.Compare(prices.Price{ProviderType: c.ProviderType, Model: c.Model, EffectiveFrom: c.EffectiveFrom, Source: c.Source}, price) < 0
}

// ListPrices implements api.StrictServerInterface. The list and a tenant's overrides are few: they are put together here, and
// a page is cut out of them.
func (p *Prices) ListPrices(ctx context.Context, request api.ListPricesRequestObject) (api.ListPricesResponseObject, error) {
	params := request.Params
	var after priceCursor
	page, err := pageOf("prices", params.Limit, params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	book, err := p.Book(ctx, httpx.From(ctx).Principal.Tenant)
	if err != nil {
		return nil, err
	}
	shown, now := []api.Price{}, p.Now()
	var last prices.Price
	for _, price := range book.Prices() {
		if (params.Cursor != nil && !after.isBefore(price)) || (params.ProviderType != nil && price.ProviderType != string(*params.ProviderType)) ||
			(params.Model != nil && price.Model != *params.Model) {
			continue
		}
		if len(shown) == page.limit {
			err = page.continueAfter(priceCursor{last.ProviderType, last.Model, last.EffectiveFrom, last.Source})
			break
		}
		shown, last = append(shown, PriceOf(price, book.IsCurrent(price, now))), price
	}
	return api.ListPrices200JSONResponse{Data: shown, Meta: page.meta(ctx)}, err
}

// PriceOf is a price as the API shows it.
func PriceOf(price prices.Price, isCurrent bool) api.Price {
	shown := api.Price{
		ProviderType: api.ProviderType(price.ProviderType), Model: price.Model, Source: api.PriceSource(price.Source), IsCurrent: isCurrent,
		InputUsdPer1M: dollars(price.Input), OutputUsdPer1M: dollars(price.Output), CachedInputUsdPer1M: dollars(price.CacheRead),
		CacheWriteUsdPer1M: dollars(price.CacheWrite), LongContext: []api.LongContextPrice{},
	}
	for _, tier := range price.Tiers {
		shown.LongContext = append(shown.LongContext, api.LongContextPrice{
			AbovePromptTokens: tier.AbovePromptTokens, InputUsdPer1M: dollars(tier.Input), OutputUsdPer1M: dollars(tier.Output),
			CachedInputUsdPer1M: dollars(tier.CacheRead), CacheWriteUsdPer1M: dollars(tier.CacheWrite),
		})
	}
	if !price.EffectiveFrom.IsZero() {
		from := price.EffectiveFrom.UTC()
		shown.EffectiveFrom = &from
	}
	return shown
}

// dollars is a rate in US dollars per million tokens.
func dollars(rate prices.Rate) json.Number { return domain.Amount(rate).Number() }
