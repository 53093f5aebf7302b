package projections

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/archonhq/archon/domain/providers"
)

// slot is what the calls of some seconds came to.
type slot struct {
	start            int64 // in seconds since 1970
	at               int64 // when the first event about it occurred, in microseconds
	requests, errors int64
	latency          providers.Counts
}

const slotBytes = int(unsafe.Sizeof(slot{}))

// series are slots of one width, in order of their starts.
type series []slot

// add adds calls to the slot that starts with them, and returns about how many bytes more the series takes now. It keeps
// nothing of calls.
func (s *series) add(calls *slot) (bytes int) {
	at, found := s.find(calls.start)
	if !found {
		*s = slices.Insert(*s, at, slot{start: calls.start, at: calls.at})
		bytes = slotBytes
	}
	into := &(*s)[at]
	into.at = min(into.at, calls.at)
	into.requests += calls.requests
	into.errors += calls.errors
	before := len(into.latency)
	into.latency = into.latency.Plus(calls.latency)
	return bytes + (len(into.latency)-before)*providers.BucketCountBytes
}

// find looks for the slot that starts then, or the place where it belongs: at the end, as a rule.
func (s *series) find(start int64) (at int, found bool) {
	last := len(*s) - 1
	switch {
	case last < 0 || (*s)[last].start < start:
		return last + 1, false
	case (*s)[last].start == start:
		return last, true
	}
	return slices.BinarySearchFunc(*s, start, func(one slot, start int64) int { return cmp.Compare(one.start, start) })
}

// forget drops slots of blocks, span seconds long, that start before oldest, and returns how many bytes that frees.
func (s *series) forget(oldest, span int64) (bytes int) {
	n := 0
	for n < len(*s) && floor((*s)[n].start, span) < oldest {
		n++
	}
	bytes = (*s)[:n].bytes()
	*s = (*s)[n:]
	return bytes
}

// take removes the slots of blocks, span seconds long: all of them, or those before the newest block.
func (s *series) take(span int64, everything bool) series {
	n := len(*s)
	if !everything && n > 0 {
		newest := floor((*s)[n-1].start, span)
		for n > 0 && (*s)[n-1].start >= newest {
			n--
		}
	}
	taken := (*s)[:n:n]
	*s = (*s)[n:]
	return taken
}

// bytes is about how much memory the slots take.
func (s series) bytes() int {
	sum := 0
	for i := range s {
		sum += slotBytes + len(s[i].latency)*providers.BucketCountBytes
	}
	return sum
}
