package commands

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
)

// Issuer makes tickets; *tickets.Tickets is one.
type Issuer interface {
	Issue(caller auth.Principal) (ticket string, expiresAt time.Time, err error)
}

// Tickets lets callers open sockets. A ticket changes nothing, so no event tells of it; the position of its answer is the
// head of the log.
type Tickets struct {
	Log    Log
	Issuer Issuer
}

// CreateSocketTicket implements api.StrictServerInterface.
func (t *Tickets) CreateSocketTicket(ctx context.Context, _ api.CreateSocketTicketRequestObject) (api.CreateSocketTicketResponseObject, error) {
	caller := callerOf(ctx)
	head, err := t.Log.Head(ctx, caller.Tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	ticket, expiresAt, err := t.Issuer.Issue(httpx.From(ctx).Principal)
	if err != nil {
		return nil, fmt.Errorf("issue a ticket: %w", err)
	}
	made := response{
		status: http.StatusOK, data: api.SocketTicket{ExpiresAt: expiresAt}, once: api.SocketTicket{Ticket: &ticket, ExpiresAt: expiresAt},
	}
	answer, err := made.first().answer(ctx, head.Position)
	if err != nil || caller.Idempotency == nil {
		return answer, err
	}
	repeated, err := made.answer(ctx, head.Position)
	if err != nil {
		return nil, err
	}
	encoded, err := encodeAnswer(repeated)
	if err != nil {
		return nil, err
	}
	remembered, first, err := t.Log.Memorize(ctx, caller.Tenant, caller.Idempotency.CommandID, caller.Idempotency.Fingerprint, encoded)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if !first { // a twin on another node was quicker
		earlier, err := again(caller.Idempotency, remembered.Last, remembered.Fingerprint, remembered.Answer)
		return earlier.Answer, err
	}
	return answer, nil
}
