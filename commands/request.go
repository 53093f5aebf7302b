package commands

import (
	"context"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/internal/httpx"
)

// callerOf is the caller of the HTTP request that ctx belongs to.
func callerOf(ctx context.Context) Caller {
	request := httpx.From(ctx)
	caller := Caller{
		Tenant: request.Principal.Tenant, Actor: domain.Actor{ID: request.Principal.UserID, Type: domain.User},
		Method: request.Method, Path: request.Path, Status: request.SuccessStatus, CorrelationID: request.CorrelationID,
		IP: request.IP, UserAgent: request.UserAgent, Idempotency: idempotencyOf(ctx),
	}
	for _, role := range request.Principal.Roles {
		caller.Roles = append(caller.Roles, string(role))
	}
	if request.IfMatch != nil {
		caller.IfMatch = &Precondition{Any: request.IfMatch.Any, Versions: request.IfMatch.Versions}
	}
	return caller
}

type idempotencyKey struct{}

// withIdempotency makes the command of ctx one that may be repeated.
func withIdempotency(ctx context.Context, named *Idempotency) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, named)
}

func idempotencyOf(ctx context.Context) *Idempotency {
	named, _ := ctx.Value(idempotencyKey{}).(*Idempotency)
	return named
}

// ReadYourWrites lets an answer wait until the read tables show what it did.
type ReadYourWrites struct {
	Waiter Waiter
	// Bound is how long an answer waits; past it the answer says that it did.
	Bound time.Duration
}

// finish answers a command, after the read tables show what it did. A refusal may be due to the command itself, which a
// twin of the request has handled on another node: then the first answer counts.
func finish(ctx context.Context, h *Handler, reads ReadYourWrites, caller Caller, done outcome, err error, projections ...string) (httpx.Answer, error) {
	if err != nil {
		if done, err = h.orEarlier(ctx, caller, err); err != nil {
			return httpx.Answer{}, err
		}
	}
	return reads.settle(ctx, done, caller.Tenant, projections...), nil
}

// settle waits for a command's position in projections, unless the client does not want to, and returns its answer.
func (r ReadYourWrites) settle(ctx context.Context, done outcome, tenant string, projections ...string) httpx.Answer {
	request := httpx.From(ctx)
	if request.RespondAsync || r.Bound == 0 {
		return done.Answer
	}
	ctx, cancel := context.WithTimeout(ctx, r.Bound)
	defer cancel()
	if err := r.Waiter.Wait(ctx, tenant, done.position, projections...); err != nil {
		request.SetProjectionLag()
	}
	return done.Answer
}
