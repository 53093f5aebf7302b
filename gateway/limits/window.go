package limits

import "time"

const (
	// Window is what a limit is per.
	Window = time.Minute

	slotMS = 250
	// span is how many slots count: those that are not over for a whole Window, and the present one.
	span = int64(Window/time.Millisecond)/slotMS + 1
)

// window is one limit by the rules, pure: the caller says what time it is, in milliseconds since 1970. The script in
// script.go says the same in Lua; whoever changes one changes both.
type window struct {
	counts map[int64]int64 // by slot
	total  int64
}

func slotOf(now int64) int64 { return now / slotMS }

// forget drops what counts no more.
func (w *window) forget(now int64) {
	for slot, count := range w.counts {
		if slot <= slotOf(now)-span {
			w.total -= count
			delete(w.counts, slot)
		}
	}
}

// wait is how many milliseconds it takes until cost fits: 0 where it does, -1 where it never will.
func (w *window) wait(now, limit, cost int64) int64 {
	w.forget(now)
	if w.total+cost <= limit {
		return 0
	}
	if cost > limit {
		return -1
	}
	total := w.total
	for slot := slotOf(now) - span + 1; slot <= slotOf(now); slot++ {
		if total -= w.counts[slot]; total+cost <= limit {
			return (slot+span)*slotMS - now
		}
	}
	return 0 // total is the sum of the counts, so this is not reached
}

// take books a cost, without asking whether it fits.
func (w *window) take(now, cost int64) {
	if cost == 0 {
		return
	}
	if w.counts == nil {
		w.counts = map[int64]int64{}
	}
	w.counts[slotOf(now)] += cost
	w.total += cost
}

// adjust corrects what was taken at a time. What is given back counts no less than nothing; what turned out to be more
// and counts no more is booked now.
func (w *window) adjust(now, at, delta int64) {
	w.forget(now)
	slot := slotOf(at)
	if slot <= slotOf(now)-span || slot > slotOf(now) {
		if delta < 0 {
			return
		}
		slot = slotOf(now)
	}
	delta = max(delta, -w.counts[slot])
	w.take(slot*slotMS, delta)
}

// full is how many milliseconds it takes until nothing counts.
func (w *window) full(now int64) int64 {
	last := int64(-1)
	for slot, count := range w.counts {
		if count > 0 {
			last = max(last, slot)
		}
	}
	if last < 0 {
		return 0
	}
	return max(0, (last+span)*slotMS-now)
}
