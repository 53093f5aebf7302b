package commands

import (
	"context"
	"fmt"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// Operations holds what operators do to Archon itself: the deed first, since it can be done again, then its record.
type Operations struct {
	Handler *Handler
	Control Control
	Reads   ReadYourWrites
}

// Control acts on projections and jobs of a tenant. What is not there is a *domain.Refusal of kind NotFound, what is not in
// a state for it one of kind Conflict.
type Control interface {
	RetryProjection(ctx context.Context, tenant, name string) (api.Projection, error)
	RebuildProjection(ctx context.Context, tenant, name string) (api.Projection, error)
	PauseProjection(ctx context.Context, tenant, name string) (api.Projection, error)
	ResumeProjection(ctx context.Context, tenant, name string) (api.Projection, error)
	RetryJob(ctx context.Context, tenant, id string) (api.Job, error)
	DiscardJob(ctx context.Context, tenant, id string) (api.Job, error)
}

// RetryProjection implements api.StrictServerInterface.
func (o *Operations) RetryProjection(ctx context.Context, request api.RetryProjectionRequestObject) (api.RetryProjectionResponseObject, error) {
	return done(ctx, o, o.Control.RetryProjection, request.Name, func(name string) domain.To {
		return domain.To{Stream: operations.ProjectionStream(name), Event: operations.ProjectionRetried{Name: name}}
	})
}

// RebuildProjection implements api.StrictServerInterface.
func (o *Operations) RebuildProjection(ctx context.Context, request api.RebuildProjectionRequestObject) (api.RebuildProjectionResponseObject, error) {
	return done(ctx, o, o.Control.RebuildProjection, request.Name, func(name string) domain.To {
		return domain.To{Stream: operations.ProjectionStream(name), Event: operations.ProjectionRebuildRequested{Name: name}}
	})
}

// PauseProjection implements api.StrictServerInterface.
func (o *Operations) PauseProjection(ctx context.Context, request api.PauseProjectionRequestObject) (api.PauseProjectionResponseObject, error) {
	return done(ctx, o, o.Control.PauseProjection, request.Name, func(name string) domain.To {
		return domain.To{Stream: operations.ProjectionStream(name), Event: operations.ProjectionPaused{Name: name}}
	})
}

// ResumeProjection implements api.StrictServerInterface.
func (o *Operations) ResumeProjection(ctx context.Context, request api.ResumeProjectionRequestObject) (api.ResumeProjectionResponseObject, error) {
	return done(ctx, o, o.Control.ResumeProjection, request.Name, func(name string) domain.To {
		return domain.To{Stream: operations.ProjectionStream(name), Event: operations.ProjectionResumed{Name: name}}
	})
}

// RetryJob implements api.StrictServerInterface.
func (o *Operations) RetryJob(ctx context.Context, request api.RetryJobRequestObject) (api.RetryJobResponseObject, error) {
	return done(ctx, o, o.Control.RetryJob, request.ID, func(id string) domain.To {
		return domain.To{Stream: operations.JobStream(id), Event: operations.JobRetried{JobID: id}}
	})
}

// DiscardJob implements api.StrictServerInterface.
func (o *Operations) DiscardJob(ctx context.Context, request api.DiscardJobRequestObject) (api.DiscardJobResponseObject, error) {
	return done(ctx, o, o.Control.DiscardJob, request.ID, func(id string) domain.To {
		return domain.To{Stream: operations.JobStream(id), Event: operations.JobDiscarded{JobID: id}}
	})
}

// Record records what an operator did to a tenant's projections without a request, on the command line.
func (o *Operations) Record(ctx context.Context, tenant string, to domain.To) error {
	event, err := o.Handler.Codec.Encode(to.Stream, to.Event)
	if err != nil {
		return err //nolint:wrapcheck // says which event
	}
	meta, err := o.Handler.meta(ctx, SystemCaller(tenant, "cli"))
	if err != nil {
		return err
	}
	if _, err := o.Handler.Log.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{event}, Meta: meta}); err != nil {
		return fmt.Errorf("record what an operator did: %w", err)
	}
	return nil
}

// done does a deed and records it.
func done[T any](ctx context.Context, o *Operations, deed func(ctx context.Context, tenant, id string) (T, error), id string, record func(string) domain.To) (httpx.Answer, error) {
	caller := callerOf(ctx)
	data, err := deed(ctx, caller.Tenant, id)
	if err != nil {
		return httpx.Answer{}, err
	}
	to := record(id)
	event, err := o.Handler.Codec.Encode(to.Stream, to.Event)
	if err != nil {
		return httpx.Answer{}, err //nolint:wrapcheck // says which event
	}
	meta, err := o.Handler.meta(ctx, caller)
	if err != nil {
		return httpx.Answer{}, err
	}
	shown := response{status: caller.Status, data: data}
	var answer httpx.Answer
	request := eventstore.Append{Tenant: caller.Tenant, Events: []eventstore.NewEvent{event}, Meta: meta}
	if caller.Idempotency != nil {
		request.CommandID = caller.Idempotency.CommandID
		request.Remember = eventstore.Remember{Fingerprint: caller.Idempotency.Fingerprint, Answer: func(events []eventstore.Recorded) (encoded []byte, err error) {
			if answer, err = shown.answer(ctx, events[0].Position); err != nil {
				return nil, err
			}
			return encodeAnswer(answer)
		}}
	}
	result, err := o.Handler.Log.Append(ctx, request)
	switch {
	case err != nil:
		return httpx.Answer{}, fmt.Errorf("record what an operator did: %w", err)
	case result.Duplicate:
		earlier, err := again(caller.Idempotency, result.Last, result.Fingerprint, result.Answer)
		return earlier.Answer, err
	case caller.Idempotency == nil:
		if answer, err = shown.answer(ctx, result.Last); err != nil {
			return httpx.Answer{}, err
		}
	}
	return o.Reads.settle(ctx, outcome{Answer: answer, position: result.Last}, caller.Tenant, "audit_index"), nil
}
