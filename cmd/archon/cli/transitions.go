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

// record appends transitions until ctx ends, and then those that wait.
func (t transitions) record(ctx context.Context, log *slog.Logger, record func(ctx context.Context, transition breaker.Transition) error) {
	keep := func(transition breaker.Transition) {
		const within = 10 * time.Second
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
		defer cancel()
		if err := record(bounded, transition); err != nil {
			log.WarnContext(ctx, "a circuit breaker's transition is not in the log", slog.String("provider", transition.Provider), slog.String("to", transition.To), slog.Any("error", err))
		}
	}
	for {
		select {
		case transition := <-t.queue:
			keep(transition)
		case <-ctx.Done():
			for {
				select {
				case transition := <-t.queue:
					keep(transition)
				default:
					return
				}
			}
		}
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
