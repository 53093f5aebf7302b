// Package replay makes routing decisions again from what the log says of them: to see that they come out the same, and to
// see what another ruleset would have decided.
//
// It reads the log in order and keeps no more of it than counts and bounded caches, so its memory does not grow with the
// number of calls. Streams of configuration are read whole, or from a version on, at a time.
package replay

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

// batch is how many events are read at once.
const batch = 500

// Log is the part of the event store that is read.
type Log interface {
	Read(ctx context.Context, tenant string, after int64, limit int) ([]eventstore.Recorded, error)
	Load(ctx context.Context, tenant, stream string, after int64) ([]eventstore.Recorded, error)
}

// Options says what of a tenant's log is replayed.
type Options struct {
	Tenant string
	// After and Until are positions: from the one behind After to Until.
	After, Until int64
	// Draft, where set, is decided on as well.
	Draft *routing.Ruleset
	// Each is called with every decision that does not agree.
	Each func(Disagreement)
}

// Disagreement is a decision that does not come out as it was recorded.
type Disagreement struct {
	Tenant   string `json:"tenant"`
	Position int64  `json:"position"`
	CallID   string `json:"call_id"`
	Why      string `json:"why"`
}

// Report counts what was found.
type Report struct {
	Tenant string `json:"tenant"`
	// Calls is how many calls were recorded, Undecided how many of them without a decision, since they were refused before
	// one was made.
	Calls     int64 `json:"calls"`
	Undecided int64 `json:"undecided"`
	Agreed    int64 `json:"agreed"`
	Disagreed int64 `json:"disagreed"`
	// Draft is set where a draft was given.
	Draft *Comparison `json:"draft,omitempty"`
}

// replayer is one tenant's replay.
type replayer struct {
	options Options
	codec   *eventstore.Codec
	past    *past
	report  Report
	prices  priceBook
}

// Run replays a part of a tenant's log. An error means that the log could not be read.
func Run(ctx context.Context, log Log, codec *eventstore.Codec, options Options) (Report, error) {
	r := replayer{options: options, codec: codec, past: newPast(log, codec, options.Tenant), report: Report{Tenant: options.Tenant}, prices: priceBook{}}
	if options.Draft != nil {
		compiled := options.Draft.Compiled()
		r.options.Draft = &compiled
		r.report.Draft = newComparison()
	}
	err := r.run(ctx, log)
	if r.report.Draft != nil {
		r.report.Draft.finish()
	}
	return r.report, err
}

func (r *replayer) run(ctx context.Context, log Log) error {
	recorded := usage.Recorded{}.EventType()
	for after := r.options.After; after < r.options.Until; {
		events, err := log.Read(ctx, r.options.Tenant, after, batch)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			if events[i].Position > r.options.Until {
				return nil
			}
			if events[i].Type != recorded {
				continue
			}
			if err := r.call(ctx, &events[i]); err != nil {
				return fmt.Errorf("position %d: %w", events[i].Position, err)
			}
		}
		after = events[len(events)-1].Position
		r.past.forget()
	}
	return nil
}

// call replays one call's decision.
func (r *replayer) call(ctx context.Context, event *eventstore.Recorded) error {
	r.report.Calls++
	payload, err := r.codec.Decode(event.Type, event.Data)
	if err != nil {
		return err //nolint:wrapcheck // says which event
	}
	call, _ := payload.(usage.Recorded)
	if len(call.Decision) == 0 {
		r.report.Undecided++
		return nil
	}
	var record routing.Record
	if wrong := json.Unmarshal(call.Decision, &record); wrong != nil {
		r.disagree(event, &call, "what is stored is no decision: "+wrong.Error())
		return nil //nolint:nilerr // it has been told
	}
	rules, fallback, missing, err := r.past.configuration(ctx, &record)
	if err != nil {
		return err
	}
	if missing != "" {
		r.disagree(event, &call, missing)
		return nil
	}
	providers, err := r.past.providersOf(ctx, &record)
	if err != nil {
		return err
	}
	if _, agree, why := record.Replay(rules, fallback, providers); agree {
		r.report.Agreed++
	} else {
		r.disagree(event, &call, why)
	}
	r.prices.learn(&call, &record)
	if r.options.Draft != nil {
		r.compare(&call, &record, fallback, providers)
	}
	return nil
}

func (r *replayer) disagree(event *eventstore.Recorded, call *usage.Recorded, why string) {
	r.report.Disagreed++
	if r.options.Each != nil {
		r.options.Each(Disagreement{Tenant: r.options.Tenant, Position: event.Position, CallID: call.CallID, Why: why})
	}
}
