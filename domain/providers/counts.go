package providers

import (
	"math"
	"strconv"
)

// Counts is a Histogram by its non-empty buckets, in ascending order: many times smaller than the Histogram where calls
// take about as long as each other. The zero value is empty. A count that has come to 2^32 - 1 stays there, which is more
// than a Number can hold.
type Counts []bucketCount

type bucketCount struct {
	bucket uint8
	count  uint32
}

// BucketCountBytes is the memory that a non-empty bucket takes in Counts.
const BucketCountBytes = 8

// AppendCounts appends the histogram's non-empty buckets to an empty list, whose memory it uses.
func (h *Histogram) AppendCounts(to Counts) Counts {
	for i, count := range h.counts {
		if count != 0 {
			to = append(to, bucketCount{bucket: uint8(i), count: saturated(count)})
		}
	}
	return to
}

// Plus adds other to c and returns the sum, which is in c's memory where it fits.
func (c Counts) Plus(other Counts) Counts {
	var sum [Buckets]bucketCount
	n, i := 0, 0
	for _, add := range other {
		for ; i < len(c) && c[i].bucket < add.bucket; i++ {
			sum[n] = c[i]
			n++
		}
		if i < len(c) && c[i].bucket == add.bucket {
			add.count = saturated(int64(add.count) + int64(c[i].count))
			i++
		}
		sum[n] = add
		n++
	}
	n += copy(sum[n:], c[i:])
	return append(c[:0], sum[:n]...)
}

func saturated(count int64) uint32 { return uint32(min(count, math.MaxUint32)) }

// Number is the histogram as one decimal number, bucket i counted in units of 10^(8 i). Read tables keep histograms in
// this form because numbers of this kind add up bucket by bucket: in PostgreSQL, + and sum() over numeric merge them.
func (c Counts) Number() string {
	if len(c) == 0 {
		return "0"
	}
	first, last := int(c[0].bucket), int(c[len(c)-1].bucket)
	text := make([]byte, 0, (last-first+2)*groupDigits)
	next := last
	for i := len(c) - 1; i >= 0; i-- {
		for ; next > int(c[i].bucket); next-- {
			text = append(text, emptyGroup...)
		}
		text = appendGroup(text, min(c[i].count, maxGroup), next < last)
		next--
	}
	if first > 0 {
		text = append(text, 'e') // the empty buckets at the low end
		text = strconv.AppendInt(text, int64(first*groupDigits), 10)
	}
	return string(text)
}

// emptyGroup stands for a bucket without calls between others.
const emptyGroup = "00000000"

// appendGroup writes a count, padded with zeros where it is not the first one.
func appendGroup(text []byte, count uint32, padded bool) []byte {
	var digits [groupDigits]byte
	at := len(digits)
	for count > 0 || (padded && at > 0) {
		at--
		digits[at] = '0' + byte(count%10)
		count /= 10
	}
	return append(text, digits[at:]...)
}
