package httpx

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
)

// Writes keeps the record of writes: what was asked before under an Idempotency-Key, and what was refused.
type Writes interface {
	// Begin is called for a write of an authorised caller with an Idempotency-Key, once its body was read and before it is
	// looked at. An error refuses the write.
	Begin(ctx context.Context, request *Request) (Begun, error)
	// Record is called for a refused write of an authenticated caller, before it is answered, unless [MarkRecorded] was
	// called. ctx has the values of Begun.Context and is bounded, but does not end with the request. It returns the
	// position of the record, or 0 where none was made. An error is logged and changes nothing for the caller.
	Record(ctx context.Context, refused Refused) (position int64, err error)
}

// Begun is a write that may have been asked before.
type Begun struct {
	// Context, where set, is the context that the handler gets.
	Context context.Context //nolint:containedctx // handed back, not kept
	// Answer, where set, was given before: it is given again, marked as replayed.
	Answer *Answer
	// Done, where set, is called once, when the answer is settled and a refusal recorded.
	Done func()
}

// Refused is a write that was refused with a 4xx other than 401 and 429.
type Refused struct {
	// Request is the request, with its principal, method, path template, ids, client and body.
	Request *Request
	// PathParams are the values in the path, cleaned and bounded, so that they can be stored as text.
	PathParams map[string]string
	// Code, Message and Details are those of the answer. They hold nothing that the client sent.
	Code, Message string
	Details       map[string]any
	// Answer is the answer that the caller gets; X-Event-Position is added to it.
	Answer Answer
}

// recordTimeout bounds how long the answer to a refused write waits for its record.
const recordTimeout = 5 * time.Second

// recordRefusals records writes that the rest of the chain refuses, and ends what repeat has begun.
func (g *guard) recordRefusals(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := From(c.Request().Context())
		defer func() {
			for _, done := range request.done {
				done()
			}
		}()
		err := next(c)
		if err == nil {
			return nil
		}
		failure := FromError(err)
		if !isRefusal(failure.Status) || request.recorded.Load() {
			return failure
		}
		return g.record(c, request, failure)
	}
}

func isRefusal(status int) bool {
	return status >= http.StatusBadRequest && status < http.StatusInternalServerError &&
		status != http.StatusUnauthorized && status != http.StatusTooManyRequests
}

func (g *guard) record(c echo.Context, request *Request, failure *Error) *Error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), recordTimeout)
	defer cancel()
	position, err := g.writes.Record(ctx, Refused{
		Request: request, PathParams: pathParams(c),
		Code: failure.Code, Message: failure.Message, Details: failure.Details, Answer: failure.Answer(),
	})
	if err != nil {
		g.logger.ErrorContext(ctx, "refused write not recorded", "error", err, "code", failure.Code)
		return failure
	}
	request.recorded.Store(true)
	if position > 0 {
		request.SetEventPosition(position)
	}
	return failure
}

// maxPathParamBytes bounds what is recorded of a path; ids are far shorter.
const maxPathParamBytes = 200

func pathParams(c echo.Context) map[string]string {
	params := map[string]string{}
	for _, name := range c.ParamNames() {
		value := c.Param(name)
		if decoded, err := url.PathUnescape(value); err == nil && c.Request().URL.RawPath != "" {
			value = decoded
		}
		params[name] = cleanText(value, maxPathParamBytes)
	}
	return params
}

// repeat gives the first answer again where the write was asked before under the same Idempotency-Key.
func (g *guard) repeat(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := From(c.Request().Context())
		key, err := parseIdempotencyKey(c.Request().Header)
		if err != nil {
			return invalidHeaders(map[string]any{HeaderIdempotencyKey: err.Error()})
		}
		if key == "" {
			return next(c)
		}
		request.IdempotencyKey = key
		begun, err := g.writes.Begin(c.Request().Context(), request)
		if begun.Done != nil {
			request.done = append(request.done, begun.Done)
		}
		if begun.Context != nil {
			c.SetRequest(c.Request().WithContext(begun.Context))
		}
		if err != nil {
			return fmt.Errorf("begin a write: %w", err)
		}
		if begun.Answer != nil {
			answer := *begun.Answer
			answer.Replayed = true
			return answer.write(c.Response())
		}
		return next(c)
	}
}
