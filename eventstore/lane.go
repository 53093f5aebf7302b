package eventstore

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// lane is the way of one tenant's appends through this node: a bounded queue, and at most one goroutine that commits
// batches of it. It remembers the head and the versions of streams as of that head; both are only believed by
// compare-and-set, so a stale memory costs a round trip and nothing else.
type lane struct {
	store  *Store
	tenant string

	mu          sync.Mutex
	queue       []*member
	queuedBytes int
	running     bool

	// Below: only the running goroutine.
	head      Head
	headKnown bool
	versions  map[string]int64
	// repeated are the commands of the batch in the making that are known to be repetitions.
	repeated map[uuid.UUID]knownCommand
	// encoders take turns: while the arguments of one batch are on their way, those of the next are made.
	encoders [2]encoder
	turn     int
	// frame is where events are put together to be hashed.
	frame []byte
	// ready is the next batch where it was made while the last one was being committed; unanswered is that last one, whose
	// callers are told once the next is on its way.
	ready, unanswered *batch
	// landing is what a batch in flight will make of the versions of streams; set while the one after it is being made.
	landing   map[string]int64
	lastBatch int
	// contended counts down the batches that lock the head first, after races with another node were lost.
	contended int
	// down and lastFailure tell since when and until when the database could not be reached.
	down, lastFailure time.Time
}

// maxKnownVersions bounds the memory of stream versions a lane keeps; past it the lane forgets them all, which costs one
// lookup a stream.
const maxKnownVersions = 1 << 15

// maxIdleLanes is how many tenants' lanes a node keeps; beyond it idle ones are dropped.
const maxIdleLanes = 4096

// rowBytes is what an event weighs beside its own bytes: ids, numbers, hashes. It keeps a flood of empty events bounded.
const rowBytes = 128

// member is one append on its way through a lane.
type member struct {
	*Append
	bytes int
	done  chan outcome
	// gone is set by a caller that stopped waiting; a member that has not been sent yet is then not sent at all.
	gone atomic.Bool
}

type outcome struct {
	result Result
	err    error
}

func newMember(request *Append) *member {
	m := &member{Append: request, done: make(chan outcome, 1)}
	for i := range request.Events {
		event := &request.Events[i]
		m.bytes += rowBytes + len(event.Data) + len(request.Meta) + len(event.Stream) + len(event.Type)
	}
	return m
}

func (m *member) abandon()              { m.gone.Store(true) }
func (m *member) fail(err error)        { m.done <- outcome{err: err} }
func (m *member) succeed(result Result) { m.done <- outcome{result: result} }

// enqueue puts a member into its tenant's lane and starts the lane where it rests.
func (s *Store) enqueue(m *member) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	l, found := s.lanes[m.Tenant]
	if !found {
		s.forgetIdleLanes()
		l = &lane{store: s, tenant: m.Tenant, versions: map[string]int64{}, repeated: map[uuid.UUID]knownCommand{}}
		s.lanes[m.Tenant] = l
	}
	l.mu.Lock()
	if len(l.queue) >= s.config.MaxQueuedAppends || l.queuedBytes+m.bytes > s.config.MaxQueuedBytes {
		l.mu.Unlock()
		s.mu.Unlock()
		return ErrBusy
	}
	l.queue = append(l.queue, m)
	l.queuedBytes += m.bytes
	start := !l.running
	if start {
		l.running = true
		s.active.Add(1)
	}
	l.mu.Unlock()
	s.mu.Unlock()
	if start {
		go l.run()
	}
	return nil
}

// forgetIdleLanes runs under s.mu.
func (s *Store) forgetIdleLanes() {
	if len(s.lanes) < maxIdleLanes {
		return
	}
	for tenant, l := range s.lanes {
		l.mu.Lock()
		if !l.running {
			delete(s.lanes, tenant)
		}
		l.mu.Unlock()
	}
}

