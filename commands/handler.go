package commands

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// tries is how often a command is decided anew after it lost a race, where the caller named no version.
const tries = 3

// Log is the part of the event store that commands need.
type Log interface {
	Append(ctx context.Context, request eventstore.Append) (eventstore.Result, error)
	Load(ctx context.Context, tenant, stream string, after int64) ([]eventstore.Recorded, error)
	Recall(ctx context.Context, tenant string, commandID uuid.UUID) (eventstore.Remembered, bool, error)
	Memorize(ctx context.Context, tenant string, commandID uuid.UUID, fingerprint, answer []byte) (eventstore.Remembered, bool, error)
	Head(ctx context.Context, tenant string) (eventstore.Head, error)
}

// Sealer encrypts personal data under the key of its subject.
type Sealer interface {
	SealClient(ctx context.Context, tenant, subject, ip, userAgent string) (json.RawMessage, error)
}

// Waiter waits until read tables show a position; see projections.Runner.Wait.
type Waiter interface {
	Wait(ctx context.Context, tenant string, position int64, projections ...string) error
}

// Handler runs commands against the log.
type Handler struct {
	Log    Log
	Codec  *eventstore.Codec
	Sealer Sealer
	Now    func() time.Time
	Logger *slog.Logger
	// Changed, where set, is told of each tenant of which a command has changed something; telemetry changes nothing. It must
	// not block.
	Changed func(tenant string)
}

// task is one command on its way through the handler.
type task[S, C any] struct {
	decider domain.Decider[S, C]
	command C
	// streams are folded into the state and expected, in the append, at the versions seen. The first is the target:
	// If-Match and ETag are about it.
	streams []string
	// more, where set, names further streams to fold once the target's state is known.
	more func(S) []string
	// state is what folding begins with, where the caller has folded already.
	state S
	// unguarded appends at whatever version the streams have, and folds none: telemetry.
	unguarded bool
	// answer makes what the caller gets, from the state after the events and the target's new version. at is when the
	// events occurred, the zero time where there were none.
	answer func(state S, version int64, at time.Time) response
}

// outcome is what became of a command.
type outcome struct {
	httpx.Answer
	// position is the one to wait for: the last event's, or the head's where nothing had to change.
	position int64
}

// repeated is whether the answer is that of an earlier, identical command.
func (o outcome) repeated() bool { return o.Replayed }

// folded is the state a decision rests on.
type folded[S any] struct {
	state    S
	versions map[string]int64
	// last is the highest position that was folded, created the time of the first event of the target.
	last    int64
	created time.Time
}

func (f folded[S]) version(stream string) int64 { return f.versions[stream] }

// handle runs a task to its outcome: enrich has happened, so it loads, folds, decides and appends, again from the load
// after a lost race.
func handle[S, C any](ctx context.Context, h *Handler, caller Caller, t task[S, C]) (outcome, error) {
	meta, err := h.meta(ctx, caller)
	if err != nil {
		return outcome{}, err
	}
	for range tries {
		before, err := fold(ctx, h, caller.Tenant, t)
		if err != nil {
			return outcome{}, err
		}
		decided, refused := t.decider.Decide(before.state, t.command)
		if stale := caller.IfMatch.check(before.versions[t.streams[0]]); stale != nil && !isNotFound(refused) {
			return outcome{}, stale
		}
		if refused != nil {
			return outcome{}, refused //nolint:wrapcheck // a refusal is passed on as it is
		}
		if len(decided) == 0 {
			return unchanged(ctx, h, caller, t, before)
		}
		done, err := appendDecided(ctx, h, caller, meta, t, before, decided)
		if _, lost := errors.AsType[*eventstore.ConflictError](err); !lost {
			return done, err
		}
	}
	return outcome{}, ErrContended
}

// isNotFound tells that there is nothing whose version could be stale: what is not there, or another tenant's, is 404
// whatever the request says of it.
func isNotFound(err error) bool {
	var refusal *domain.Refusal
	return errors.As(err, &refusal) && refusal.Kind == domain.NotFound
}

// retrying runs a use case again whose impure part looked at a version that has been overtaken since.
func retrying(attempt func() (outcome, error)) (outcome, error) {
	for range tries {
		if done, err := attempt(); !errors.Is(err, errOvertaken) {
			return done, err
		}
	}
	return outcome{}, ErrContended
}

func fold[S, C any](ctx context.Context, h *Handler, tenant string, t task[S, C]) (folded[S], error) {
	f := folded[S]{state: t.state, versions: map[string]int64{}}
	if t.unguarded {
		return f, nil
	}
	for _, stream := range t.streams {
		if err := f.add(ctx, h, tenant, stream, t.decider.Evolve); err != nil {
			return f, err
		}
	}
	if t.more == nil {
		return f, nil
	}
	for _, stream := range t.more(f.state) {
		if err := f.add(ctx, h, tenant, stream, t.decider.Evolve); err != nil {
			return f, err
		}
	}
	return f, nil
}

