package domain_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/archonhq/archon/domain"
)

func TestAmountsAreReadExactly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]domain.Amount{
		"0": 0, "-0": 0, "0.000000": 0, "0e9": 0, "1": domain.USD, "2.50": 25_000_000_000, "-2.5": -25_000_000_000, "0.003625": 36_250_000,
		"25e-1": 25_000_000_000, "2.5E+1": 250_000_000_000, "1e-6": 10_000, "0.0000010000000": 10_000, "99999999": 99_999_999 * domain.USD, "922337203": 922_337_203 * domain.USD,
	} {
		if got, err := domain.ParseAmount(text, 6); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"": domain.ErrNotAnAmount, "x": domain.ErrNotAnAmount, "1.": domain.ErrNotAnAmount, ".5": domain.ErrNotAnAmount, "01": domain.ErrNotAnAmount,
		"+1": domain.ErrNotAnAmount, "1e": domain.ErrNotAnAmount, "NaN": domain.ErrNotAnAmount, "null": domain.ErrNotAnAmount, `"1"`: domain.ErrNotAnAmount,
		" 1": domain.ErrNotAnAmount, "1 2": domain.ErrNotAnAmount, "1e31": domain.ErrNotAnAmount, "1e-999999999999": domain.ErrNotAnAmount,
		"0.0000001": domain.ErrTooManyPlaces, "1e-7": domain.ErrTooManyPlaces, "922337203.685478": domain.ErrAmountTooLarge, "1e30": domain.ErrAmountTooLarge,
	} {
		if got, err := domain.ParseAmount(text, 6); !errors.Is(err, want) {
			t.Errorf("%s: got %d, %v; want %v", text, got, err, want)
		}
	}
}

func TestAmountsAreShown(t *testing.T) {
	t.Parallel()
	for amount, want := range map[domain.Amount][2]string{
		0:             {"0.0000000000", "0"},
		1:             {"0.0000000001", "0"},
		-1:            {"-0.0000000001", "0"},
		12_345_000:    {"0.0012345000", "0.001234"}, // half to even: down
		12_355_000:    {"0.0012355000", "0.001236"}, // half to even: up
		12_345_001:    {"0.0012345001", "0.001235"},
		-12_355_000:   {"-0.0012355000", "-0.001236"},
		domain.USD:    {"1.0000000000", "1"},
		math.MaxInt64: {"922337203.6854775807", "922337203.685478"},
		math.MinInt64: {"-922337203.6854775808", "-922337203.685478"},
	} {
		if again, err := domain.ParseAmount(amount.String(), 10); err != nil || again != amount {
			t.Errorf("%d came back as %d, %v", int64(amount), int64(again), err)
		}
		if got := [2]string{amount.String(), amount.Number().String()}; got != want {
			t.Errorf("%d: got %q, want %q", int64(amount), got, want)
		}
	}
}

func TestAmountsKeepInEvents(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(map[string]domain.Amount{"cost_usd": 12_345_000})
	if err != nil || string(encoded) != `{"cost_usd":"0.0012345000"}` {
		t.Errorf("got %s, %v", encoded, err)
	}
	var amount domain.Amount
	for _, bad := range []string{`1`, `"x"`, `"1.00000000001"`, `null x`} {
		if json.Unmarshal([]byte(bad), &amount) == nil {
			t.Errorf("%s was read as %s", bad, amount)
		}
	}
}

// What is read is the number that the text says, by exact arithmetic, or an error; and what is written reads back.
func FuzzParseAmount(f *testing.F) {
	for _, seed := range []string{"0", "1.5", "-0.000001", "1e10", "9223372036.8547758", "12345678.9012345678", "0.00000000005"} {
		f.Add(seed)
	}
	unit := new(big.Rat).SetFrac64(1, int64(domain.USD))
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := domain.ParseAmount(text, 10)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(text)
		got := new(big.Rat).Mul(new(big.Rat).SetInt64(int64(amount)), unit)
		if !ok || want.Cmp(got) != 0 {
			t.Fatalf("%q was read as %s", text, amount)
		}
		if again, err := domain.ParseAmount(amount.String(), 10); err != nil || again != amount {
			t.Fatalf("%s was read as %s, %v", amount, again, err)
		}
	})
}
