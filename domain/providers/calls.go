package providers

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// groupDigits is how many decimal digits of a histogram's number stand for one bucket.
const groupDigits = 8

// FromNumber makes a histogram of its number (see Counts.AppendDigits), in decimal digits as PostgreSQL writes them.
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

func upperBound(bucket int) float64 { return math.Exp2(float64(bucket+1) / bucketsPerOctave) }
