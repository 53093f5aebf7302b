package projections

import (
	"context"
	"sync"
	"time"
)

// key names what one node works on at a time: a projection for a tenant.
type key struct {
	projection *projection
	tenant     string
}

// entry is what this node remembers of a key. Nothing in it is believed over the checkpoint's row.
type entry struct {
	// position is how far the projection was for the tenant when this node last looked; 0 where it does not know.
	position int64
	// running is set while a goroutine of this node serves the key; dirty asks for another round after this one.
	running, dirty bool
	// queued is set while the key waits for a worker, or for the end of its rest.
	queued bool
	// rested is when workers may serve the key again, having caught up with it. It holds up no waiter.
	rested time.Time
	// parked is set while the key can't go on here; Wake then does nothing, since polling finds out when it can.
	parked bool
	// ended is closed when the present round ends.
	ended chan struct{}
	// last is how the last round ended.
	last result
	// waiting counts the goroutines that wait for a round of this key.
	waiting int
	// Only the serving goroutine: where the last batch left the key, and the end of the smallest range of events that is
	// known to hold a poison event, or 0; found is whether the last batch that moved the checkpoint had events that the
	// projection handles.
	at, suspect int64
	found       bool
}

// maxEntries bounds how many keys a node remembers; past it idle ones are forgotten, which costs nothing but a lookup.
const maxEntries = 1 << 16

// unconcerned is how many times longer a projection is left alone whose last batch had nothing for it: most of what a busy
// tenant appends concerns two or three projections, and the others only move their checkpoints.
const unconcerned = 8

// agenda is the node's list of keys that want a worker. Each key is in it at most once, and served by one goroutine at a
// time.
type agenda struct {
	// rest is how long workers leave a key alone that they have caught up with.
	rest time.Duration

	mu    sync.Mutex
	known map[key]*entry
	queue []key
	// open is whether workers take from the queue; otherwise only waiters serve.
	open bool
	// ready holds a token while the queue is not empty.
	ready chan struct{}
}

func newAgenda(rest time.Duration) *agenda {
	return &agenda{rest: rest, known: map[key]*entry{}, ready: make(chan struct{}, 1)}
}

// of returns a key's entry. It runs under the lock.
func (a *agenda) of(k key) *entry {
	if one, found := a.known[k]; found {
		return one
	}
	if len(a.known) >= maxEntries {
		for other, one := range a.known {
			if !one.running && !one.queued && one.waiting == 0 {
				delete(a.known, other)
			}
		}
	}
	one := &entry{ended: make(chan struct{})}
	a.known[k] = one
	return one
}

// push asks for a round of the key. sure is set where the database says that there is work, and not only a hint.
func (a *agenda) push(k key, sure bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		return
	}
	one := a.of(k)
	if one.parked && !sure {
		return
	}
	one.parked = false
	a.enqueue(k, one)
}

// enqueue runs under the lock.
func (a *agenda) enqueue(k key, one *entry) {
	if one.running {
		one.dirty = true
		return
	}
	if one.queued || !a.open {
		return
	}
	one.queued = true
	if wait := time.Until(one.rested); wait > 0 {
		time.AfterFunc(wait, func() { a.arise(k, one) })
		return
	}
	a.queue = append(a.queue, k)
	a.signal()
}

// arise queues a key whose rest is over.
func (a *agenda) arise(k key, one *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		one.queued = false
		return
	}
	a.queue = append(a.queue, k)
	a.signal()
}

func (a *agenda) signal() {
	select {
	case a.ready <- struct{}{}:
	default:
	}
}

// pop takes the key that has waited longest and begins its round, waiting for one until ctx ends.
func (a *agenda) pop(ctx context.Context) (key, *entry, bool) {
	for {
		select {
		case <-ctx.Done():
			return key{}, nil, false
		case <-a.ready:
		}
		if k, one, found := a.take(); found && ctx.Err() == nil {
			return k, one, true
		} else if found {
			a.end(k, one, result{end: unfinished})
		}
	}
}

func (a *agenda) take() (key, *entry, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) > 0 {
		k := a.queue[0]
		a.queue = a.queue[1:]
		one := a.known[k]
		one.queued = false
		if one.running {
			one.dirty = true // a waiter was faster
			continue
		}
		if len(a.queue) > 0 {
			a.signal()
		}
		one.running = true
		return k, one, true
	}
	return key{}, nil, false
}

// begin starts a round of the key outside the queue, unless one is running. ended is closed when that one, or the new
// one, is over.
func (a *agenda) begin(k key) (one *entry, ended <-chan struct{}, begun bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one = a.of(k)
	one.waiting++
	if one.running {
		return one, one.ended, false
	}
	one.running = true
	return one, one.ended, true
}

// leave undoes begin's count.
func (a *agenda) leave(one *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.waiting--
}

// end ends a round and wakes who waits for it.
func (a *agenda) end(k key, one *entry, got result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.running, one.last = false, got
	if got.end == caughtUp {
		rest := a.rest
		if !one.found {
			rest *= unconcerned
		}
		one.rested = time.Now().Add(rest)
	}
	close(one.ended)
	one.ended = make(chan struct{})
	if one.dirty {
		one.dirty = false
		a.enqueue(k, one)
	}
}

// again asks for another round after the present one.
func (a *agenda) again(one *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.dirty = true
}

// park keeps hints from starting rounds that are in vain.
func (a *agenda) park(one *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.parked = true
	one.dirty = false
}

// reached notes how far a key is.
func (a *agenda) reached(one *entry, position int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.position = position
}

// distrust forgets how far everything is. A connection was lost, and if that was because the server crashed, checkpoints
// may have gone back a little: they are not committed synchronously.
func (a *agenda) distrust() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.known {
		one.position = 0
	}
}

// lastOf is how the key's last round ended.
func (a *agenda) lastOf(one *entry) result {
	a.mu.Lock()
	defer a.mu.Unlock()
	return one.last
}

// position is how far the key is, as far as this node knows.
func (a *agenda) position(k key) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one, found := a.known[k]; found {
		return one.position
	}
	return 0
}

// setOpen lets workers take from the queue, or drops it.
func (a *agenda) setOpen(open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = open
	for _, k := range a.queue {
		a.known[k].queued = false
	}
	a.queue = nil
}

// idle tells whether no key waits for a worker.
func (a *agenda) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) == 0
}