// add folds one stream more, unless it has been.
func (f *folded[S]) add(ctx context.Context, h *Handler, tenant, stream string, evolve func(S, domain.Event) S) error {
	if _, done := f.versions[stream]; done {
		return nil
	}
	events, err := h.Log.Load(ctx, tenant, stream, 0)
	if err != nil {
		return err //nolint:wrapcheck // says which stream already
	}
	if len(f.versions) == 0 && len(events) > 0 {
		f.created = events[0].Time()
	}
	f.versions[stream] = int64(len(events))
	for i := range events {
		payload, err := h.Codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return fmt.Errorf("fold %s: %w", stream, err)
		}
		f.state = evolve(f.state, payload)
		f.last = max(f.last, events[i].Position)
	}
	return nil
}

func appendDecided[S, C any](ctx context.Context, h *Handler, caller Caller, meta []byte, t task[S, C], before folded[S], decided []domain.To) (outcome, error) {
	request := eventstore.Append{Tenant: caller.Tenant, Expect: before.versions, Meta: meta}
	after := before.state
	version := before.versions[t.streams[0]]
	for _, to := range decided {
		event, err := h.Codec.Encode(to.Stream, to.Event)
		if err != nil {
			return outcome{}, err //nolint:wrapcheck // says which event already
		}
		request.Events = append(request.Events, event)
		after = t.decider.Evolve(after, to.Event)
		if to.Stream == t.streams[0] {
			version++
		}
	}
	var answer httpx.Answer
	render := func(events []eventstore.Recorded) (encoded []byte, err error) {
		made, position := t.answer(after, version, events[0].Time()), events[len(events)-1].Position
		if answer, err = made.first().answer(ctx, position); err != nil {
			return nil, err
		}
		remembered := answer
		if made.once != nil {
			if remembered, err = made.answer(ctx, position); err != nil {
				return nil, err
			}
		}
		return encodeAnswer(remembered)
	}
	if caller.Idempotency != nil {
		request.CommandID = caller.Idempotency.CommandID
		request.Remember = eventstore.Remember{Fingerprint: caller.Idempotency.Fingerprint, Answer: render, TTL: caller.Idempotency.TTL}
	}
	result, err := h.Log.Append(ctx, request)
	if err == nil && h.Changed != nil && !t.unguarded {
		h.Changed(caller.Tenant)
	}
	switch {
	case err != nil:
		return outcome{}, err //nolint:wrapcheck // the store's errors are part of the API
	case result.Duplicate:
		return again(caller.Idempotency, result.Last, result.Fingerprint, result.Answer)
	case caller.Idempotency == nil:
		answer, err = t.answer(after, version, time.UnixMicro(result.OccurredAt).UTC()).first().answer(ctx, result.Last)
	}
	return outcome{Answer: answer, position: result.Last}, err
}

// unchanged answers a command that has nothing to change.
func unchanged[S, C any](ctx context.Context, h *Handler, caller Caller, t task[S, C], before folded[S]) (outcome, error) {
	head, err := h.Log.Head(ctx, caller.Tenant)
	if err != nil {
		return outcome{}, err //nolint:wrapcheck // the store's errors are part of the API
	}
	answer, err := t.answer(before.state, before.version(t.streams[0]), time.Time{}).answer(ctx, head.Position)
	if err != nil || caller.Idempotency == nil {
		return outcome{Answer: answer, position: head.Position}, err
	}
	encoded, err := encodeAnswer(answer)
	if err != nil {
		return outcome{}, err
	}
	remembered, first, err := h.Log.Memorize(ctx, caller.Tenant, caller.Idempotency.CommandID, caller.Idempotency.Fingerprint, encoded)
	if err != nil {
		return outcome{}, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if !first { // a twin on another node was quicker
		return again(caller.Idempotency, remembered.Last, remembered.Fingerprint, remembered.Answer)
	}
	return outcome{Answer: answer, position: head.Position}, nil
}

// orEarlier is the outcome of the same command where it has been handled already, else the refusal.
func (h *Handler) orEarlier(ctx context.Context, caller Caller, refused error) (outcome, error) {
	var refusal *domain.Refusal
	if caller.Idempotency == nil || !errors.As(refused, &refusal) {
		return outcome{}, refused
	}
	remembered, found, err := h.Log.Recall(ctx, caller.Tenant, caller.Idempotency.CommandID)
	if err != nil || !found {
		return outcome{}, refused
	}
	return again(caller.Idempotency, remembered.Last, remembered.Fingerprint, remembered.Answer)
}

// again is the outcome of a command that has been handled before under the same id.
func again(now *Idempotency, position int64, fingerprint, encoded []byte) (outcome, error) {
	if !hmac.Equal(now.Fingerprint, fingerprint) {
		return outcome{}, ErrKeyReused
	}
	answer, err := decodeAnswer(encoded)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Answer: answer, position: position}, nil
}

// meta makes the meta of a caller's events, with the client's address and user agent sealed.
func (h *Handler) meta(ctx context.Context, caller Caller) ([]byte, error) {
	meta := domain.Meta{
		Actor: caller.Actor, Method: caller.Method, Path: caller.Path, Status: caller.Status,
		CorrelationID: caller.CorrelationID, CausationID: caller.CausationID, Roles: caller.Roles,
	}
	if caller.IP != "" || caller.UserAgent != "" {
		sealed, err := h.Sealer.SealClient(ctx, caller.Tenant, caller.Actor.ID, caller.IP, caller.UserAgent)
		if err != nil {
			return nil, fmt.Errorf("seal the client's data: %w", err)
		}
		meta.Client = sealed
	}
	encoded, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encode meta: %w", err)
	}
	return encoded, nil
}
