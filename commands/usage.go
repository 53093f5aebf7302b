package commands

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

// Usage records what calls through the data plane came to.
type Usage struct {
	Handler *Handler
	// Refusals bounds how many refused calls are recorded.
	Refusals *Refusals
}

// Refuse records a call that was refused, unless the tenant has too many of them; what is left out is counted in the next
// one that is recorded.
func (u *Usage) Refuse(ctx context.Context, caller Caller, recorded usage.Recorded) error {
	suppressed, allowed := u.Refusals.admit(caller.Tenant)
	if !allowed {
		return nil
	}
	recorded.Suppressed = suppressed
	_, err := u.Record(ctx, caller, recorded)
	return err
}

// Record appends a call to a stream of its own and returns its position once it is durable. Where ctx belongs to a request
// that may be repeated and an answer was given with withAnswer, a repetition gets that answer.
func (u *Usage) Record(ctx context.Context, caller Caller, recorded usage.Recorded) (int64, error) {
	meta, err := u.Handler.meta(ctx, caller)
	if err != nil {
		return 0, err
	}
	event, err := u.Handler.Codec.Encode(usage.Stream(recorded.CallID), recorded)
	if err != nil {
		return 0, fmt.Errorf("record a call: %w", err)
	}
	request := eventstore.Append{
		Tenant: caller.Tenant, Events: []eventstore.NewEvent{event}, Meta: meta, Expect: map[string]int64{event.Stream: 0},
	}
	if named, answer := idempotencyOf(ctx), answerOf(ctx); named != nil && answer != nil && recorded.Status == http.StatusOK { // also where the client has gone, who will ask again
		request.CommandID = named.CommandID
		request.Remember = eventstore.Remember{Fingerprint: named.Fingerprint, TTL: named.TTL, Answer: answer}
	}
	result, err := u.Handler.Log.Append(ctx, request)
	if err == nil && result.Duplicate {
		// A twin on another node was quicker, and yet this call was made too and has cost what it has cost.
		request.CommandID, request.Remember = uuid.Nil, eventstore.Remember{}
		result, err = u.Handler.Log.Append(ctx, request)
	}
	if err != nil {
		return 0, fmt.Errorf("record a call: %w", err)
	}
	return result.Last, nil
}

type answerKey struct{}

// withAnswer gives what a repetition of the request of ctx gets once the call is recorded.
func withAnswer(ctx context.Context, render func(events []eventstore.Recorded) ([]byte, error)) context.Context {
	return context.WithValue(ctx, answerKey{}, render)
}

func answerOf(ctx context.Context) func(events []eventstore.Recorded) ([]byte, error) {
	render, _ := ctx.Value(answerKey{}).(func(events []eventstore.Recorded) ([]byte, error))
	return render
}
