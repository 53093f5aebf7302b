package prices_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
)

func usd(text string) prices.Rate {
	amount, err := domain.ParseAmount(text, 10)
	if err != nil {
		panic(err)
	}
	return prices.Rate(amount)
}

func ExampleBook_At() {
	book := prices.NewBook(nil)
	price, _ := book.At("openai", "gpt-4o-2024-08-06", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	fmt.Println(price.Model, price.Cost(domain.Tokens{Input: 1000, CacheRead: 200, Output: 50}))
	_, priced := book.At("openai", "gpt-99", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	fmt.Println(priced)
	// Output:
	// gpt-4o 0.0032500000
	// false
}

// exact is the cost by the book: rational numbers, rounded once.
func exact(tokens domain.Tokens, rates prices.Rates) *big.Int {
	sum := new(big.Int)
	for _, line := range [][2]int64{
		{tokens.Input, int64(rates.Input)},
		{tokens.CacheRead, int64(rates.CacheRead)},
		{tokens.CacheWrite, int64(rates.CacheWrite)},
		{tokens.Output, int64(rates.Output)},
		{tokens.Reasoning, int64(rates.Reasoning)},
	} {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(line[0]), big.NewInt(line[1])))
	}
	quotient, rest := new(big.Int).QuoRem(sum, big.NewInt(1_000_000), new(big.Int))
	switch rest.Cmp(big.NewInt(500_000)) {
	case 1:
		quotient.Add(quotient, big.NewInt(1))
	case 0:
		quotient.Add(quotient, big.NewInt(int64(quotient.Bit(0))))
	}
	return quotient
}

func TestCostIsExactAndRoundedOnce(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		some := func(most int64) int64 { return random.Int64N(1 + random.Int64N(most)) }
		tokens := domain.Tokens{Input: some(1e9), CacheRead: some(1e9), CacheWrite: some(1e6), Output: some(1e9), Reasoning: some(10)}
		rate := func() prices.Rate { return prices.Rate(some(int64(usd("600")))) }
		rates := prices.Rates{Input: rate(), CacheRead: rate(), CacheWrite: rate(), Output: rate(), Reasoning: rate()}
		got, want := prices.Price{Rates: rates}.Cost(tokens), exact(tokens, rates)
		if want.Cmp(big.NewInt(int64(got))) != 0 {
			t.Fatalf("%+v at %+v: got %d, want %d", tokens, rates, int64(got), want)
		}
	}
}

func TestCostOfBucketsIsTheSumOfTheirCostsWhereNothingIsRounded(t *testing.T) {
	t.Parallel()
	price := prices.Price{Rates: prices.Rates{Input: usd("2.5"), CacheRead: usd("1.25"), CacheWrite: usd("3.125"), Output: usd("10"), Reasoning: usd("12")}}
	all := domain.Tokens{Input: 12_000, CacheRead: 3_000, CacheWrite: 700, Output: 5_100, Reasoning: 900}
	sum := price.Cost(domain.Tokens{Input: all.Input}) + price.Cost(domain.Tokens{CacheRead: all.CacheRead}) +
		price.Cost(domain.Tokens{CacheWrite: all.CacheWrite}) + price.Cost(domain.Tokens{Output: all.Output}) + price.Cost(domain.Tokens{Reasoning: all.Reasoning})
	if got := price.Cost(all); got != sum || got.String() != "0.0977375000" {
		t.Errorf("got %s, the parts come to %s", got, sum)
	}
}

func TestCostRoundsTiesToEven(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tokens int64
		rate   prices.Rate
		want   prices.Amount
	}{
		{1, 499_999, 0},
		{1, 500_000, 0}, // a tie, down to even
		{1, 500_001, 1},
		{1, 1_500_000, 2}, // a tie, up to even
		{1, 2_500_000, 2},
		{3, 500_000, 2},
		{5, 500_000, 2},
		{7, 500_000, 4},
	} {
		if got := (prices.Price{Rates: prices.Rates{Input: c.rate}}).Cost(domain.Tokens{Input: c.tokens}); got != c.want {
			t.Errorf("%d at %d: got %d, want %d", c.tokens, c.rate, int64(got), int64(c.want))
		}
	}
	// Each line alone would round to nothing; together they are a unit.
	price := prices.Price{Rates: prices.Rates{Input: 300_000, Output: 300_000}}
	if got := price.Cost(domain.Tokens{Input: 1, Output: 1}); got != 1 {
		t.Errorf("lines were rounded apart: got %d", int64(got))
	}
}

