package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/gateway/breaker"
)

// transitions are changes of circuit breakers on their way into the log.
type transitions struct {
	queue chan breaker.Transition
}

// maxTransitions bounds how many may wait: they are rare.
const maxTransitions = 1024

func newTransitions() transitions {
	return transitions{queue: make(chan breaker.Transition, maxTransitions)}
}

// add never blocks: it is called on the way of a call.
func (t transitions) add(transition breaker.Transition) {
	select {
	case t.queue <- transition:
	default: // a database that has been away for a thousand transitions; the state itself is in Redis
	}
}

// recordWithin bounds the recording of one transition.
const recordWithin = 10 * time.Second

// record appends transitions until ctx ends. flush appends those that wait then.
func (t transitions) record(ctx context.Context, log *slog.Logger, record func(ctx context.Context, transition breaker.Transition) error) {
	for {
		select {
		case transition := <-t.queue:
			if err := keep(ctx, transition, record); err != nil && ctx.Err() != nil {
				t.add(transition) // for flush, which has longer
			} else {
				complain(ctx, log, transition, err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// flush appends, within ctx, the transitions that wait.
func (t transitions) flush(ctx context.Context, log *slog.Logger, record func(ctx context.Context, transition breaker.Transition) error) {
	for {
		select {
		case transition := <-t.queue:
			complain(ctx, log, transition, keep(ctx, transition, record))
		default:
			return
		}
	}
}

func keep(ctx context.Context, transition breaker.Transition, record func(ctx context.Context, transition breaker.Transition) error) error {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	return record(ctx, transition)
}

func complain(ctx context.Context, log *slog.Logger, transition breaker.Transition, err error) {
	if err != nil {
		log.WarnContext(ctx, "a circuit breaker's transition is not in the log", slog.String("provider", transition.Provider), slog.String("to", transition.To), slog.Any("error", err))
	}
}

// breakerChanged is a transition as it is recorded.
func breakerChanged(t breaker.Transition) providers.BreakerChanged {
	return providers.BreakerChanged{
		ProviderID: t.Provider, From: t.From, To: t.To, Failures: t.Failures, Reason: t.Reason, OpenedAt: timeOrNil(t.OpenedAt), Until: timeOrNil(t.Until),
		Generation: t.Generation, Local: t.Local, At: t.At,
	}
}

func timeOrNil(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
