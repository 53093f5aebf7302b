package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

// CallLog is what pricing calls again reads of the log.
type CallLog interface {
	At(ctx context.Context, tenant string, positions []int64) ([]eventstore.Recorded, error)
	Of(ctx context.Context, tenant, eventType string, streams []string) ([]eventstore.Recorded, error)
}

// repricingChunk is how many calls are priced, and booked, at once.
const repricingChunk = 500

// repricing is a repricing under way.
type repricing struct {
	*Repricings
	caller Caller
	meta   []byte
	// state and version are those of its stream, position is that of the request: calls behind it are not meant.
	state    costs.Repricing
	version  int64
	position int64
	// last is the position of the last event of it.
	last int64
	book prices.Book
	// types are the types of the providers that answered no call themselves.
	types map[string]string
}

// Run does a repricing from where it is to its end. It is called by a job, may be called again, and may run twice at once:
// what is done is in the log, each chunk with the place at which the next one begins, and the version of every stream that
// is written is expected, so that of two that book the same difference one loses, and looks again.
func (r *Repricings) Run(ctx context.Context, caller Caller, id string) error {
	caller.Idempotency = nil
	meta, err := r.Handler.meta(ctx, caller)
	if err != nil {
		return err
	}
	return untilWon(func() error {
		run := &repricing{Repricings: r, caller: caller, meta: meta, types: map[string]string{}}
		err := run.load(ctx, id)
		if err == nil && !run.state.Completed {
			err = run.toEnd(ctx)
		}
		return err
	})
}

// untilWon does something again that lost a race for a stream.
func untilWon(attempt func() error) (err error) {
	for range tries {
		err = attempt()
		if _, lost := errors.AsType[*eventstore.ConflictError](err); !lost {
			return err
		}
	}
	return err
}

// load reads how far the repricing is, and the price book as it was when it was asked for.
func (r *repricing) load(ctx context.Context, id string) error {
	events, err := r.Handler.Log.Load(ctx, r.caller.Tenant, costs.RepricingStream(id), 0)
	if err != nil {
		return err //nolint:wrapcheck // says which stream
	}
	if len(events) == 0 {
		return costs.ErrNoRepricing
	}
	r.position, r.last, r.version = events[0].Position, events[len(events)-1].Position, int64(len(events))
	if r.state, err = foldAll(r.Handler.Codec, costs.RepricingDecider(), events); err != nil {
		return err
	}
	events, err = r.Handler.Log.Load(ctx, r.caller.Tenant, prices.Stream(r.caller.Tenant), 0)
	if err != nil {
		return err //nolint:wrapcheck // says which stream
	}
	book, err := foldAll(r.Handler.Codec, prices.Decider(), events[:min(int64(len(events)), r.state.Requested.BookVersion)])
	r.book = book.Book()
	return err
}

func foldAll[S, C any](codec *eventstore.Codec, decider domain.Decider[S, C], events []eventstore.Recorded) (S, error) {
	var state S
	for i := range events {
		payload, err := codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return state, fmt.Errorf("fold %s: %w", events[i].Stream, err)
		}
		state = decider.Evolve(state, payload)
	}
	return state, nil
}

// toEnd goes through the calls, chunk by chunk.
func (r *repricing) toEnd(ctx context.Context) error {
	if err := r.wait(ctx, r.position); err != nil {
		return err
	}
	place, found := r.state.Place, r.state.Found
	if place.Position == 0 {
		place.StartedAt = r.state.Requested.From // positions count from 1, so this is before every call of that moment
	}
	for {
		chunk, err := r.Begun(ctx, r.caller.Tenant, place, r.state.Requested.Until, r.position, cmp.Or(r.Chunk, repricingChunk))
		if err != nil {
			return fmt.Errorf("find the calls to price again: %w", err)
		}
		if len(chunk) == 0 {
			if err := r.recount(ctx); err != nil {
				return err
			}
			return r.write(ctx, map[string]int64{}, domain.To{
				Stream: costs.RepricingStream(r.state.Requested.RepricingID), Event: costs.RepricingCompleted{RepricingID: r.state.Requested.RepricingID, Found: found},
			})
		}
		var here costs.Found
		err = untilWon(func() (err error) {
			here, err = r.chunk(ctx, chunk, found)
			return err
		})
		if err != nil {
			return err
		}
		place, found = chunk[len(chunk)-1], found.Plus(here)
	}
}

