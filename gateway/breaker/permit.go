package breaker

import (
	"cmp"
	"context"
	"time"
)

// Permit lets one call through. The zero value's Done does nothing.
type Permit struct {
	breakers         *Breakers
	tenant, provider string
	settings         Settings
	generation       int64
	id               string
	probe            bool
}

// Probe tells whether the call tries out a provider that has failed before.
func (p Permit) Probe() bool { return p.probe }

func (p Permit) from(a answer) (Permit, error) {
	if !a.admitted {
		name := string(a.state)
		if a.blocked != "" {
			name = string(a.blocked)
		}
		return Permit{}, &Tripped{State: name, RetryAfter: time.Duration(max(1, a.retry)) * time.Millisecond}
	}
	p.generation, p.probe = a.generation, a.probe
	return p, nil
}

// Result is what a call came to: Success, Failure, RateLimited, DeadCredential or Neutral.
//
//sumtype:decl
type Result interface{ result(now time.Time) result }

// Success is an answer; a stream's counts at its end.
type Success struct{}

// Failure is the provider's fault. Code is a word for it, which gets into the log.
type Failure struct{ Code string }

// RateLimited is a provider that takes no calls before Until, by this node's clock.
type RateLimited struct{ Until time.Time }

// DeadCredential is a provider that refuses the credential or the account. Reason is a word for it, which gets into the log.
type DeadCredential struct{ Reason string }

// Neutral says nothing about the provider: the caller's mistake, a content policy, a client that went away.
type Neutral struct{}

func (Success) result(time.Time) result   { return result{outcome: didSucceed} }
func (f Failure) result(time.Time) result { return result{outcome: didFail, reason: f.Code} }
func (r RateLimited) result(now time.Time) result {
	return result{outcome: didLimit, lasts: max(0, r.Until.Sub(now).Milliseconds()), reason: "rate_limit"}
}

func (d DeadCredential) result(time.Time) result {
	return result{outcome: didDie, reason: cmp.Or(d.Reason, "dead_credential")}
}
func (Neutral) result(time.Time) result { return result{outcome: didNothing} }

// Done counts what the call came to. It is to be called once, also where ctx has ended, which does not keep it from
// counting. A call of the ordinary kind that did not fail costs nothing.
func (p Permit) Done(ctx context.Context, r Result) {
	if p.breakers == nil {
		return
	}
	switch r.(type) {
	case Success, Neutral:
		if !p.probe {
			return
		}
	case Failure, RateLimited, DeadCredential:
	}
	b := p.breakers
	told := r.result(b.now())
	told.generation, told.permit, told.probe = p.generation, p.id, p.probe
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	a, err := b.ask(ctx, b.entry(p.tenant, p.provider), request{op: "done", tenant: p.tenant, provider: p.provider, settings: p.settings, result: told})
	if err == nil {
		b.report(p.tenant, p.provider, a, cmp.Or(told.reason, "probes_succeeded"))
	}
}
