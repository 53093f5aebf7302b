package plane

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
)

// Outcomes of attempts that never reached the provider; the others are "succeeded" and the triggers.
const (
	outcomeSucceeded   = "succeeded"
	outcomeBreakerOpen = "breaker_open"
	outcomeRateLimited = "rate_limited"
	outcomeNotAllowed  = "model_not_allowed"
	outcomeNoSecret    = "credentials_unavailable"
)

const (
	// retryWithin is the longest that the last provider of a plan is waited for, where it asks for time: there is nobody
	// else to ask, and a client's own retry would come later.
	retryWithin = time.Second
	// retryPause follows a failure of the last provider that does not ask for time.
	retryPause = 100 * time.Millisecond
	// defaultRateLimitPause is for how long a provider that limits rates without saying until when is left alone.
	defaultRateLimitPause = 5 * time.Second
)

// serving is a provider that is answering.
type serving struct {
	provider *Provider
	model    string
	permit   breaker.Permit
	began    time.Time
	// attempt is the index of the attempt in the record.
	attempt int
}

// through tries the choices of the plan, in order, until one answers. try makes one attempt and returns nil or a
// *dialect.Failure. ctx is the client's: once it has ended nothing new is tried. work is what attempts run under.
func (r *run) through(ctx, work context.Context, try func(ctx context.Context, attempt dialect.Attempt) error) (*serving, *Problem) {
	if len(r.decision.Plan) == 0 {
		return nil, noProvider()
	}
	var last *dialect.Failure
	retried := false
	for i := 0; i < len(r.decision.Plan); {
		s, failure := r.ask(work, r.decision.Plan[i], try)
		if s != nil {
			return s, nil
		}
		again := false
		if failure != nil { // and not passed over
			last = failure
			again = !retried && i == len(r.decision.Plan)-1 && r.worthRetrying(ctx, failure)
			if ctx.Err() != nil || !again && !r.failsOver(failure) || !r.affords(ctx) {
				break
			}
		}
		if again {
			retried = true
		} else {
			i++
		}
	}
	if last != nil {
		return nil, problemOf(last)
	}
	return nil, r.passedOver()
}

// passedOver is the problem of a call for which nobody was even asked.
func (r *run) passedOver() *Problem {
	outcomes := map[string]bool{}
	for _, attempt := range r.recorded.Attempts {
		outcomes[attempt.Outcome] = true
	}
	switch {
	case len(outcomes) == 1 && outcomes[outcomeNotAllowed]:
		return modelNotAllowed()
	case len(outcomes) == 1 && outcomes[outcomeRateLimited]:
		return &Problem{
			Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "rate_limit_exceeded", RetryAfter: r.retryAfter,
			Message: "The rate limits set for the providers of this request are used up.",
		}
	}
	return notNow(r.retryAfter)
}

// ask makes one attempt at a choice. Neither a serving provider nor a failure means that it was passed over.
func (r *run) ask(ctx context.Context, choice routing.Choice, try func(ctx context.Context, attempt dialect.Attempt) error) (*serving, *dialect.Failure) {
	provider := r.snapshot.Provider(choice.ProviderID)
	s := &serving{provider: provider, model: choice.Model, attempt: len(r.recorded.Attempts), began: r.Now()}
	r.recorded.ProviderID, r.recorded.ProviderType, r.recorded.Model = provider.ID, string(provider.Config.Type), choice.Model
	if key := r.caller.Key; key != nil && !key.AllowsModel(choice.Model) && choice.Model != r.recorded.RequestedModel {
		r.passOver(s, outcomeNotAllowed, "the API key is not for this model", 0)
		return nil, nil
	}
	permit, err := r.Breakers.Admit(ctx, r.caller.Tenant, provider.ID, r.breakerSettings())
	var tripped *breaker.Tripped
	switch {
	case errors.As(err, &tripped):
		r.passOver(s, outcomeBreakerOpen, "the circuit breaker is "+tripped.State, tripped.RetryAfter)
		return nil, nil
	case err != nil: // the breaker is there to help, not to stand in the way
		r.Log.WarnContext(ctx, "circuit breaker not asked", slog.Any("error", err))
	}
	s.permit = permit
	if !r.takeFromProvider(ctx, s) {
		return nil, nil
	}
	target, err := r.Targets.Target(ctx, r.caller.Tenant, provider)
	if err != nil {
		permit.Done(ctx, breaker.Neutral{})
		r.Log.WarnContext(ctx, "credentials of a provider not read", slog.String("provider", provider.ID), slog.Any("error", err))
		r.passOver(s, outcomeNoSecret, "the provider's credentials can't be read", 0)
		return nil, nil
	}
	err = try(ctx, dialect.Attempt{Target: target, Model: choice.Model, CorrelationID: r.caller.CorrelationID, MaxOutputTokens: r.clamp})
	if err == nil {
		r.answered = s.attempt
		r.recorded.Attempts = append(r.recorded.Attempts, usage.Attempt{ProviderID: provider.ID, Model: choice.Model, Outcome: outcomeSucceeded})
		return s, nil
	}
	failure := asFailure(err)
	r.failed(ctx, s, failure)
	return nil, failure
}

func asFailure(err error) *dialect.Failure {
	if failure, ok := errors.AsType[*dialect.Failure](err); ok {
		return failure
	}
	return &dialect.Failure{Trigger: dialect.ServerError, Code: "internal", Message: "the attempt failed"}
}

func (r *run) breakerSettings() breaker.Settings {
	configured := r.snapshot.Fallback.Breaker
	return breaker.Settings{
		FailureThreshold: configured.FailureThreshold, HalfOpenMax: configured.HalfOpenMaxRequests,
		Cooldown: time.Duration(configured.CooldownSeconds) * time.Second,
	}
}

