package providers_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/archonhq/archon/domain/providers"
)

func TestBucketBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		milliseconds float64
		bucket       int
	}{
		{-1, 0}, {math.NaN(), 0}, {0, 0}, {1, 0}, {1.09, 0}, {1.1, 1}, {2, 7}, {2.01, 8}, {1000, 79}, {1e12, providers.Buckets - 1}, {math.Inf(1), providers.Buckets - 1},
	} {
		if got := providers.Bucket(c.milliseconds); got != c.bucket {
			t.Errorf("Bucket(%v) = %d, want %d", c.milliseconds, got, c.bucket)
		}
	}
}

func TestPercentileIsNearTheExactOneAndMergesExactly(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var whole, left, right providers.Histogram
		latencies := make([]float64, 1+random.IntN(2000))
		for i := range latencies {
			latencies[i] = math.Exp(random.Float64() * 12)
			whole.Add(latencies[i])
			if i%3 == 0 {
				left.Add(latencies[i])
			} else {
				right.Add(latencies[i])
			}
		}
		left.Merge(&right)
		if left != whole {
			t.Fatal("the sum of two histograms is not the histogram of the sum")
		}
		slices.Sort(latencies)
		for _, share := range []float64{0, 0.5, 0.95, 0.99, 1} {
			exact := latencies[max(int(math.Ceil(share*float64(len(latencies)))), 1)-1]
			got, ok := whole.Percentile(share)
			if !ok || got < exact*(1-1e-9) || got > math.Max(exact, 1)*1.0906 {
				t.Fatalf("p%v = %v, exact is %v", share*100, got, exact)
			}
		}
	}
}

func TestEmptyHistogramHasNoPercentile(t *testing.T) {
	t.Parallel()
	var h providers.Histogram
	if _, ok := h.Percentile(0.5); ok {
		t.Error("an empty histogram has a median")
	}
}

func FuzzHistogramJSON(f *testing.F) {
	f.Add([]byte(`[[0,1],[159,7]]`))
	f.Add([]byte(`[[1,1],[1,1]]`))
	f.Add([]byte(`[[160,1]]`))
	f.Add([]byte(`[[3,-1]]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h providers.Histogram
		if json.Unmarshal(data, &h) != nil {
			return
		}
		encoded, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var again providers.Histogram
		if err := json.Unmarshal(encoded, &again); err != nil || again != h {
			t.Fatalf("%s came back as %v (%v)", encoded, again, err)
		}
	})
}
