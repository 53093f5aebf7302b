package prices_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
)

var write = flag.Bool("write", false, "write the golden form of the price list")

func day(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return at
}

// The golden file is the list as calls are charged by it: a change of prices.csv shows there as what it changes.
func TestTheListIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	line := func(what string, r prices.Rates) {
		fmt.Fprintf(&text, "%s: input %s, cache read %s, cache write %s, output %s\n", what,
			domain.Amount(r.Input), domain.Amount(r.CacheRead), domain.Amount(r.CacheWrite), domain.Amount(r.Output))
	}
	for _, price := range prices.NewBook(nil).Prices() {
		from := "always"
		if !price.EffectiveFrom.IsZero() {
			from = price.EffectiveFrom.Format(time.RFC3339)
		}
		line(fmt.Sprintf("%s %s from %s", price.ProviderType, price.Model, from), price.Rates)
		for _, tier := range price.Tiers {
			line(fmt.Sprintf("  above %d prompt tokens", tier.AbovePromptTokens), tier.Rates)
		}
	}
	golden := filepath.Join("testdata", "list.txt")
	if *write {
		if err := os.WriteFile(golden, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(golden)
	if err != nil || string(stored) != text.String() {
		t.Errorf("the list is another one than in %s (%v); go test ./domain/prices -write writes it anew: look at the difference", golden, err)
	}
}

func TestEveryListedPriceMakesSense(t *testing.T) {
	t.Parallel()
	types := map[string]bool{}
	for _, known := range providers.Types() {
		types[string(known)] = true
	}
	for _, price := range prices.NewBook(nil).Prices() {
		all := []prices.Rates{price.Rates}
		for _, tier := range price.Tiers {
			if tier.Input <= price.Input || tier.Output < price.Output {
				t.Errorf("%+v: a longer prompt is cheaper", price)
			}
			all = append(all, tier.Rates)
		}
		for _, r := range all {
			if r.Input <= 0 || r.Output < 0 || r.CacheRead > r.Input || r.CacheRead <= 0 || r.CacheWrite < r.Input || r.Reasoning != r.Output || r.Input > prices.MaxRate {
				t.Errorf("%+v: %+v", price, r)
			}
		}
		if !types[price.ProviderType] || price.Source != prices.FromList {
			t.Errorf("%+v", price)
		}
	}
}

func TestProviderTypesAreThoseOfProviders(t *testing.T) {
	t.Parallel()
	var types []string
	for _, known := range providers.Types() {
		types = append(types, string(known))
	}
	if !slices.Equal(types, prices.ProviderTypes()) {
		t.Errorf("got %q", prices.ProviderTypes())
	}
}

func TestPricesHoldFromTheirDatesOn(t *testing.T) {
	t.Parallel()
	book := prices.NewBook(nil)
	for _, c := range []struct {
		providerType, model string
		at                  time.Time
		input, output       string
	}{
		{"openai", "o3", time.Time{}, "10", "40"},
		{"openai", "o3", day("2025-06-14").Add(-time.Nanosecond), "10", "40"},
		{"openai", "o3", day("2025-06-14"), "2", "8"},
		{"openai", "o3", day("2099-01-01"), "2", "8"},
		{"google", "gemini-3.6-flash", day("2026-08-12"), "1.5", "7.5"},
		{"google", "gemini-3.6-flash", day("2026-12-31"), "0.75", "3.75"},
		{"google", "gemini-3.6-flash", day("2027-01-01"), "1.5", "7.5"}, // announced
		{"openai", "gpt-5.6-sol", day("2026-08-20"), "5", "30"},
		{"openai", "gpt-5.6-sol", day("2026-08-21"), "4", "20"},
		{"mistral", "mistral-small-latest", day("2025-01-01"), "1", "3"},
		{"mistral", "mistral-small-latest", day("2025-03-22"), "0.1", "0.3"},
		{"mistral", "mistral-small-latest", day("2026-03-14"), "0.06", "0.18"},
		{"cohere", "command-r7b-12-2024", day("2025-01-01"), "0.0375", "0.15"}, // a corrected mistake was never a price
	} {
		price, ok := book.At(c.providerType, c.model, c.at)
		if !ok || price.Input != usd(c.input) || price.Output != usd(c.output) || price.EffectiveFrom.After(c.at) {
			t.Errorf("%s at %s: got %+v, %v", c.model, c.at, price, ok)
		}
	}
}

func TestNamesWithADateOrAVersionHaveThePriceOfTheNameWithout(t *testing.T) {
	t.Parallel()
	book := prices.NewBook(nil)
	for _, c := range []struct{ providerType, model, want string }{
		{"openai", "gpt-4o", "gpt-4o"},
		{"openai", "gpt-4o-2024-08-06", "gpt-4o"},
		{"openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"}, // the longest one
		{"openai", "gpt-5-0807", "gpt-5"},
		{"anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"},
		{"anthropic", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"},
		{"anthropic", "claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"},
		{"anthropic", "claude-opus-5-v2", "claude-opus-5"},
		{"google", "gemini-2.5-flash-001", "gemini-2.5-flash"},
		{"google", "gemini-2.5-flash-09-2025", "gemini-2.5-flash"},
		{"azure_openai", "gpt-4o-2024-11-20", "gpt-4o"},
		{"cohere", "command-r-08-2024", "command-r-08-2024"},
	} {
		if price, ok := book.At(c.providerType, c.model, day("2026-09-01")); !ok || price.Model != c.want {
			t.Errorf("%s: got %q, %v", c.model, price.Model, ok)
		}
	}
	for _, c := range []struct{ providerType, model string }{
		{"openai", ""},
		{"openai", "gpt-99"},
		{"openai", "gpt-4o-audio"},
		{"openai", "gpt-4o-mini-audio-2024-07-18"},
		{"openai", "gpt-4o-latest"},      // an alias of a model that changes
		{"openai", "gpt-4o-2024-13-45"},  // no date
		{"openai", "gpt-4o-4096"},        // no date either
		{"openai", "gpt-4o2024-08-06"},   // no boundary
		{"openai", "gpt-4o-"},            // nothing after it
		{"openai", "-2024-08-06"},        // nothing before it
		{"openai", "GPT-4o"},             // names are what they are
		{"anthropic", "claude-opus-5-1"}, // another model
		{"anthropic", "gpt-4o"},          // another provider's
		{"mistral", "mistral-large-2411"},
		{"google", "gemini-2.5-flash-123"},
		{"anthropic", "claude-opus-5-v"},
		{"nobody", "gpt-4o"},
		{"openai", "gpt-4o" + strings.Repeat("-2024-08-06", 1000)},
	} {
		if price, ok := book.At(c.providerType, c.model, day("2026-09-01")); ok {
			t.Errorf("%s %.40s has the price %+v", c.providerType, c.model, price)
		}
	}
}

func TestWhatRunsOnOnesOwnMachinesIsFreeUnlessOverridden(t *testing.T) {
	t.Parallel()
	tokens := domain.Tokens{Input: 1_000_000}
	override := prices.Override{ProviderType: "vllm", Model: "qwen", Rates: prices.NewRates(usd("0.5"), usd("1"), nil, nil), EffectiveFrom: day("2026-05-01")}
	book := prices.NewBook([]prices.Override{override})
	for _, c := range []struct {
		providerType, model, at string
		source                  prices.Source
		cost                    string
	}{
		{"ollama", "anything:70b", "2026-09-01", prices.Free, "0.0000000000"},
		{"vllm", "qwen", "2026-04-30", prices.Free, "0.0000000000"},
		{"vllm", "qwen", "2026-05-01", prices.FromOverride, "0.5000000000"},
		{"vllm", "qwen-2026-01-01", "2026-05-01", prices.FromOverride, "0.5000000000"},
	} {
		price, ok := book.At(c.providerType, c.model, day(c.at))
		if !ok || price.Source != c.source || price.Cost(tokens).String() != c.cost {
			t.Errorf("%+v: got %+v, %v", c, price, ok)
		}
	}
}

func TestOverridesGoBeforeTheListFromTheirDatesOn(t *testing.T) {
	t.Parallel()
	override := func(model, input, from string) prices.Override {
		return prices.Override{ProviderType: "openai", Model: model, Rates: prices.NewRates(usd(input), usd("1"), nil, nil), EffectiveFrom: day(from)}
	}
	book := prices.NewBook([]prices.Override{
		override("gpt-4o", "9", "2026-06-01"), override("gpt-4o", "3", "2026-03-01"), // not in order of dates
		override("gpt-4o", "8", "2026-06-01"), // the same date again: the later one counts
		override("gpt-4o-2024-08-06", "5", "2026-09-01"), override("o3", "7", "2025-01-01"), override("gpt-99", "11", "2026-01-01"),
	})
	for _, c := range []struct{ model, at, input string }{
		{"gpt-4o", "2026-02-28", "2.5"},
		{"gpt-4o", "2026-03-01", "3"},
		{"gpt-4o", "2026-06-01", "8"},
		{"gpt-4o-2024-05-13", "2026-06-01", "8"},
		{"gpt-4o-2024-08-06", "2026-08-31", "8"}, // its own does not hold yet
		{"gpt-4o-2024-08-06", "2026-09-01", "5"},
		{"o3", "2024-12-31", "10"},
		{"o3", "2026-01-01", "7"}, // though the list changes after the override
		{"gpt-99", "2026-01-01", "11"},
	} {
		if price, ok := book.At("openai", c.model, day(c.at)); !ok || price.Input != usd(c.input) {
			t.Errorf("%s at %s: got %+v, %v", c.model, c.at, price, ok)
		}
	}
	if _, ok := book.At("openai", "gpt-99", day("2025-12-31")); ok {
		t.Error("gpt-99 has a price before it has one")
	}
	if listed := prices.NewBook(nil).Prices(); len(book.Prices()) != len(listed)+5 {
		t.Errorf("%d prices, %d listed", len(book.Prices()), len(listed))
	}
	if _, ok := (prices.Book{}).At("openai", "gpt-4o", day("2026-01-01")); ok {
		t.Error("the empty book has a price")
	}
}

func FuzzAt(f *testing.F) {
	for _, seed := range []string{"gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929-v1:0", "-", "@:", "v1:0", "a-v1:0"} {
		f.Add(seed)
	}
	book := prices.NewBook(nil)
	f.Fuzz(func(t *testing.T, model string) {
		price, ok := book.At("openai", model, day("2026-09-01"))
		if ok && !strings.HasPrefix(model, price.Model) {
			t.Fatalf("%q has the price of %q", model, price.Model)
		}
	})
}
