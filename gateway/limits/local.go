package limits

import (
	"slices"
	"strings"
)

func (l *Limiter) counter(key string) *counter {
	if found, ok := l.local.Load(key); ok {
		return found.(*counter) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	found, _ := l.local.LoadOrStore(key, &counter{})
	return found.(*counter) //nolint:errcheck,forcetypeassert // nothing else is stored
}

// book notes what this node took through Redis, so that it does not begin at nothing when it has to go on by itself.
func (l *Limiter) book(tenant string, limits []Limit) {
	now := l.now().UnixMilli()
	l.sweep(now)
	for _, limit := range limits {
		c := l.counter(Key(tenant, limit.ID))
		c.mu.Lock()
		c.forget(now)
		c.take(now, max(0, limit.Cost))
		c.mu.Unlock()
	}
}

// takeLocally is the rule without Redis. All counters are held at once, in one order for all callers.
func (l *Limiter) takeLocally(tenant string, limits []Limit) Verdict {
	at := l.now()
	now := at.UnixMilli()
	l.sweep(now)
	counters := make([]*counter, len(limits))
	for i, limit := range limits {
		counters[i] = l.counter(Key(tenant, limit.ID))
	}
	order := make([]int, len(limits))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(limits[a].ID, limits[b].ID) })
	for n, i := range order {
		if n > 0 && counters[i] == counters[order[n-1]] {
			continue // the same limit twice
		}
		counters[i].mu.Lock()
		defer counters[i].mu.Unlock() //nolint:revive,gocritic // held until the end
	}
	refusing, longest := -1, int64(0)
	for i, limit := range limits {
		ms := counters[i].wait(now, limit.PerMinute, max(0, limit.Cost))
		if ms != 0 && longest != -1 && (ms == -1 || ms > longest) {
			refusing, longest = i, ms
		}
	}
	v := verdict(limits, refusing, longest)
	v.At, v.Local = at, true
	for i, limit := range limits {
		if v.Allowed {
			counters[i].take(now, max(0, limit.Cost))
		}
		v.Levels = append(v.Levels, level(limit, max(0, limit.PerMinute-counters[i].total), counters[i].full(now)))
	}
	return v
}

// sweep drops the counters that count nothing, once a Window.
func (l *Limiter) sweep(now int64) {
	last := l.swept.Load()
	if now-last < Window.Milliseconds() || !l.swept.CompareAndSwap(last, now) {
		return
	}
	l.local.Range(func(key, found any) bool {
		c := found.(*counter) //nolint:errcheck,forcetypeassert // nothing else is stored
		c.mu.Lock()
		c.forget(now)
		if c.total == 0 {
			l.local.Delete(key)
		}
		c.mu.Unlock()
		return true
	})
}
