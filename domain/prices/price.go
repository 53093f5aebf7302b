package prices

import (
	"cmp"
	"math"
	"math/bits"
	"time"

	"github.com/archonhq/archon/domain"
)

// Amount is money in units of 10⁻¹⁰ USD.
type Amount = domain.Amount

// Rate is what a million tokens cost, in units of 10⁻¹⁰ USD.
type Rate int64

// MaxRate bounds rates, at 10,000 USD per million tokens: a hundred times the dearest that is known.
const MaxRate = Rate(10_000 * domain.USD)

// Source says where a price is from.
type Source string

// The sources of a price.
const (
	FromList     Source = "list"
	FromOverride Source = "override"
	// Free is what costs nothing because it runs on machines of the tenant's own.
	Free Source = "free"
)

// Rates are what tokens cost by the bucket that they are counted in.
type Rates struct {
	Input      Rate `json:"input"`
	CacheRead  Rate `json:"cache_read"`
	CacheWrite Rate `json:"cache_write"`
	Output     Rate `json:"output"`
	// Reasoning is billed as output wherever it is not priced apart.
	Reasoning Rate `json:"reasoning"`
}

// Tier holds for calls with a long prompt, for all of their tokens.
type Tier struct {
	// AbovePromptTokens is the longest prompt that is still charged at the rates before the tier.
	AbovePromptTokens int64 `json:"above_prompt_tokens"`
	Rates
}

// Price is what a model costs from a moment on. Its JSON, whose rates are whole numbers of 10⁻¹⁰ USD per million tokens, is
// what usage events store.
type Price struct {
	ProviderType string `json:"provider_type"`
	// Model is the one that the price is listed under, which may be shorter than the model that was called; see Book.At.
	Model  string `json:"model"`
	Source Source `json:"source"`
	// EffectiveFrom is when the price begins to hold; the zero time where it holds from the beginning.
	EffectiveFrom time.Time `json:"effective_from,omitzero"`
	Rates

	// Tiers are in ascending order; most models have none.
	Tiers []Tier `json:"tiers,omitempty"`
}

// perMillion is the number of tokens that a rate is for, and maxTokens bounds a bucket: beyond it a count is no count, and
// up to it the sum over the buckets fits into 128 bits.
const (
	perMillion = 1_000_000
	maxTokens  = 1_000_000_000_000_000
)

// Cost is what tokens cost, rounded once, half to even, to 10⁻¹⁰ USD. What is beyond Amount, 922 million USD, is that much;
// counts below zero are none.
func (p Price) Cost(tokens domain.Tokens) Amount {
	rates := p.at(clamp(tokens.Input) + clamp(tokens.CacheRead) + clamp(tokens.CacheWrite))
	var sum uint128
	sum.add(tokens.Input, rates.Input)
	sum.add(tokens.CacheRead, rates.CacheRead)
	sum.add(tokens.CacheWrite, rates.CacheWrite)
	sum.add(tokens.Output, rates.Output)
	sum.add(tokens.Reasoning, rates.Reasoning)
	return sum.amount()
}

// at are the rates for a prompt of a length.
func (p Price) at(promptTokens int64) Rates {
	rates := p.Rates
	for _, tier := range p.Tiers {
		if promptTokens > tier.AbovePromptTokens {
			rates = tier.Rates
		}
	}
	return rates
}

func clamp(tokens int64) int64 { return min(max(tokens, 0), maxTokens) }

type uint128 struct{ hi, lo uint64 }

func (u *uint128) add(tokens int64, rate Rate) {
	hi, lo := bits.Mul64(uint64(clamp(tokens)), uint64(max(rate, 0))) //nolint:gosec // neither is negative
	var carry uint64
	u.lo, carry = bits.Add64(u.lo, lo, 0)
	u.hi, _ = bits.Add64(u.hi, hi, carry)
}

func (u *uint128) amount() Amount {
	if u.hi >= perMillion {
		return math.MaxInt64
	}
	quotient, rest := bits.Div64(u.hi, u.lo, perMillion)
	const half = perMillion / 2
	if rest > half || (rest == half && quotient%2 == 1) {
		quotient++
	}
	if quotient > math.MaxInt64 {
		return math.MaxInt64
	}
	return Amount(quotient)
}

// Compare orders prices by provider type, model, date and source: a book has no two that are equal in this.
func Compare(a, b Price) int {
	return cmp.Or(
		cmp.Compare(a.ProviderType, b.ProviderType), cmp.Compare(a.Model, b.Model),
		a.EffectiveFrom.Compare(b.EffectiveFrom), cmp.Compare(a.Source, b.Source))
}
