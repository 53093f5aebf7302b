package plane

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
)

// run is one call on its way through the plane.
type run struct {
	*Plane

	caller   Caller
	snapshot *Snapshot
	started  time.Time
	decision routing.Decision
	// recorded is what the call will have come to, filled in as it goes.
	recorded usage.Recorded
	// promptTokens is the estimate that limits and budgets rest on; maxOutput what the client allows, 0 where it does not
	// say; clamp what goes upstream in its place, 0 for none. Both are for each of so many choices.
	promptTokens, maxOutput, clamp, choices int64
	// verdict is what the key's rate limits said, for the answer's headers.
	verdict limits.Verdict
	// reserved is what is set aside of budgets: for the attempt under way, and for those before that may have cost something.
	reserved []budget.Reservation
	// counted are the budgets that it is set aside in; bounded says that one of them refuses calls, so that the cost has to be
	// bounded.
	counted []counting
	bounded bool
	// spent is what attempts have cost that did not end in an answer; owing says that what is set aside is needed for that.
	spent domain.Amount
	owing bool
	// taken are the providers' token limits that the estimate was taken from.
	taken []takenTokens
	// answered is the index of the attempt that answered, -1 where none has.
	answered int
	// retryAfter is the soonest that one of the providers that were passed over says to come back.
	retryAfter time.Duration
}

type takenTokens struct {
	id string
	// attempt is the index of the attempt that it was taken for.
	attempt  int
	estimate int64
	verdict  limits.Verdict
}

// wants is what a call asks for, beside its content.
type wants struct {
	kind     usage.Kind
	streamed bool
	request  routing.Request
	// maxOutput is the client's bound on output tokens, 0 where it has none.
	maxOutput int64
	// choices is how many answers are wanted at once, each of which may be as long as that; at least 1.
	choices int64
}

// begin checks what the caller may do, decides where the call goes, and reserves what it may cost.
func (p *Plane) begin(ctx context.Context, caller Caller, wanted wants) (*run, *Problem) {
	r := &run{Plane: p, caller: caller, started: p.Now(), promptTokens: wanted.request.PromptTokens, maxOutput: wanted.maxOutput, choices: wanted.choices, answered: -1}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, p.fault(ctx, "make a call id", err)
	}
	r.recorded = usage.Recorded{
		CallID: id.String(), Kind: wanted.kind, Streamed: wanted.streamed, StartedAt: r.started.UTC().Truncate(time.Microsecond),
		UserID: caller.UserID, RequestedModel: wanted.request.Model,
		Attempts: []usage.Attempt{}, Source: string(dialect.Unknown),
	}
	if caller.Key != nil {
		r.recorded.KeyID = caller.Key.ID
	}
	if r.snapshot, err = p.Directory.Get(ctx, caller.Tenant); err != nil {
		return nil, p.fault(ctx, "read the configuration", err)
	}
	if problem := r.attribute(); problem != nil {
		return nil, r.refuse(ctx, problem)
	}
	wanted.request.DepartmentID = r.caller.DepartmentID
	if problem := r.admitKey(ctx, wanted.request.Model); problem != nil {
		return nil, r.refuse(ctx, problem)
	}
	r.decide(wanted.request)
	if problem := r.reserve(ctx); problem != nil {
		return nil, r.refuse(ctx, problem)
	}
	return r, nil
}

// admitKey checks the key's models and takes from its rate limit.
func (r *run) admitKey(ctx context.Context, model string) *Problem {
	key := r.caller.Key
	if key == nil {
		return nil
	}
	if model != "" && !key.AllowsModel(model) {
		return modelNotAllowed()
	}
	if key.RateLimitRPM == nil {
		return nil
	}
	verdict, err := r.Limiter.Take(ctx, r.caller.Tenant, []limits.Limit{{
		ID: "key:" + key.ID + ":rpm", PerMinute: *key.RateLimitRPM, Cost: 1, Kind: limits.Requests,
	}})
	if err != nil {
		return r.fault(ctx, "take from a rate limit", err)
	}
	r.verdict = verdict
	if !verdict.Allowed {
		return &Problem{
			Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "rate_limit_exceeded", RetryAfter: verdict.RetryAfter,
			Message: "This API key's requests per minute are used up.",
		}
	}
	return nil
}

// fault logs what went wrong inside and says no more of it than that.
func (p *Plane) fault(ctx context.Context, doing string, err error) *Problem {
	if !errors.Is(err, context.Canceled) {
		p.Log.WarnContext(ctx, "call not served", slog.String("doing", doing), slog.Any("error", err))
	}
	return unavailable()
}
