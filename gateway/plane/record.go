package plane

import (
	"context"
	"log/slog"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/dialect"
)

// recordTimeout bounds how long the last byte of an answer waits for the record of the call.
const recordTimeout = 10 * time.Second

// maxRawUsage bounds a provider's own usage object in the record, whose size is bounded too; they have some hundred bytes.
const maxRawUsage = 16 << 10

// end is how a call ended.
type end struct {
	outcome usage.Outcome
	status  int
	code    string
	usage   dialect.Usage
}

// served completes the record of the attempt that answered and lets breaker and health know. failure is nil unless the
// answer broke off.
func (r *run) served(ctx context.Context, s *serving, firstByte time.Duration, failure *dialect.Failure) {
	took := r.Now().Sub(s.began)
	attempt := &r.recorded.Attempts[s.attempt]
	attempt.LatencyUS, attempt.FirstByteUS = took.Microseconds(), firstByte.Microseconds()
	var result breaker.Result = breaker.Success{}
	if failure != nil {
		attempt.Outcome, attempt.Status, attempt.Error = string(failure.Trigger), failure.Status, failure.Message
		result = r.resultOf(failure)
	} else {
		r.firstTokens.add(r.caller.Tenant, s.provider.ID, firstByte)
		r.recorded.FirstTokenUS = (s.began.Sub(r.started) + firstByte).Microseconds()
	}
	s.permit.Done(ctx, result)
	r.sample(s, took, failure)
	r.Metrics.attempt(string(s.provider.Config.Type), attempt.Outcome)
}

// finish records the call. Where it returns a problem the call is not in the log, and the client must not get the end of
// its answer.
func (r *run) finish(ctx context.Context, ended end) (position int64, problem *Problem) {
	return r.keep(ctx, r.complete(ctx, ended))
}

// complete fills in what is only known at the end, and returns what the call has cost.
func (r *run) complete(ctx context.Context, ended end) domain.Amount {
	r.recorded.Outcome, r.recorded.Status, r.recorded.Code = ended.outcome, ended.status, ended.code
	r.recorded.Source = string(ended.usage.Source)
	if len(ended.usage.Raw) <= maxRawUsage {
		r.recorded.RawUsage = ended.usage.Raw
	}
	if r.recorded.Source == "" {
		r.recorded.Source = string(dialect.Unknown)
	}
	cost := r.charge(ctx, ended.usage.Tokens)
	r.recorded.LatencyUS = r.Now().Sub(r.started).Microseconds()
	return cost
}

// keep appends the completed record, and settles what was set aside for the call.
func (r *run) keep(ctx context.Context, cost domain.Amount) (position int64, problem *Problem) {
	ctx = context.WithoutCancel(ctx) // a client that has gone does not undo what was consumed
	r.Metrics.call(r.recorded.Kind, r.recorded.Outcome, r.Now().Sub(r.started))
	if r.Async {
		r.after(ctx, func(ctx context.Context) {
			position, err := r.Recorder.Record(ctx, r.caller, r.recorded)
			if err != nil {
				_ = r.fault(ctx, "record a call after its answer", err)
			}
			r.settle(ctx, cost, position)
		})
		return 0, nil
	}
	position, problem = r.record(ctx)
	r.settleBehind(ctx, cost, position)
	return position, problem
}

func (r *run) record(ctx context.Context) (int64, *Problem) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	position, err := r.Recorder.Record(ctx, r.caller, r.recorded)
	if err != nil {
		return 0, r.fault(ctx, "record a call", err)
	}
	return position, nil
}

func (r *run) settleBehind(ctx context.Context, cost domain.Amount, position int64) {
	if len(r.reserved) == 0 && len(r.taken) == 0 && cost == 0 {
		return
	}
	r.after(ctx, func(ctx context.Context) { r.settle(ctx, cost, position) })
}

// refuse records, behind the answer, a call that was refused before anybody was asked, and returns the problem.
func (r *run) refuse(ctx context.Context, problem *Problem) *Problem {
	took := r.Now().Sub(r.started)
	r.recorded.Outcome, r.recorded.Status, r.recorded.Code, r.recorded.LatencyUS = usage.Refused, problem.Status, problem.Code, took.Microseconds()
	r.Metrics.call(r.recorded.Kind, usage.Refused, took)
	r.after(ctx, func(ctx context.Context) {
		if err := r.Recorder.Refuse(ctx, r.caller, r.recorded); err != nil {
			r.Log.WarnContext(ctx, "refused call not recorded", slog.Any("error", err))
		}
	})
	return problem
}

// abandon records a call that no provider has answered, and returns the problem that the client gets.
func (r *run) abandon(ctx context.Context, problem *Problem) *Problem {
	outcome := usage.Failed
	if ctx.Err() != nil {
		outcome = usage.Cancelled
	}
	if _, unrecorded := r.finish(ctx, end{outcome: outcome, status: problem.Status, code: problem.Code}); unrecorded != nil {
		return unrecorded
	}
	named := *problem
	named.CallID = r.recorded.CallID
	return &named
}
