package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
)

// priceTables are the projections that show what a price is.
var priceTables = []string{"prices", "audit_index"} //nolint:gochecknoglobals // a constant list

// Prices holds the use cases of a tenant's price book.
type Prices struct {
	Handler *Handler
	Reads   ReadYourWrites
	// Show is a price as the API shows it.
	Show func(price prices.Price, isCurrent bool) api.Price
}

type priceTask = task[prices.State, prices.Set]

// OverridePrices implements api.StrictServerInterface.
func (p *Prices) OverridePrices(ctx context.Context, request api.OverridePricesRequestObject) (api.OverridePricesResponseObject, error) {
	now := p.Handler.Now()
	overrides, err := overridesOf(request.Body.Prices, now)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := handle(ctx, p.Handler, caller, priceTask{
		decider: prices.Decider(),
		command: prices.Set{Tenant: caller.Tenant, Overrides: overrides},
		streams: []string{prices.Stream(caller.Tenant)},
		answer: func(state prices.State, _ int64, _ time.Time) response {
			return response{status: http.StatusOK, data: p.holding(state.Book(), overrides, now)}
		},
	})
	return finish(ctx, p.Handler, p.Reads, caller, done, err, priceTables...)
}

// Book is a tenant's price book as the log has it, nothing of it missing.
func (p *Prices) Book(ctx context.Context, tenant string) (prices.Book, error) {
	f, err := fold(ctx, p.Handler, tenant, priceTask{decider: prices.Decider(), streams: []string{prices.Stream(tenant)}})
	return f.state.Book(), err
}

// holding shows what holds at the moments of overrides.
func (p *Prices) holding(book prices.Book, overrides []prices.Override, now time.Time) api.OverriddenPrices {
	shown := api.OverriddenPrices{Prices: make([]api.Price, 0, len(overrides))}
	for _, override := range overrides {
		if price, holds := book.At(override.ProviderType, override.Model, override.EffectiveFrom); holds {
			shown.Prices = append(shown.Prices, p.Show(price, book.IsCurrent(price, now)))
		}
	}
	return shown
}

// overridesOf reads what was sent, with every amount of money that does not fit.
func overridesOf(sent []api.PriceOverride, now time.Time) ([]prices.Override, error) {
	details := map[string]any{}
	overrides := make([]prices.Override, len(sent))
	for i, one := range sent {
		rate := func(field string, sent *json.Number) *prices.Rate {
			amount, reason := moneyOf(sent)
			if reason != "" {
				details[fmt.Sprintf("prices.%d.%s", i, field)] = reason
			}
			if amount == nil {
				return nil
			}
			rate := prices.Rate(*amount)
			return &rate
		}
		from := now
		if one.EffectiveFrom != nil {
			from = *one.EffectiveFrom
		}
		overrides[i] = prices.Override{
			ProviderType: string(one.ProviderType), Model: one.Model, EffectiveFrom: from,
			Rates: prices.NewRates(
				orZero(rate("input_usd_per_1m", &one.InputUsdPer1M)), orZero(rate("output_usd_per_1m", &one.OutputUsdPer1M)),
				rate("cached_input_usd_per_1m", one.CachedInputUsdPer1M), rate("cache_write_usd_per_1m", one.CacheWriteUsdPer1M)),
		}
	}
	if err := invalidMoney(details); err != nil {
		return nil, err
	}
	return prices.Normalised(overrides) //nolint:wrapcheck // a refusal is passed on as it is
}

// moneyPlaces are the decimal places that the contract has for money.
const moneyPlaces = 6

// moneyOf reads an amount of dollars that a client sent, or says what is wrong with it; nil stays nil.
func moneyOf(sent *json.Number) (amount *domain.Amount, reason string) {
	if sent == nil {
		return nil, ""
	}
	parsed, err := domain.ParseAmount(sent.String(), moneyPlaces)
	if err != nil {
		return nil, err.Error()
	}
	return &parsed, ""
}

func invalidMoney(details map[string]any) error {
	return domain.InvalidFields("An amount of money does not fit.", details)
}