func (l *lane) run() {
	defer l.store.active.Done()
	for {
		members := l.next()
		if members == nil {
			return
		}
		l.lastBatch = len(members)
		l.commit(context.Background(), members)
		if l.ready == nil {
			l.answerLanded()
			l.release()
		}
	}
}

// next takes the members of the next batch, or puts the lane to rest and returns nil.
func (l *lane) next() []*member {
	if l.ready != nil {
		return l.ready.pending(nil)
	}
	l.gather()
	return l.take()
}

// overlapFrom is how many members it takes that the next batch is made while the last one is being committed. Fewer go
// together once that one has landed: two small commits cost more than one, whose disk write they would each wait for.
const overlapFrom = 128

// gatherWithin bounds how long a lane steps aside for the callers that the last commit has just answered. Without it the
// first of them to come back would get a commit of its own while all others wait for the one after: half the throughput
// at twice the latency. It waits for no caller that was not there a moment ago, and a lane with one caller never waits.
const gatherWithin = 150 * time.Microsecond

func (l *lane) gather() {
	const enough = 2 // a batch of one is followed by the next one at once
	if l.lastBatch < enough || l.waiting() >= l.lastBatch {
		return
	}
	for start := time.Now(); l.waiting() < l.lastBatch && time.Since(start) < gatherWithin; {
		runtime.Gosched()
	}
}

func (l *lane) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// take removes the next batch from the queue, or puts the lane to rest and returns nil. Where there are enough for two, half
// is left, to be made ready while the first half is being committed.
func (l *lane) take() []*member {
	l.mu.Lock()
	defer l.mu.Unlock()
	members := l.cut(max(overlapFrom, (len(l.queue)+1)/2))
	if members == nil {
		l.running = false
	}
	return members
}

// cut removes a batch's worth of members from the queue. It runs under the lock.
func (l *lane) cut(limit int) []*member {
	var members []*member
	events, bytes, taken := 0, 0, 0
	for _, m := range l.queue {
		full := events+len(m.Events) > l.store.config.MaxBatchEvents || bytes+m.bytes > l.store.config.MaxBatchBytes || len(members) >= limit
		if full && len(members) > 0 {
			break
		}
		taken++
		l.queuedBytes -= m.bytes
		if m.gone.Load() {
			continue
		}
		members = append(members, m)
		events += len(m.Events)
		bytes += m.bytes
	}
	rest := copy(l.queue, l.queue[taken:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	return members
}

// putBack returns members that could not be settled in this batch to the front of the queue.
func (l *lane) putBack(members []*member) {
	if len(members) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range members {
		l.queuedBytes += m.bytes
	}
	l.queue = append(members, l.queue...)
}

// forget drops what the lane believes about the chain, to learn it anew.
func (l *lane) forget() {
	l.headKnown = false
	clear(l.versions)
}

// drain empties the queue, for a failure that concerns everybody in it.
func (l *lane) drain() []*member {
	l.mu.Lock()
	defer l.mu.Unlock()
	members := l.queue
	l.queue, l.queuedBytes = nil, 0
	return members
}

// version is what the lane knows of a stream: its version as of the head, and whether it knows one.
func (l *lane) version(stream string) (int64, bool) {
	if version, landing := l.landing[stream]; landing {
		return version, true
	}
	version, remembered := l.versions[stream]
	return version, remembered
}

func (l *lane) now() int64 { return l.store.config.Now().UnixMicro() }

// clockLag is how far this node's clock is behind a head; below zero where it is ahead, as it should be.
func (l *lane) clockLag(head Head) time.Duration {
	return time.Duration(head.OccurredAt-l.now()) * time.Microsecond
}

// timeOfBatch is when the events of the next batch occur: time never goes back within a chain.
func (l *lane) timeOfBatch() int64 { return max(l.now(), l.head.OccurredAt) }

// pause waits between tries, longer each time, up to a second.
func pause(ctx context.Context, attempt int) {
	const first, longest = 10 * time.Millisecond, time.Second
	wait := min(first<<min(attempt, 10), longest)
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}
