package providers

import (
	"time"

	"github.com/archonhq/archon/domain"
)

const (
	// UnhealthyAfter is how many failed probes in a row make a provider unhealthy whatever its traffic.
	UnhealthyAfter = 3
	// UnchangedEvery is how often a probe is recorded whose result is the same as the last one's.
	UnchangedEvery = 10 * time.Minute
)

// Health is what the probes of a provider have come to.
type Health struct {
	// Tested is false until the first probe.
	Tested    bool
	OK        bool
	Failures  int
	CheckedAt time.Time
}

// RecordProbe is a probe's result on its way into the log.
type RecordProbe struct{ Probe Probed }

// RecordSample is a roll-up of calls on its way into the log.
type RecordSample struct{ Sample Sampled }

// RecordBreaker is a change of the circuit breaker on its way into the log.
type RecordBreaker struct{ Changed BreakerChanged }

// HealthCommand is RecordProbe, RecordSample or RecordBreaker.
//
//sumtype:decl
type HealthCommand interface{ healthCommand() }

func (RecordProbe) healthCommand()   {}
func (RecordSample) healthCommand()  {}
func (RecordBreaker) healthCommand() {}

// HealthDecider decides what of the telemetry is worth an event: each sample, each change of the breaker, and each probe
// that was asked for, changed something, or is the first in ten minutes.
func HealthDecider() domain.Decider[Health, HealthCommand] {
	return domain.Decider[Health, HealthCommand]{Decide: decideHealth, Evolve: evolveHealth}
}

func decideHealth(state Health, command HealthCommand) ([]domain.To, error) {
	switch c := command.(type) {
	case RecordProbe:
		probe := c.Probe.after(state)
		if c.Probe.Trigger == OnSchedule && !state.changedBy(probe) {
			return nil, nil
		}
		return []domain.To{{Stream: HealthStream(probe.ProviderID), Event: probe}}, nil
	case RecordBreaker:
		return []domain.To{{Stream: HealthStream(c.Changed.ProviderID), Event: c.Changed}}, nil
	case RecordSample:
		return []domain.To{{Stream: HealthStream(c.Sample.ProviderID), Event: c.Sample}}, nil
	}
	return nil, nil
}

func evolveHealth(state Health, event domain.Event) Health {
	if e, ok := event.(Probed); ok {
		return Health{Tested: true, OK: e.OK, Failures: e.Failures, CheckedAt: e.CheckedAt}
	}
	return state
}

// after completes a probe with what depends on the ones before it.
func (p Probed) after(state Health) Probed {
	p.Failures = 0
	if !p.OK {
		p.Failures = state.Failures + 1
	}
	return p
}

// changedBy tells whether the probe says something new. Failures count until the provider is unhealthy by them; from then
// on another failure is no news.
func (h Health) changedBy(probe Probed) bool {
	return !h.Tested || h.OK != probe.OK || (!probe.OK && h.Failures < UnhealthyAfter) ||
		probe.CheckedAt.Sub(h.CheckedAt) >= UnchangedEvery
}

// Status is a provider's health in a word.
type Status string

// The health of a provider.
const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"
	Unhealthy Status = "unhealthy"
	Unknown   Status = "unknown"
)

const (
	// StatusWindow is the time whose calls decide the status.
	StatusWindow = 5 * time.Minute
	// EnoughCalls is how many calls in the window decide, in place of the last probe.
	EnoughCalls = 20
	// DegradedAbovePct is the error rate, in per cent, beyond which calls make a provider degraded.
	DegradedAbovePct = 5
	// UnhealthyAbovePct is the error rate beyond which they make it unhealthy.
	UnhealthyAbovePct = 50
)

// StatusOf is the status of a provider after its probes and the calls of the last StatusWindow.
func StatusOf(probes Health, requests, failures int64) Status {
	const percent = 100
	switch {
	case probes.Tested && probes.Failures >= UnhealthyAfter:
		return Unhealthy
	case requests >= EnoughCalls && failures*percent > requests*UnhealthyAbovePct:
		return Unhealthy
	case requests >= EnoughCalls && failures*percent > requests*DegradedAbovePct:
		return Degraded
	case requests >= EnoughCalls:
		return Healthy
	case !probes.Tested:
		return Unknown
	case probes.OK:
		return Healthy
	}
	return Unhealthy
}