// recount has budgets counted anew. It comes before the end, so that whoever sees that can rely on it.
func (r *repricing) recount(ctx context.Context) error {
	if r.Recount == nil || r.state.Requested.DryRun {
		return nil
	}
	if err := r.wait(ctx, r.last); err != nil {
		return err
	}
	if err := r.Recount(ctx, r.caller.Tenant, r.state.Requested); err != nil {
		return fmt.Errorf("count budgets anew: %w", err)
	}
	return nil
}

// wait waits until the ledger has everything up to a position.
func (r *repricing) wait(ctx context.Context, position int64) error {
	waiting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	if err := r.Waiter.Wait(waiting, r.caller.Tenant, position, "ledger"); err != nil {
		return fmt.Errorf("wait for the ledger: %w", err)
	}
	return nil
}

// recordedCall is a call as the log has it.
type recordedCall struct {
	call    costs.Call
	booked  costs.Booked
	stream  string
	version int64
}

// chunk prices calls again, and books what differs together with the place that the repricing has come to.
func (r *repricing) chunk(ctx context.Context, places []costs.Place, before costs.Found) (costs.Found, error) {
	calls, err := r.read(ctx, places)
	if err != nil {
		return costs.Found{}, err
	}
	var here costs.Found
	var booking []domain.To
	expect := map[string]int64{}
	for i := range calls {
		one := &calls[i]
		event, found, books := r.state.Requested.Reprice(&one.call, one.booked, r.charge)
		here = here.Plus(found)
		if !books {
			continue
		}
		expect[one.stream] = one.version
		booking = append(booking, domain.To{Stream: one.stream, Event: event})
	}
	if len(booking) == 0 || r.state.Requested.DryRun {
		return here, nil
	}
	booking = append(booking, domain.To{Stream: costs.RepricingStream(r.state.Requested.RepricingID), Event: costs.RepricingProgressed{
		RepricingID: r.state.Requested.RepricingID, Place: places[len(places)-1], Found: before.Plus(here),
	}})
	return here, r.write(ctx, expect, booking...)
}

// read reads calls from the log, with what was booked for them since they were recorded.
func (r *repricing) read(ctx context.Context, places []costs.Place) ([]recordedCall, error) {
	positions := make([]int64, len(places))
	for i, place := range places {
		positions[i] = place.Position
	}
	events, err := r.Calls.At(ctx, r.caller.Tenant, positions)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	calls, streams := make([]recordedCall, 0, len(events)), make([]string, 0, len(events))
	of := map[string][]int{}
	for i := range events {
		event := &events[i]
		payload, err := r.Handler.Codec.Decode(event.Type, event.Data)
		recorded, ok := payload.(usage.Recorded)
		if err != nil || !ok {
			return nil, fmt.Errorf("position %d is not a call: %w", event.Position, errors.Join(err, errNoCall))
		}
		call, err := r.callOf(ctx, event, &recorded)
		if err != nil {
			return nil, fmt.Errorf("read the call at position %d: %w", event.Position, err)
		}
		of[event.Stream] = append(of[event.Stream], len(calls))
		calls = append(calls, recordedCall{call: call, booked: call.Recorded(), stream: event.Stream, version: event.Version})
		streams = append(streams, event.Stream)
	}
	events, err = r.Calls.Of(ctx, r.caller.Tenant, costs.CallRepriced{}.EventType(), streams)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	for i := range events {
		payload, err := r.Handler.Codec.Decode(events[i].Type, events[i].Data)
		event, ok := payload.(costs.CallRepriced)
		if err != nil || !ok {
			return nil, fmt.Errorf("read the difference at position %d: %w", events[i].Position, errors.Join(err, errNoCall))
		}
		for _, index := range of[events[i].Stream] {
			one := &calls[index]
			one.booked, one.version = one.booked.After(&one.call, event), max(one.version, events[i].Version)
		}
	}
	return calls, nil
}

// errNoCall says that the ledger names a position at which there is something else: a fault.
var errNoCall = errors.New("the ledger and the log do not agree; see archon costs check")

