package breaker

import (
	"maps"
	"slices"
	"time"
)

const (
	// Window is the time within which failures add up.
	Window = time.Minute
	// DeadRetry is how often one call is let through to a provider whose credential is dead.
	DeadRetry = 3 * time.Minute
	// probeLease is how long a probe may take until its permit is given to another: it belongs to a process that has
	// crashed, or to a stream so long that its outcome may be ignored.
	probeLease = 2 * time.Minute
	// tellLimitedEvery is the least time between two transitions to RateLimit, which may come with every second call.
	tellLimitedEvery = time.Minute
)

// State says whether calls pass.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half_open"
)

// Blocked says why calls don't pass whatever the state; empty where nothing is in the way.
type Blocked string

// The reasons beside the state.
const (
	RateLimit Blocked = "rate_limited"
	Dead      Blocked = "dead"
)

// Settings are a tenant's, from its fallback chain.
type Settings struct {
	// FailureThreshold is how many failures within Window open the breaker, at least 1.
	FailureThreshold int
	// Cooldown is how long it stays open.
	Cooldown time.Duration
	// HalfOpenMax is how many probes must succeed to close it, at least 1.
	HalfOpenMax int
}

func (s Settings) bounded() Settings {
	s.FailureThreshold, s.HalfOpenMax, s.Cooldown = max(1, s.FailureThreshold), max(1, s.HalfOpenMax), max(0, s.Cooldown)
	return s
}

// times are the constants of the rules in milliseconds, so that a test can shorten them.
type times struct{ window, lease, deadRetry, tell int64 }

func constants() times {
	return times{Window.Milliseconds(), probeLease.Milliseconds(), DeadRetry.Milliseconds(), tellLimitedEvery.Milliseconds()}
}

// outcomes as the script takes them.
const (
	didSucceed = "success"
	didFail    = "failure"
	didLimit   = "limited"
	didDie     = "dead"
	didNothing = "neutral"
)

// machine is a breaker by the rules, pure: the caller says what time it is. All times are milliseconds since 1970. The
// script in script.go says the same in Lua; whoever changes one changes both.
type machine struct {
	times      times
	state      State
	generation int64
	// failures are when the failures of the present closed state happened, the newest threshold of them.
	failures []int64
	// opened and cooldown are of the last opening.
	opened, cooldown int64
	// count is how many failures there were when it opened.
	count     int
	until     int64 // rate limited until
	told      int64 // when RateLimit was last told
	dead      string
	deadProbe int64 // when the next call may try a dead credential
	successes int
	probes    map[string]int64 // by permit, until when
}

// answer is what an operation came to.
type answer struct {
	now        int64
	admitted   bool
	probe      bool
	retry      int64 // milliseconds after which to ask again, where not admitted
	state      State
	generation int64
	failures   int
	opened     int64 // 0 while closed
	until      int64 // 0, or the end of what blocks: cooldown, rate limit, or rest until a dead credential is tried
	blocked    Blocked
	reason     string // of a dead credential
	// from and to are set where the operation changed something: a State or a Blocked.
	from, to string
}

func newMachine(t times) *machine {
	return &machine{times: t, state: Closed, probes: map[string]int64{}}
}

// turn goes to another state. A generation is at least the time, so that one is never used twice even if all is lost.
func (m *machine) turn(now int64, to State) {
	m.state, m.generation = to, max(now, m.generation+1)
	m.successes, m.failures = 0, nil
	m.probes = map[string]int64{}
}

func (m *machine) start(now int64) {
	if m.generation == 0 {
		m.generation = now
	}
}

// name is the state in a word, which for a dead credential is Dead.
func (m *machine) name() string {
	if m.dead != "" {
		return string(Dead)
	}
	return string(m.state)
}

func (m *machine) expire(now int64) {
	maps.DeleteFunc(m.probes, func(_ string, until int64) bool { return until <= now })
}

// admit asks for a call to be let through; permit names it, should it be a probe.
func (m *machine) admit(now int64, s Settings, permit string) answer {
	m.start(now)
	m.expire(now)
	from := m.name()
	if m.dead == "" && m.state == Open && now >= m.opened+m.cooldown && now >= m.until {
		m.turn(now, HalfOpen)
	}
	a := m.answer(now)
	a.admitted, a.probe, a.retry = m.lets(now, s)
	if a.probe {
		m.probes[permit] = now + m.times.lease
		if m.dead != "" {
			m.deadProbe = now + m.times.deadRetry
			a.until = m.deadProbe
		}
	}
	return a.changed(from, m.name())
}

func (m *machine) lets(now int64, s Settings) (admitted, probe bool, retry int64) {
	const soon = 1000
	switch {
	case m.until > now:
		return false, false, m.until - now
	case m.dead != "":
		if now >= m.deadProbe {
			return true, true, 0
		}
		return false, false, m.deadProbe - now
	case m.state == Open:
		return false, false, m.opened + m.cooldown - now
	case m.state == HalfOpen:
		if len(m.probes)+m.successes < s.HalfOpenMax {
			return true, true, 0
		}
		return false, false, soon
	}
	return true, false, 0
}

// result is what an admitted call came to.
type result struct {
	generation int64
	permit     string
	probe      bool
	outcome    string
	lasts      int64 // of didLimit: for how many milliseconds
	reason     string
}

// done counts a result, unless it is of another generation or of a probe whose permit is gone.
func (m *machine) done(now int64, s Settings, r result) answer {
	m.start(now)
	m.expire(now)
	_, holds := m.probes[r.permit]
	if r.generation != m.generation || r.probe != holds {
		return m.answer(now)
	}
	delete(m.probes, r.permit)
	from := m.name()
	switch r.outcome {
	case didSucceed:
		m.succeed(now, s, r.probe)
	case didFail:
		m.fail(now, s, r.probe)
	case didLimit:
		return m.limit(now, now+r.lasts, from)
	case didDie:
		if m.dead == "" {
			m.turn(now, m.state)
		}
		m.dead, m.deadProbe = r.reason, now+m.times.deadRetry
	}
	return m.answer(now).changed(from, m.name())
}

func (m *machine) succeed(now int64, s Settings, probe bool) {
	if !probe {
		return
	}
	m.successes++
	if m.dead != "" || m.successes >= s.HalfOpenMax {
		m.dead, m.deadProbe, m.count = "", 0, 0
		m.turn(now, Closed)
	}
}

func (m *machine) fail(now int64, s Settings, probe bool) {
	if m.dead != "" {
		return // says nothing about the credential; the next probe will
	}
	count := 1
	if !probe {
		m.failures = append(slices.DeleteFunc(m.failures, func(at int64) bool { return at <= now-m.times.window }), now)
		if count = len(m.failures); count < s.FailureThreshold {
			return
		}
	}
	m.turn(now, Open)
	m.opened, m.cooldown, m.count = now, s.Cooldown.Milliseconds(), count
}

// limit changes no state: calls that are on their way stay what they are.
func (m *machine) limit(now, until int64, from string) answer {
	m.until = max(m.until, until)
	a := m.answer(now)
	if m.until > now && now >= m.told+m.times.tell {
		m.told = now
		return a.changed(from, string(RateLimit))
	}
	return a
}

// reset is a new credential, or an operator's word: everything begins anew.
func (m *machine) reset(now int64) answer {
	m.start(now)
	from := m.name()
	if m.state == Closed && m.dead == "" && m.until > now {
		from = string(RateLimit)
	}
	m.dead, m.deadProbe, m.until, m.told, m.count = "", 0, 0, 0, 0
	m.turn(now, Closed)
	return m.answer(now).changed(from, m.name())
}

// adopt takes over an opening, or a dead credential, that a node came to by itself; what is not closed stays what it is.
func (m *machine) adopt(now int64, s Settings, elapsed int64, dead string) answer {
	m.start(now)
	if m.state != Closed || m.dead != "" {
		return m.answer(now)
	}
	if dead != "" {
		m.turn(now, Closed)
		m.dead, m.deadProbe = dead, now+m.times.deadRetry
	} else {
		m.turn(now, Open)
		m.opened, m.cooldown, m.count = now-elapsed, s.Cooldown.Milliseconds(), s.FailureThreshold
	}
	return m.answer(now)
}

// look asks without changing anything.
func (m *machine) look(now int64) answer {
	m.start(now)
	return m.answer(now)
}

func (m *machine) answer(now int64) answer {
	a := answer{now: now, state: m.state, generation: m.generation, reason: m.dead, failures: m.count}
	if m.state == Closed {
		a.failures = 0
		for _, at := range m.failures {
			if at > now-m.times.window {
				a.failures++
			}
		}
	} else {
		a.opened = m.opened
	}
	switch {
	case m.dead != "":
		a.blocked, a.until = Dead, m.deadProbe
	case m.until > now:
		a.blocked, a.until = RateLimit, m.until
	case m.state == Open:
		a.until = m.opened + m.cooldown
	}
	return a
}

func (a answer) changed(from, to string) answer {
	if from != to {
		a.from, a.to = from, to
	}
	return a
}
