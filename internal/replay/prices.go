package replay

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
)

// maxPrices bounds how many prices are remembered: models may be whatever clients ask for.
const maxPrices = 10_000

type priceKey struct{ providerType, model string }

// priceBook is what models cost, as the calls that have been read say: the price that a call was charged by, and those that
// were looked up to decide where it goes.
type priceBook map[priceKey]rates

// rates are what a million tokens cost, in units of 10⁻¹⁰ USD.
type rates struct {
	Input      int64 `json:"input"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Output     int64 `json:"output"`
	Reasoning  int64 `json:"reasoning"`
	// Tiers are rates for long prompts. Only where they begin matters here: beyond it the cost is unknown.
	Tiers []struct {
		AbovePromptTokens int64 `json:"above_prompt_tokens"`
	} `json:"tiers"`
}

// learn remembers the prices that a call says.
func (b priceBook) learn(call *usage.Recorded, record *routing.Record) {
	if len(b) >= maxPrices {
		clear(b)
	}
	for _, looked := range record.Prices {
		key := priceKey{looked.Type, looked.Model}
		price, known := record.Price(looked.Type, looked.Model)
		if was := b[key]; !known || !price.Known || (was.Input == price.Input && was.Output == price.Output) {
			continue // what a call was charged by says more
		}
		b[key] = rates{Input: price.Input, CacheRead: price.Input, CacheWrite: price.Input, Output: price.Output, Reasoning: price.Output}
	}
	if len(call.Price) == 0 {
		return
	}
	var charged rates
	if json.Unmarshal(call.Price, &charged) == nil {
		b[priceKey{call.ProviderType, call.Model}] = charged
	}
}

// cost is what tokens cost, rounded half to even; ok is false where the rates don't say.
func (r rates) cost(tokens domain.Tokens) (cost amount, ok bool) {
	for _, tier := range r.Tiers {
		if tokens.Prompt() > tier.AbovePromptTokens {
			return cost, false
		}
	}
	sum := new(big.Int)
	for _, part := range [][2]int64{
		{tokens.Input, r.Input}, {tokens.CacheRead, r.CacheRead}, {tokens.CacheWrite, r.CacheWrite}, {tokens.Output, r.Output}, {tokens.Reasoning, r.Reasoning},
	} {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
	}
	const perMillion, half = 1_000_000, 500_000
	quotient, rest := new(big.Int).QuoRem(sum, big.NewInt(perMillion), new(big.Int))
	if rest.Int64() > half || (rest.Int64() == half && quotient.Bit(0) == 1) {
		quotient.Add(quotient, big.NewInt(1))
	}
	return amount{quotient}, true
}

// costOf is what a call cost; ok is false where that is not known.
func costOf(call *usage.Recorded) (cost amount, ok bool) {
	if call.CostUSD == "" {
		return amount{new(big.Int)}, !call.Unpriced && call.Tokens.Total() == 0
	}
	if strings.Trim(call.CostUSD, "-.0123456789") != "" { // an exponent could stand for a number without end
		return cost, false
	}
	value, ok := new(big.Rat).SetString(call.CostUSD)
	if !ok {
		return cost, false
	}
	value.Mul(value, new(big.Rat).SetInt64(perUSD))
	return amount{new(big.Int).Set(value.Num())}, value.IsInt()
}

// perUSD is how many units of an amount are a dollar.
const perUSD = 10_000_000_000

// amount is money in units of 10⁻¹⁰ USD; the zero value is none.
type amount struct{ units *big.Int }

func (a amount) whole() *big.Int {
	if a.units == nil {
		return new(big.Int)
	}
	return a.units
}

func (a amount) plus(b amount) amount  { return amount{new(big.Int).Add(a.whole(), b.whole())} }
func (a amount) minus(b amount) amount { return amount{new(big.Int).Sub(a.whole(), b.whole())} }

// String is the amount in USD with ten places.
func (a amount) String() string {
	units, fraction := new(big.Int).QuoRem(new(big.Int).Abs(a.whole()), big.NewInt(perUSD), new(big.Int))
	sign := ""
	if a.whole().Sign() < 0 {
		sign = "-"
	}
	return fmt.Sprintf("%s%d.%010d", sign, units, fraction)
}

// MarshalJSON implements json.Marshaler.
func (a amount) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }
