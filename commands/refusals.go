package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/time/rate"

	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// A tenant's refusals are recorded at this rate; a client in a loop must not fill the log. What is left out is counted in
// the next one that is recorded.
const (
	refusalsPerSecond = 20
	refusalsBurst     = 200
	// maxLimiters bounds the memory of per-tenant rates; past it they all start afresh.
	maxLimiters = 10_000
)

// ErrSuppressed says that a refusal was not recorded because there were too many.
var ErrSuppressed = errors.New("too many refusals to record each")

// Refusals records writes that were refused.
type Refusals struct {
	Handler *Handler

	mu       sync.Mutex
	limiters map[string]*refusalRate
}

type refusalRate struct {
	limiter    *rate.Limiter
	suppressed int64
}

// Record appends a refusal with the answer that the caller gets, and returns its position.
func (r *Refusals) Record(ctx context.Context, caller Caller, refused audit.WriteRefused, answer httpx.Answer) (int64, error) {
	suppressed, allowed := r.admit(caller.Tenant)
	if !allowed {
		return 0, ErrSuppressed
	}
	refused.Suppressed = suppressed
	meta, err := r.Handler.meta(ctx, caller)
	if err != nil {
		return 0, err
	}
	event, err := r.Handler.Codec.Encode(audit.Stream(caller.Tenant), refused)
	if err != nil {
		return 0, fmt.Errorf("record a refusal: %w", err)
	}
	request := eventstore.Append{Tenant: caller.Tenant, Events: []eventstore.NewEvent{event}, Meta: meta}
	if caller.Idempotency != nil {
		request.CommandID = caller.Idempotency.CommandID
		request.Remember = eventstore.Remember{Fingerprint: caller.Idempotency.Fingerprint, Answer: func(events []eventstore.Recorded) ([]byte, error) {
			return encodeAnswer(at(answer, events[0].Position))
		}}
	}
	result, err := r.Handler.Log.Append(ctx, request)
	if err != nil {
		return 0, fmt.Errorf("record a refusal: %w", err)
	}
	return result.Last, nil
}

// admit tells whether a tenant may record one more refusal, and how many were left out before it.
func (r *Refusals) admit(tenant string) (suppressed int64, allowed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limiters == nil || len(r.limiters) >= maxLimiters {
		r.limiters = map[string]*refusalRate{}
	}
	state, found := r.limiters[tenant]
	if !found {
		state = &refusalRate{limiter: rate.NewLimiter(refusalsPerSecond, refusalsBurst)}
		r.limiters[tenant] = state
	}
	if !state.limiter.Allow() {
		state.suppressed++
		return 0, false
	}
	suppressed, state.suppressed = state.suppressed, 0
	return suppressed, true
}
