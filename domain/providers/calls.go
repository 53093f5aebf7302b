package providers

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// groupDigits is how many decimal digits of a Histogram's number stand for one bucket, and maxGroup the most that fit into
// them: 160,000 calls a second of about the same latency, in the longest slot that is kept. PostgreSQL stores four digits
// in two bytes, so that a multiple of four wastes nothing.
const (
	groupDigits = 8
	maxGroup    = 99_999_999
)

// FromNumber is the inverse of Counts.Number, for numbers as PostgreSQL writes them: digits without an exponent.
func FromNumber(number string) (Histogram, error) {
	var h Histogram
	if strings.Trim(number, "0") == "" {
		return h, nil
	}
	for i := range h.counts {
		cut := max(len(number)-groupDigits, 0)
		count, err := strconv.ParseInt(number[cut:], 10, 64)
		if err != nil || count < 0 {
			return Histogram{}, fmt.Errorf("%w: not the number of one", errHistogram)
		}
		h.counts[i] = count
		if number = number[:cut]; number == "" {
			return h, nil
		}
	}
	return Histogram{}, fmt.Errorf("%w: the number of one has fewer digits", errHistogram)
}

// bounds are the upper bounds of the buckets, in whole milliseconds.
var bounds = func() (list [Buckets]int64) { //nolint:gochecknoglobals // a table
	for i := range list {
		list[i] = int64(math.Round(upperBound(i)))
	}
	return list
}()

// TotalMS is about how long all calls took together: the sum of the upper bounds of their buckets, so at most 9 % more
// than they did. It is a whole number, so that sums don't depend on their order.
func (h *Histogram) TotalMS() int64 {
	var total int64
	for i, count := range h.counts {
		total += count * bounds[i]
	}
	return total
}

func upperBound(bucket int) float64 { return math.Exp2(float64(bucket+1) / bucketsPerOctave) }
