package httpx

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/secrets"
)

// FromError is the one mapping of errors to HTTP. Refusals of the domain keep their code, message and details; what is
// known to be away or busy is 503 with Retry-After; whatever else is 500 and shows nothing of its cause. The result is
// never nil.
func FromError(err error) *Error {
	if ready, ok := errors.AsType[*Error](err); ok {
		return ready
	}
	if refusal, ok := errors.AsType[*domain.Refusal](err); ok {
		return fromRefusal(refusal)
	}
	if refused, ok := errors.AsType[*auth.Error](err); ok {
		return fromAuth(refused)
	}
	if _, ok := errors.AsType[*eventstore.ConflictError](err); ok {
		return &Error{Status: http.StatusConflict, Code: CodeConflict, Message: "Others changed the same resource at the same time; try again."}
	}
	if found := fromSentinel(err); found != nil {
		return found
	}
	if isAway(err) {
		return Unavailable(err)
	}
	if routed, ok := errors.AsType[*echo.HTTPError](err); ok {
		return fromEcho(routed, err)
	}
	return internalError(err)
}

func internalError(cause error) *Error {
	return &Error{Status: http.StatusInternalServerError, Code: CodeInternalError, Message: "Something went wrong on our side.", cause: cause}
}

func fromRefusal(refusal *domain.Refusal) *Error {
	status := http.StatusUnprocessableEntity
	switch refusal.Kind {
	case domain.Invalid:
	case domain.NotFound:
		status = http.StatusNotFound
	case domain.Conflict:
		status = http.StatusConflict
	case domain.Stale:
		status = http.StatusPreconditionFailed
	case domain.Forbidden:
		status = http.StatusForbidden
	}
	return &Error{Status: status, Code: refusal.Code, Message: refusal.Message, Details: refusal.Details}
}

func fromAuth(refused *auth.Error) *Error {
	failure := &Error{
		Status: http.StatusUnauthorized, Code: CodeUnauthenticated, Message: "A valid bearer token is needed: " + refused.Reason + ".",
		challenge: refused.Reason,
	}
	return failure.withHeader(headerChallenge, refused.Challenge())
}

// fromSentinel maps errors that a caller can tell by their identity; nil where it is none of them.
func fromSentinel(err error) *Error {
	switch {
	case errors.Is(err, eventstore.ErrOutcomeUnknown):
		failure := Unavailable(err)
		failure.Code = CodeOutcomeUnknown
		failure.Message = "The database was lost while the change was written, and it is not known whether it was. " +
			"Repeat the request with the same Idempotency-Key."
		return failure
	case errors.Is(err, eventstore.ErrBusy):
		failure := Unavailable(err)
		failure.Message = "Too many changes are waiting; nothing was changed. Try again shortly."
		return failure
	case errors.Is(err, eventstore.ErrClosed):
		failure := Unavailable(err)
		failure.Message = "This node is shutting down; nothing was changed. Try again, on another node."
		return failure
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrClockBehind),
		errors.Is(err, secrets.ErrUnavailable), errors.Is(err, secrets.ErrDenied), errors.Is(err, auth.ErrUnavailable):
		return Unavailable(err)
	case isUnconnected(err):
		// Before the deadline: connecting has one of its own, which says nothing about the request's.
		return Unavailable(err)
	case errors.Is(err, context.DeadlineExceeded):
		failure := &Error{Status: http.StatusGatewayTimeout, Code: CodeTimeout, Message: "The request took too long.", cause: err}
		return failure.WithRetryAfter(defaultRetryAfter)
	case errors.Is(err, context.Canceled):
		// The client is gone and reads nothing, or the node is draining and the client should ask again.
		return Unavailable(err)
	default:
		return nil
	}
}

// isAway tells whether the database could not be reached or is going down, as reads see it: they go to the pool directly.
func isAway(err error) bool {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return isAwayState(server.Code)
	}
	var network net.Error
	return errors.As(err, &network) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// isUnconnected tells whether there was no connection to the database to be had.
func isUnconnected(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

// isAwayState tells it by SQLSTATE: connection exceptions (08), insufficient resources (53), and the server shutting down,
// crashed or starting up (57P01 to 57P03).
func isAwayState(code string) bool {
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53") || code == "57P01" || code == "57P02" || code == "57P03"
}

// fromEcho maps what echo and the generated code say. Their messages may quote the request, so only the status counts.
func fromEcho(routed *echo.HTTPError, err error) *Error {
	switch routed.Code {
	case http.StatusNotFound:
		return &Error{Status: routed.Code, Code: CodeNotFound, Message: "There is no such path."}
	case http.StatusMethodNotAllowed:
		return &Error{Status: routed.Code, Code: CodeMethodNotAllowed, Message: "This path does not take that method."}
	case http.StatusRequestEntityTooLarge:
		return bodyTooLarge()
	case http.StatusUnsupportedMediaType:
		return unsupportedMediaType()
	}
	if routed.Code >= http.StatusBadRequest && routed.Code < http.StatusInternalServerError {
		return &Error{Status: routed.Code, Code: CodeBadRequest, Message: "The request is malformed."}
	}
	return internalError(err)
}

func bodyTooLarge() *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeBodyTooLarge, Message: "The body is larger than 1 MiB."}
}

func unsupportedMediaType() *Error {
	return &Error{
		Status: http.StatusUnsupportedMediaType, Code: CodeUnsupportedMediaType,
		Message: "Send the body as application/json, in UTF-8 and without compression.",
	}
}
