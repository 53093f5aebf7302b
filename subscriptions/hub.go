package subscriptions

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/archonhq/archon/eventstore"
)

const (
	// tailLimit and tailBytes bound what a tailer reads at once.
	tailLimit = 256
	tailBytes = 1 << 20
	// tailRest is the least time between two reads: at thousands of events a second it makes batches of them.
	tailRest = 3 * time.Millisecond
	// tailPause is how long a tailer waits for a database that is away.
	tailPause = 250 * time.Millisecond
)

// hub is the tailer of one tenant's log on this node.
type hub struct {
	node   *Sockets
	tenant string
	cancel context.CancelFunc
	// hint holds a token where the log has grown.
	hint chan struct{}

	mu sync.Mutex
	// at is how far events have been handed out.
	at      int64
	members map[*socket]struct{}
}

// newHub starts a tailer that hands out what comes after a position.
func newHub(node *Sockets, tenant string, at int64) *hub {
	ctx, cancel := context.WithCancel(node.life)
	h := &hub{node: node, tenant: tenant, cancel: cancel, hint: make(chan struct{}, 1), at: at, members: map[*socket]struct{}{}}
	go h.tail(ctx)
	return h
}

func (h *hub) stop() { h.cancel() }

func (h *hub) wake() {
	select {
	case h.hint <- struct{}{}:
	default:
	}
}

// add makes a socket a member: it will be handed everything after the position that is returned.
func (h *hub) add(s *socket) (after int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[s] = struct{}{}
	s.begin(h.at)
	return h.at
}

// remove tells whether nobody is left.
func (h *hub) remove(s *socket) (empty bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, s)
	return len(h.members) == 0
}

// tail reads the log as it grows.
func (h *hub) tail(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		found, err := h.node.config.Log.Select(ctx, h.tenant, eventstore.Selection{After: h.at, Limit: tailLimit, MaxBytes: tailBytes})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing { // once an outage
				h.node.config.Logger.WarnContext(ctx, "sockets get no events while the log can't be read", slog.String("tenant", h.tenant), slog.Any("error", err))
			}
			failing = true
			pause(ctx, tailPause)
			continue
		}
		failing = false
		h.hand(found)
		pause(ctx, tailRest)
		if found.UpTo < found.Head {
			continue
		}
		h.rest(ctx)
	}
}

// hand gives a stretch of the log to the members. One that does not take it is a member no more: it reads for itself.
func (h *hub) hand(found eventstore.Selected) {
	frames := make([]frame, len(found.Events))
	for i := range found.Events {
		frames[i].event = &found.Events[i]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.members {
		if !s.offer(frames, found.UpTo) {
			delete(h.members, s)
		}
	}
	h.at = found.UpTo
}

// rest waits until the log may have grown.
func (h *hub) rest(ctx context.Context) {
	const spread = 4 // nodes must not poll in step
	poll := h.node.config.Poll
	timer := time.NewTimer(poll - poll/spread + rand.N(poll/2+1)) //nolint:gosec // spreads load, hides nothing
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-h.hint:
	case <-timer.C:
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// frame is an event on its way to many sockets, encoded once for each of the two ways to see it. Only the tailer, or the
// socket that reads for itself, touches it.
type frame struct {
	event      *eventstore.Recorded
	full, bare []byte
}

// text is the event's message, nil where it can't be made.
func (f *frame) text(full bool) []byte {
	encode, kept := f.event.BareFrame, &f.bare
	if full {
		encode, kept = f.event.Frame, &f.full
	}
	if *kept == nil {
		*kept, _ = encode() // fails for nothing that can be stored
	}
	return *kept
}