// passOver records that a choice was not asked, and why.
func (r *run) passOver(s *serving, outcome, why string, retryAfter time.Duration) {
	if retryAfter > 0 && (r.retryAfter == 0 || retryAfter < r.retryAfter) {
		r.retryAfter = retryAfter
	}
	r.recorded.Attempts = append(r.recorded.Attempts, usage.Attempt{ProviderID: s.provider.ID, Model: s.model, Outcome: outcome, Error: why})
	r.Metrics.attempt(string(s.provider.Config.Type), outcome)
}

// takeFromProvider takes from the rate limits that the tenant has set for the provider.
func (r *run) takeFromProvider(ctx context.Context, s *serving) bool {
	var wanted []limits.Limit
	if rpm := s.provider.Config.RateLimitRPM; rpm != nil {
		wanted = append(wanted, limits.Limit{ID: "provider:" + s.provider.ID + ":rpm", PerMinute: *rpm, Cost: 1, Kind: limits.Requests})
	}
	tokens := limits.Limit{ID: "provider:" + s.provider.ID + ":tpm", Kind: limits.Tokens}
	if tpm := s.provider.Config.RateLimitTPM; tpm != nil {
		// More than a minute's worth can't be taken at once; such a call takes all of it.
		tokens.PerMinute, tokens.Cost = *tpm, min(r.promptTokens+r.maxOutput*r.choices, *tpm)
		wanted = append(wanted, tokens)
	}
	if len(wanted) == 0 {
		return true
	}
	verdict, err := r.Limiter.Take(ctx, r.caller.Tenant, wanted)
	switch {
	case err != nil: // the provider has limits of its own
		r.Log.WarnContext(ctx, "rate limit of a provider not asked", slog.Any("error", err))
	case !verdict.Allowed:
		s.permit.Done(ctx, breaker.Neutral{})
		r.passOver(s, outcomeRateLimited, "the provider's configured rate limit is used up", verdict.RetryAfter)
		return false
	case tokens.PerMinute > 0:
		r.taken = append(r.taken, takenTokens{id: tokens.ID, attempt: s.attempt, estimate: tokens.Cost, verdict: verdict})
	}
	return true
}

// failed records a failed attempt and lets breaker and health know.
func (r *run) failed(ctx context.Context, s *serving, failure *dialect.Failure) {
	took := r.Now().Sub(s.began)
	attempt := usage.Attempt{
		ProviderID: s.provider.ID, Model: s.model, Outcome: string(failure.Trigger), Status: failure.Status, LatencyUS: took.Microseconds(), Error: failure.Message,
	}
	r.lose(ctx, &attempt, failure.Usage)
	r.recorded.Attempts = append(r.recorded.Attempts, attempt)
	s.permit.Done(ctx, r.resultOf(failure))
	r.sample(s, took, failure)
	r.Metrics.attempt(string(s.provider.Config.Type), string(failure.Trigger))
}

// resultOf is what a failure means to the circuit breaker: only what is the provider's fault counts.
func (r *run) resultOf(failure *dialect.Failure) breaker.Result {
	switch failure.Trigger {
	case dialect.Timeout, dialect.ServerError:
		return breaker.Failure{Code: failure.Code}
	case dialect.RateLimit:
		alone := failure.RetryAfter
		if alone <= 0 {
			alone = defaultRateLimitPause
		}
		return breaker.RateLimited{Until: r.Now().Add(alone)}
	case dialect.Dead:
		return breaker.DeadCredential{Reason: failure.Code}
	case dialect.BadRequest, dialect.ContentPolicy, dialect.Cancelled:
	}
	return breaker.Neutral{}
}

// sample counts an attempt for the provider's health; failure is nil for one that succeeded.
func (r *run) sample(s *serving, took time.Duration, failure *dialect.Failure) {
	failed := false
	if failure != nil {
		switch failure.Trigger {
		case dialect.Cancelled:
			return // says nothing of the provider
		case dialect.Timeout, dialect.ServerError, dialect.RateLimit, dialect.Dead:
			failed = true
		case dialect.BadRequest, dialect.ContentPolicy:
		}
	}
	r.Samples.Add(r.caller.Tenant, s.provider.ID, took, failed)
}

// failsOver tells whether a failure sends the call to the next choice.
func (r *run) failsOver(failure *dialect.Failure) bool {
	switch failure.Trigger {
	case dialect.Dead: // nothing was asked of a model, and nothing will be until somebody has mended it
		return true
	case dialect.Timeout, dialect.RateLimit, dialect.ServerError, dialect.ContentPolicy:
		return slices.Contains(r.snapshot.Fallback.Triggers, routing.Trigger(failure.Trigger))
	case dialect.BadRequest, dialect.Cancelled:
	}
	return false
}

// worthRetrying waits before a second attempt at the last choice, and tells whether to make it: not where the first had an
// answer, which is paid for.
func (r *run) worthRetrying(ctx context.Context, failure *dialect.Failure) bool {
	wait := retryPause
	switch {
	case failure.Usage.Tokens.Total() > 0 || failure.Code == dialect.CodeBadAnswer:
		return false
	case failure.Trigger == dialect.RateLimit && failure.RetryAfter > 0 && failure.RetryAfter <= retryWithin:
		wait = failure.RetryAfter
	case failure.Trigger == dialect.ServerError && failure.RetryAfter <= retryWithin:
		wait = max(wait, failure.RetryAfter)
	default:
		return false
	}
	pause(ctx, wait)
	return ctx.Err() == nil
}
