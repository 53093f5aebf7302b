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
		bytes += slotBytes + len((*s)[n].latency)*providers.BucketCountBytes
		n++
	}
	*s = (*s)[n:]
	return bytes
}

// coarser adds slots up into wider ones.
func (s series) coarser(seconds int64) series {
	var wide series
	for i := range s {
		calls := s[i]
		calls.start = floor(calls.start, seconds)
		wide.add(&calls)
	}
	return wide
}