// callOf is a call as it is priced again.
func (r *repricing) callOf(ctx context.Context, event *eventstore.Recorded, recorded *usage.Recorded) (costs.Call, error) {
	call := costs.Call{
		ID: recorded.CallID, Position: event.Position, StartedAt: recorded.StartedAt.UTC(), KeyID: recorded.KeyID, UserID: recorded.UserID,
		DepartmentID: recorded.DepartmentID, AgentID: recorded.AgentID,
	}
	if recorded.StartedAt.IsZero() {
		call.StartedAt = event.Time()
	}
	total, err := amountOf(recorded.CostUSD)
	if err != nil {
		return call, err
	}
	rest, allPriced := domain.Amount(0), true
	if total != nil {
		rest = *total
	}
	for i := range recorded.Attempts {
		attempt := &recorded.Attempts[i]
		cost, err := amountOf(attempt.CostUSD)
		switch {
		case err != nil:
			return call, err
		case cost != nil:
			rest -= *cost
		case !recorded.Unpriced:
			cost = new(domain.Amount)
		}
		if attempt.Tokens.Total() <= 0 {
			continue
		}
		allPriced = allPriced && cost != nil
		kind, err := r.typeOf(ctx, attempt.ProviderID, recorded)
		if err != nil {
			return call, err
		}
		call.Attempts = append(call.Attempts, costs.Attempt{
			ProviderID: attempt.ProviderID, ProviderType: kind, Model: attempt.Model, Tokens: attempt.Tokens, Cost: cost,
		})
	}
	if recorded.Tokens.Total() <= 0 {
		return call, nil
	}
	answered := costs.Attempt{ProviderID: recorded.ProviderID, ProviderType: recorded.ProviderType, Model: recorded.Model, Tokens: recorded.Tokens}
	// Where an attempt before it is why the call is unpriced, the answer is so only if it has no price itself.
	if !recorded.Unpriced || (!allPriced && len(recorded.Price) > 0) {
		answered.Cost = &rest
	}
	call.Attempts, call.Answered = append(call.Attempts, answered), true
	return call, nil
}

// amountOf is a recorded cost; nil where there is none.
func amountOf(recorded string) (*domain.Amount, error) {
	if recorded == "" {
		return nil, nil //nolint:nilnil // none is not an error
	}
	amount, err := domain.ParseAmount(recorded, domain.AmountPlaces)
	return &amount, err //nolint:wrapcheck // wrapped by the caller
}

// typeOf is the type of an attempt's provider, which never changes, also of one that is gone; empty where there never was one.
func (r *repricing) typeOf(ctx context.Context, providerID string, recorded *usage.Recorded) (string, error) {
	if providerID == recorded.ProviderID {
		return recorded.ProviderType, nil
	}
	if known, found := r.types[providerID]; found {
		return known, nil
	}
	events, err := r.Handler.Log.Load(ctx, r.caller.Tenant, providers.Stream(providerID), 0)
	if err != nil {
		return "", err //nolint:wrapcheck // says which stream
	}
	for i := range events {
		payload, err := r.Handler.Codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return "", fmt.Errorf("read a provider's type: %w", err)
		}
		if registered, is := payload.(providers.Registered); is {
			r.types[providerID] = string(registered.Config.Type)
		}
	}
	return r.types[providerID], nil
}

// charge implements costs.PriceBook.
func (r *repricing) charge(providerType, model string, at time.Time, tokens domain.Tokens) (costs.Priced, bool) {
	price, cost, found := r.book.Charge(providerType, model, at, tokens)
	if !found {
		return costs.Priced{}, false
	}
	encoded, err := json.Marshal(price)
	return costs.Priced{Model: price.Model, Price: encoded, Cost: cost}, err == nil
}

// write appends what the repricing has come to, unless another one was quicker: that is a *eventstore.ConflictError. expect
// are the versions of the streams of calls.
func (r *repricing) write(ctx context.Context, expect map[string]int64, booking ...domain.To) error {
	own := costs.RepricingStream(r.state.Requested.RepricingID)
	expect[own] = r.version
	request := eventstore.Append{Tenant: r.caller.Tenant, Expect: expect, Meta: r.meta}
	for _, to := range booking {
		event, err := r.Handler.Codec.Encode(to.Stream, to.Event)
		if err != nil {
			return err //nolint:wrapcheck // says which event
		}
		request.Events = append(request.Events, event)
	}
	result, err := r.Handler.Log.Append(ctx, request)
	if err != nil {
		return fmt.Errorf("book differences: %w", err)
	}
	r.version, r.last = result.Versions[own], result.Last
	return nil
}
