package breaker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// request is an operation on one breaker: admit, done, look, reset or adopt.
type request struct {
	op               string
	tenant, provider string
	settings         Settings
	result           result
}

// decided is an answer, and whether it is this node's own.
type decided struct {
	answer
	local bool
}

// ask has Redis decide, or this node's own breaker while Redis is away. It fails only where the caller has gone.
func (b *Breakers) ask(ctx context.Context, e *entry, r request) (decided, error) {
	if b.outage.Try() {
		e.mu.Lock()
		heard := e.heard
		e.mu.Unlock()
		a, err := b.run(ctx, r)
		if err == nil {
			if b.outage.Worked(ctx) {
				b.handOver(ctx) // which may change what has just been answered: whoever comes next asks again
			} else {
				e.learn(a, heard)
			}
			return decided{answer: a}, nil
		}
		if ctx.Err() != nil && r.op == "admit" {
			return decided{}, fmt.Errorf("ask for a permit: %w", context.Cause(ctx))
		}
		b.outage.Failed(ctx, err)
	}
	return decided{answer: b.decide(e, r), local: true}, nil
}

// run runs the script.
func (b *Breakers) run(ctx context.Context, r request) (answer, error) {
	about, err := json.Marshal([2]string{r.tenant, r.provider})
	if err != nil {
		return answer{}, fmt.Errorf("name the breaker: %w", err)
	}
	probe := "0"
	if r.result.probe {
		probe = "1"
	}
	values, err := script.Run(
		ctx, b.client, []string{Key(r.tenant, r.provider)},
		r.op, r.settings.FailureThreshold, r.settings.Cooldown.Milliseconds(), r.settings.HalfOpenMax,
		b.times.window, b.times.lease, b.times.deadRetry, b.times.tell,
		r.result.permit, r.result.generation, probe, r.result.outcome, r.result.lasts, r.result.reason, Channel, about,
	).StringSlice()
	if err != nil {
		return answer{}, fmt.Errorf("run the breaker's script: %w", err)
	}
	return parse(values)
}

// learn keeps an answer, unless a newer one is known. heard is what had been heard when it was asked for.
func (e *entry) learn(a answer, heard int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known && (a.generation < e.last.generation || (a.generation == e.last.generation && a.now < e.last.now)) {
		return
	}
	e.known, e.last, e.at, e.local = true, a, time.Now(), nil
	if heard == e.heard {
		e.stale = false
	}
}

// decide lets this node's own breaker decide, which begins where Redis's was when it was last heard of.
func (b *Breakers) decide(e *entry, r request) answer {
	now := b.now().UnixMilli()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.local == nil {
		e.local = b.takeOver(e, now)
	}
	switch r.op {
	case "admit":
		return e.local.admit(now, r.settings, r.result.permit)
	case "done":
		return e.local.done(now, r.settings, r.result)
	case "reset":
		return e.local.reset(now)
	}
	return e.local.look(now)
}

func (b *Breakers) takeOver(e *entry, now int64) *machine {
	m := newMachine(b.times)
	if !e.known {
		return m
	}
	a := e.last
	shift := now - a.now - time.Since(e.at).Milliseconds() // from Redis's clock to ours
	m.state, m.generation, m.dead = a.state, a.generation, a.reason
	if a.state == Closed {
		for range a.failures {
			m.failures = append(m.failures, a.now+shift)
		}
		if a.blocked == RateLimit {
			m.until = a.until + shift
		}
	} else {
		m.opened, m.count = a.opened+shift, a.failures
		if a.state == Open && a.blocked == "" {
			m.cooldown = a.until - a.opened
		}
	}
	if a.blocked == Dead {
		m.deadProbe = a.until + shift
	}
	return m
}

// handOver gives Redis what this node decided by itself: an opening or a dead credential, where Redis takes the breaker to
// be closed. What it knows beyond that stands.
func (b *Breakers) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	now := b.now().UnixMilli()
	b.entries.Range(func(k, found any) bool {
		e := found.(*entry) //nolint:errcheck,forcetypeassert // nothing else is stored
		e.mu.Lock()
		m := e.local
		e.local, e.known = nil, false
		e.mu.Unlock()
		if m == nil || (m.dead == "" && m.state != Open) {
			return true
		}
		name := k.(key) //nolint:errcheck,forcetypeassert // nothing else is stored
		_, err := b.run(ctx, request{
			op: "adopt", tenant: name.tenant, provider: name.provider,
			settings: Settings{FailureThreshold: m.count, Cooldown: time.Duration(m.cooldown) * time.Millisecond, HalfOpenMax: 1},
			result:   result{lasts: now - m.opened, reason: m.dead},
		})
		return err == nil
	})
}
