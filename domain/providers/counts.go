package providers

import (
	"math"
	"slices"
)

// Counts is a Histogram by its non-empty buckets, in ascending order: many times smaller than the Histogram where calls
// take about as long as each other. The zero value is empty. A count that has come to 2^32 - 1 stays there, which is more
// than a number of one can hold.
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

// Total is how many calls were counted, and totalMS about how long they took together: the sum of the upper bounds of
// their buckets, so at most 9 % more than they did. It is a whole number, so that sums don't depend on their order.
func (c Counts) Total() (calls, totalMS int64) {
	for _, one := range c {
		calls += int64(one.count)
		totalMS += int64(one.count) * bounds[one.bucket]
	}
	return calls, totalMS
}

func saturated(count int64) uint32 { return uint32(min(count, math.MaxUint32)) } //nolint:gosec // counts are positive

// DigitBase is the base of the digits that AppendDigits yields, which is PostgreSQL's for numeric.
const DigitBase = 10_000

// digitsPerBucket is how many digits stand for a bucket, and maxCount the most that fits into them: 160,000 calls a second
// of about the same latency, in the longest slot that is kept.
const (
	digitsPerBucket = 2
	maxCount        = DigitBase*DigitBase - 1
)

// AppendDigits appends the digits of the histogram as one number, the most significant first: bucket i counts in units of
// 10^(8 i). power is the power of DigitBase that the first digit stands for. There are no digits where the number is 0.
//
// Read tables keep histograms in this form because numbers of this kind add up bucket by bucket: in PostgreSQL, + and
// sum() over numeric merge them.
func (c Counts) AppendDigits(to []uint16) (digits []uint16, power int) {
	if len(c) == 0 {
		return to, 0
	}
	next := int(c[len(c)-1].bucket)
	power = digitsPerBucket*next + 1
	for _, one := range slices.Backward(c) {
		for ; next > int(one.bucket); next-- {
			to = append(to, 0, 0)
		}
		count := min(one.count, maxCount)
		to = append(to, uint16(count/DigitBase), uint16(count%DigitBase))
		next--
	}
	return to, power
}
