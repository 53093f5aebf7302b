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

// Number is the histogram as one decimal number, bucket i counted in units of 10^(8 i). Read tables keep histograms in
// this form because numbers of this kind add up bucket by bucket: in PostgreSQL, + and sum() over numeric merge them.
func (h *Histogram) Number() string {
	first, last := -1, -1
	for i, count := range h.counts {
		if count > 0 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if last < 0 {
		return "0"
	}
	text := make([]byte, 0, (last-first+2)*groupDigits)
	for i := last; i >= first; i-- {
		text = appendGroup(text, min(h.counts[i], maxGroup), i < last)
	}
	if first > 0 {
		text = append(text, 'e') // the empty buckets at the low end
		text = strconv.AppendInt(text, int64(first*groupDigits), 10)
	}
	return string(text)
}

// appendGroup writes a count, padded with zeros where it is not the first one.
func appendGroup(text []byte, count int64, padded bool) []byte {
	var digits [groupDigits]byte
	at := len(digits)
	for count > 0 || (padded && at > 0) {
		at--
		digits[at] = '0' + byte(count%10) //nolint:gosec // a decimal digit
		count /= 10
	}
	return append(text, digits[at:]...)
}

// FromNumber is the inverse of Number, for numbers as PostgreSQL writes them: digits without an exponent.
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
