package cache

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// outageRest is how long nobody asks a Redis that failed. A call that meets one which is away may wait for a second, so
// only one caller in this time pays for looking.
const outageRest = 500 * time.Millisecond

// Outage keeps callers that have another way off a Redis that is away. The zero value takes it to be there. Its methods
// may be called from any goroutine.
type Outage struct {
	// What names the user in log lines.
	What string
	// Log hears of the beginning and the end of an outage; nil discards.
	Log *slog.Logger
	// Rest is the least time between two looks; 0 stands for half a second.
	Rest time.Duration

	away atomic.Bool
	// next is when somebody may look again, in nanoseconds since 1970.
	next atomic.Int64
}

// Try tells whether to use Redis: yes while it is there, and for one caller at a time to see whether it is back.
func (o *Outage) Try() bool {
	if !o.away.Load() {
		return true
	}
	next, now := o.next.Load(), time.Now().UnixNano()
	return now >= next && o.next.CompareAndSwap(next, now+int64(o.rest()))
}

// Failed notes that a call did not reach Redis. It returns true for the call that begins an outage.
func (o *Outage) Failed(ctx context.Context, err error) bool {
	o.next.Store(time.Now().UnixNano() + int64(o.rest()))
	if !o.away.CompareAndSwap(false, true) {
		return false
	}
	if o.Log != nil {
		o.Log.WarnContext(ctx, "redis is away; this node goes on by itself", "what", o.What, "error", err)
	}
	return true
}

// Worked notes that a call reached Redis. It returns true for the call that ends an outage.
func (o *Outage) Worked(ctx context.Context) bool {
	if !o.away.Load() || !o.away.CompareAndSwap(true, false) {
		return false
	}
	if o.Log != nil {
		o.Log.InfoContext(ctx, "redis is back", "what", o.What)
	}
	return true
}

// Away tells whether the last that was heard of Redis is that it does not answer.
func (o *Outage) Away() bool { return o.away.Load() }

func (o *Outage) rest() time.Duration {
	if o.Rest > 0 {
		return o.Rest
	}
	return outageRest
}
