package plane

import (
	"slices"
	"sync"
	"time"
)

// firstTokenMemory is how many of a provider's last times to first token this node remembers; few enough that a provider
// that has become slow is noticed within some calls.
const firstTokenMemory = 32

// firstTokens keeps each provider's recent times to first token on this node, which least_latency ranks by. Whatever this
// node believed is part of the recorded decision.
type firstTokens struct {
	mu   sync.Mutex
	seen map[firstTokenKey]*firstTokenRing
}

type firstTokenKey struct{ tenant, provider string }

type firstTokenRing struct {
	times  [firstTokenMemory]time.Duration
	count  int
	median float64 // milliseconds
}

func (f *firstTokens) add(tenant, provider string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := firstTokenKey{tenant, provider}
	ring, found := f.seen[key]
	if !found {
		if f.seen == nil || len(f.seen) > maxTenants {
			f.seen = map[firstTokenKey]*firstTokenRing{}
		}
		ring = &firstTokenRing{}
		f.seen[key] = ring
	}
	ring.times[ring.count%firstTokenMemory] = took
	ring.count++
	known := ring.times
	sorted := known[:min(ring.count, firstTokenMemory)]
	slices.Sort(sorted)
	ring.median = float64(sorted[len(sorted)/2].Microseconds()) / float64(time.Millisecond/time.Microsecond)
}

// median is the p50 in milliseconds, nil where nothing was seen.
func (f *firstTokens) median(tenant, provider string) *float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	ring, found := f.seen[firstTokenKey{tenant, provider}]
	if !found {
		return nil
	}
	median := ring.median
	return &median
}
