package providers_test

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/domain/providers"
)

// number is a histogram's number in decimal digits.
func number(h *providers.Histogram) *big.Int {
	digits, power := h.AppendCounts(nil).AppendDigits(nil)
	value, base := new(big.Int), big.NewInt(providers.DigitBase)
	for i, digit := range digits {
		unit := new(big.Int).Exp(base, big.NewInt(int64(power-i)), nil)
		value.Add(value, unit.Mul(unit, big.NewInt(int64(digit))))
	}
	return value
}

func TestNumbersAddUpBucketByBucket(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 2))
	for range 200 {
		var left, right providers.Histogram
		for range random.IntN(50) {
			left.Add(random.ExpFloat64() * 300)
			right.Add(random.ExpFloat64() * 1e6)
		}
		back, err := providers.FromNumber(number(&left).String())
		if err != nil || back != left {
			t.Fatalf("%s came back as another histogram (%v)", number(&left), err)
		}
		sum := new(big.Int).Add(number(&left), number(&right))
		merged, err := providers.FromNumber(sum.String())
		left.Merge(&right)
		if err != nil || merged != left {
			t.Fatalf("the sum of the numbers is not the number of the sum (%v)", err)
		}
	}
}

func TestNumbersAtTheirBounds(t *testing.T) {
	t.Parallel()
	var first, last, empty providers.Histogram
	first.Add(0)
	last.Add(1e12)
	if got := number(&empty).String(); got != "0" {
		t.Errorf("an empty histogram is %s", got)
	}
	if got := number(&first).String(); got != "1" {
		t.Errorf("one call in the first bucket is %s", got)
	}
	if got := number(&last).String(); got != "1"+strings.Repeat("0", 1272) {
		t.Errorf("one call in the last bucket is %s", got)
	}
	for _, wrong := range []string{"-1", "1.5", "x", "1e3", "1" + strings.Repeat("0", 1280)} {
		if _, err := providers.FromNumber(wrong); err == nil {
			t.Errorf("%.20s is taken for a histogram", wrong)
		}
	}
	for _, none := range []string{"", "0", "000"} {
		if h, err := providers.FromNumber(none); err != nil || h != empty {
			t.Errorf("%q is not empty (%v)", none, err)
		}
	}
}

func TestTotalIsTheSumOfUpperBounds(t *testing.T) {
	t.Parallel()
	var h providers.Histogram
	for _, latency := range []float64{1, 2, 4, 1024, 1024} {
		h.Add(latency)
	}
	if calls, totalMS := h.AppendCounts(nil).Total(); calls != 5 || totalMS != 1+2+4+1024+1024 {
		t.Errorf("got %d calls, %d ms", calls, totalMS)
	}
}

func TestCountsAddUpAsHistogramsDo(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6, 28))
	for range 300 {
		var left, right providers.Histogram
		for range random.IntN(60) {
			left.Add(random.ExpFloat64() * 500)
		}
		for range random.IntN(60) {
			right.Add(random.ExpFloat64() * 50_000)
		}
		before := right.AppendCounts(nil)
		sum := left.AppendCounts(nil).Plus(before)
		if !slices.Equal(before, right.AppendCounts(nil)) {
			t.Fatal("what was added has changed")
		}
		left.Merge(&right)
		if want := left.AppendCounts(nil); !slices.Equal(sum, want) {
			t.Fatalf("%v, histograms give %v", sum, want)
		}
		if calls, _ := sum.Total(); calls != left.Total() {
			t.Fatalf("%d calls, the histogram has %d", calls, left.Total())
		}
	}
}