func TestCostDoesNotOverflow(t *testing.T) {
	t.Parallel()
	const many = 1_000_000_000_000 // 10¹² tokens
	dear := prices.Price{Rates: prices.Rates{Input: usd("600"), Output: usd("300")}}
	if got := dear.Cost(domain.Tokens{Input: many, Output: many}); got != 900_000_000*domain.USD {
		t.Errorf("got %s", got)
	}
	ceiling := prices.Price{Rates: prices.NewRates(prices.MaxRate, prices.MaxRate, nil, nil)}
	most := domain.Tokens{Input: math.MaxInt64, CacheRead: math.MaxInt64, CacheWrite: math.MaxInt64, Output: math.MaxInt64, Reasoning: math.MaxInt64}
	for _, price := range []prices.Price{ceiling, {Rates: prices.Rates{Input: math.MaxInt64, CacheRead: math.MaxInt64, Output: math.MaxInt64}}} {
		for _, tokens := range []domain.Tokens{most, {Input: many, CacheRead: many, Output: many}} {
			if got := price.Cost(tokens); got != math.MaxInt64 {
				t.Errorf("%+v: got %s, not the most there is", tokens, got)
			}
		}
	}
	if got := dear.Cost(domain.Tokens{Input: 2 * many}); got != math.MaxInt64 { // fits into 64 bits, but not into an Amount
		t.Errorf("got %s, not the most there is", got)
	}
	if got := ceiling.Cost(domain.Tokens{Input: -5, Output: math.MinInt64, Reasoning: 1}); got != prices.Amount(prices.MaxRate)/1_000_000 {
		t.Errorf("counts below zero: got %s", got)
	}
}

func TestALongPromptIsChargedAtItsTierInWhole(t *testing.T) {
	t.Parallel()
	price := prices.Price{
		Rates: prices.NewRates(usd("1"), usd("2"), nil, nil),
		Tiers: []prices.Tier{
			{AbovePromptTokens: 1000, Rates: prices.NewRates(usd("10"), usd("20"), nil, nil)},
			{AbovePromptTokens: 2000, Rates: prices.NewRates(usd("100"), usd("200"), nil, nil)},
		},
	}
	for _, c := range []struct {
		tokens domain.Tokens
		want   string
	}{
		{domain.Tokens{Input: 1000, Output: 5000}, "0.0110000000"}, // what comes out does not lengthen the prompt
		{domain.Tokens{Input: 1001}, "0.0100100000"},
		{domain.Tokens{Input: 1, CacheRead: 600, CacheWrite: 400, Output: 1}, "0.0100300000"}, // what was cached does
		{domain.Tokens{Input: 2001, Reasoning: 1}, "0.2003000000"},
	} {
		if got := price.Cost(c.tokens).String(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.tokens, got, c.want)
		}
	}
}

func TestAPriceKeepsInAnEvent(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{{}, time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)} {
		for _, model := range []string{"gemini-2.5-pro", "gemini-3.6-flash"} {
			price, ok := prices.NewBook(nil).At("google", model, at)
			encoded, err := json.Marshal(price)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			var back prices.Price
			if err := json.Unmarshal(encoded, &back); err != nil {
				t.Fatal(err)
			}
			tokens := domain.Tokens{Input: 200_001, CacheRead: 7, Output: 5}
			if again, _ := json.Marshal(back); string(again) != string(encoded) || back.Cost(tokens) != price.Cost(tokens) {
				t.Errorf("%s came back as %s", encoded, again)
			}
		}
	}
	encoded, _ := json.Marshal(prices.Price{ProviderType: "ollama", Model: "m", Source: prices.Free})
	want := `{"provider_type":"ollama","model":"m","source":"free","input":0,"cache_read":0,"cache_write":0,"output":0,"reasoning":0}`
	if string(encoded) != want {
		t.Errorf("got %s", encoded)
	}
}

func BenchmarkAt(b *testing.B) {
	book := prices.NewBook(nil)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		if _, ok := book.At("openai", "gpt-4o-2024-08-06", at); !ok {
			b.Fatal("unpriced")
		}
	}
}

func BenchmarkCost(b *testing.B) {
	price, _ := prices.NewBook(nil).At("openai", "gpt-4o", time.Time{})
	for b.Loop() {
		price.Cost(domain.Tokens{Input: 1000, CacheRead: 200, Output: 50})
	}
}
