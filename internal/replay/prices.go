package replay

import (
	"encoding/json"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
)

// maxPrices bounds how many prices are remembered: models may be whatever clients ask for.
const maxPrices = 10_000

type priceKey struct{ providerType, model string }

// priceBook is what models cost, as the calls that have been read say: the price that a call was charged by, and those that
// were looked up to decide where it goes.
type priceBook map[priceKey]prices.Price

// learn remembers the prices that a call says.
func (b priceBook) learn(call *usage.Recorded, record *routing.Record) {
	if len(b) >= maxPrices {
		clear(b)
	}
	for _, looked := range record.Prices {
		price, _ := record.Price(looked.Type, looked.Model)
		key := priceKey{looked.Type, looked.Model}
		known, has := b[key]
		if !price.Known || (has && int64(known.Input) == price.Input && int64(known.Output) == price.Output) {
			continue // what a call was charged by says more
		}
		b[key] = prices.Price{Rates: prices.NewRates(prices.Rate(price.Input), prices.Rate(price.Output), nil, nil)}
	}
	if len(call.Price) == 0 {
		return
	}
	var charged prices.Price
	if json.Unmarshal(call.Price, &charged) == nil {
		b[priceKey{call.ProviderType, call.Model}] = charged
	}
}

// costOf is what a call cost; ok is false where that is not known.
func costOf(call *usage.Recorded) (cost domain.Amount, ok bool) {
	if call.CostUSD == "" {
		return 0, !call.Unpriced && call.Tokens.Total() == 0
	}
	cost, err := domain.ParseAmount(call.CostUSD, domain.AmountPlaces)
	return cost, err == nil
}
