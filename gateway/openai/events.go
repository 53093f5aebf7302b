package openai

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/gateway/plane"
)

// pass sends a streamed answer on as server-sent events, piece by piece. [DONE] only goes out once the call is in the log.
func pass(ctx context.Context, c echo.Context, stream *plane.ChatStream) {
	defer stream.Close(ctx)
	verdict := stream.Limits()
	describe(c, stream.CallID(), &verdict)
	header := c.Response().Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Accel-Buffering", "no") // nginx would else collect the pieces
	c.Response().WriteHeader(http.StatusOK)
	out := &eventWriter{w: c.Response(), controller: http.NewResponseController(c.Response())}
	for {
		chunk, err := stream.Next(ctx)
		var problem *plane.Problem
		switch {
		case err == nil:
			if out.event(chunk) != nil {
				return // the client has gone; Close drains
			}
			continue
		case errors.Is(err, io.EOF):
			_ = out.event([]byte("[DONE]"))
		case errors.As(err, &problem):
			_ = out.event(problem.Body())
		}
		return
	}
}

// eventWriter writes server-sent events and sends each off at once.
type eventWriter struct {
	w          io.Writer
	controller *http.ResponseController
	buffer     []byte
	deadline   time.Time
}

// deadlineSlack is how much of the write timeout may have gone before the deadline is set anew: setting it for each event
// would cost more than writing the event.
const deadlineSlack = 5 * time.Second

func (w *eventWriter) event(data []byte) error {
	if now := time.Now(); w.deadline.Sub(now) < writeTimeout-deadlineSlack {
		w.deadline = now.Add(writeTimeout)
		_ = w.controller.SetWriteDeadline(w.deadline) // a recorder in a test has none
	}
	w.buffer = append(w.buffer[:0], "data: "...)
	w.buffer = append(w.buffer, data...)
	w.buffer = append(w.buffer, "\n\n"...)
	if _, err := w.w.Write(w.buffer); err != nil {
		return err //nolint:wrapcheck // only whether there is one matters
	}
	return w.controller.Flush() //nolint:wrapcheck // as above
}
