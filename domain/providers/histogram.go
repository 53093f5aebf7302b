package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Buckets is how many buckets a Histogram has. Bucket i counts latencies of up to 2^((i+1)/bucketsPerOctave) ms, so that a
// percentile read from it is off by at most 9 %; the last bucket, from 9 minutes on, takes everything slower.
const (
	Buckets          = 160
	bucketsPerOctave = 8
)

// Histogram counts calls by latency in fixed, exponentially growing buckets, so that histograms of nodes and intervals
// add up exactly, which percentiles do not. The zero value is empty. As JSON it is the list of its non-empty buckets,
// [[index, count], …].
type Histogram struct {
	counts [Buckets]int64
}

var errHistogram = errors.New("a histogram is a list of [bucket, count] with ascending buckets and positive counts")

// Bucket is the index of the bucket that counts a latency in milliseconds.
func Bucket(milliseconds float64) int {
	if !(milliseconds > 1) {
		return 0
	}
	return min(int(math.Ceil(math.Log2(milliseconds)*bucketsPerOctave))-1, Buckets-1)
}

// Add counts one call.
func (h *Histogram) Add(milliseconds float64) { h.counts[Bucket(milliseconds)]++ }

// Merge adds the counts of other.
func (h *Histogram) Merge(other *Histogram) {
	for i, count := range other.counts {
		h.counts[i] += count
	}
}

// Total is how many calls were counted.
func (h *Histogram) Total() int64 {
	var total int64
	for _, count := range h.counts {
		total += count
	}
	return total
}

// Percentile is the latency in milliseconds that the given share (0…1) of the calls did not exceed; ok is false where
// nothing was counted.
func (h *Histogram) Percentile(share float64) (milliseconds float64, ok bool) {
	total := h.Total()
	if total == 0 {
		return 0, false
	}
	rank := max(int64(math.Ceil(share*float64(total))), 1)
	var seen int64
	for i, count := range h.counts {
		if seen += count; seen >= rank {
			return upperBound(i), true
		}
	}
	return upperBound(Buckets - 1), true
}

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	pairs := [][2]int64{}
	for i, count := range h.counts {
		if count != 0 {
			pairs = append(pairs, [2]int64{int64(i), count})
		}
	}
	encoded, err := json.Marshal(pairs)
	if err != nil {
		return nil, fmt.Errorf("encode a histogram: %w", err)
	}
	return encoded, nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var pairs [][2]int64
	if err := json.Unmarshal(data, &pairs); err != nil {
		return fmt.Errorf("%w: %w", errHistogram, err)
	}
	*h = Histogram{}
	next := int64(0)
	for _, pair := range pairs {
		if pair[0] < next || pair[0] >= Buckets || pair[1] < 1 {
			return errHistogram
		}
		h.counts[pair[0]] = pair[1]
		next = pair[0] + 1
	}
	return nil
}
