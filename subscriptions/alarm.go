package subscriptions

import (
	"math/rand/v2"
	"time"
)

// alarm is a socket's one timer for everything that it does by the clock.
type alarm struct {
	positions, heartbeats  time.Duration
	position, beat, expiry time.Time
	timer                  *time.Timer
	hasRung                bool
}

// due is what is to be done now.
type due struct{ position, heartbeat, expiry bool }

// newAlarm starts an alarm. expiry is zero for what does not expire.
func newAlarm(positions, heartbeats time.Duration, expiry time.Time) *alarm {
	now := time.Now()
	a := &alarm{positions: positions, heartbeats: heartbeats, position: now.Add(positions), expiry: expiry}
	a.beat = now.Add(heartbeats/2 + rand.N(heartbeats/2+1)) //nolint:gosec // spreads the first ones of sockets that came together
	a.timer = time.NewTimer(a.until(now))
	return a
}

func (a *alarm) rings() <-chan time.Time { return a.timer.C }

// rang must be called where something came from rings; the next due sets the timer anew.
func (a *alarm) rang() { a.hasRung = true }

func (a *alarm) stop() { a.timer.Stop() }

func (a *alarm) until(now time.Time) time.Duration {
	next := a.position
	for _, other := range []time.Time{a.beat, a.expiry} {
		if !other.IsZero() && other.Before(next) {
			next = other
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

// due tells what is due, each once.
func (a *alarm) due(now time.Time) due {
	found := due{
		position: !now.Before(a.position), heartbeat: !now.Before(a.beat), expiry: !a.expiry.IsZero() && !now.Before(a.expiry),
	}
	if found.position {
		a.position = now.Add(a.positions)
	}
	if found.heartbeat {
		a.beat = now.Add(a.heartbeats)
	}
	if a.hasRung || found != (due{}) {
		a.hasRung = false
		a.timer.Reset(a.until(now))
	}
	return found
}
