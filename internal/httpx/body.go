package httpx

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// MaxBodyBytes bounds the body of a request.
const MaxBodyBytes = 1 << 20

const (
	// bodyTimeout bounds how long a client may take to send a body: 1 MiB in that time is 35 kB/s.
	bodyTimeout = 30 * time.Second
	// maxDrainBytes and drainTimeout bound what is read of a body that is too large. A client that is still sending when the
	// connection is closed sees a reset instead of the 413.
	maxDrainBytes = 32 << 20
	drainTimeout  = 5 * time.Second
)

// readBody reads the whole body, within its bound, so that it can be told apart from another under the same
// Idempotency-Key before anything is made of it.
func readBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > MaxBodyBytes {
			drain(c)
			return bodyTooLarge()
		}
		// A recorder in a test, or a connection that was taken over, has no deadlines.
		controller := http.NewResponseController(c.Response())
		_ = controller.SetReadDeadline(time.Now().Add(bodyTimeout))
		body, err := io.ReadAll(io.LimitReader(r.Body, MaxBodyBytes+1))
		_ = controller.SetReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return &Error{Status: http.StatusRequestTimeout, Code: CodeRequestTimeout, Message: "The body took too long to arrive."}
		}
		if err != nil {
			return malformedBody("ended early")
		}
		if len(body) > MaxBodyBytes {
			drain(c)
			return bodyTooLarge()
		}
		From(r.Context()).Body = body
		return next(c)
	}
}

// drain reads on, within its bounds. A client that waits for 100 Continue sends nothing and needs none of it.
func drain(c echo.Context) {
	r := c.Request()
	if r.ContentLength > maxDrainBytes || r.Header.Get("Expect") != "" {
		return
	}
	controller := http.NewResponseController(c.Response())
	_ = controller.SetReadDeadline(time.Now().Add(drainTimeout))
	_, _ = io.CopyN(io.Discard, r.Body, maxDrainBytes)
	_ = controller.SetReadDeadline(time.Time{})
}

// checkContent compares what the body is with what the operation takes.
func checkContent(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			body := bytes.TrimSpace(From(c.Request().Context()).Body)
			if o.body == nil {
				// Some clients send an empty object with every POST.
				if len(body) > 0 && string(body) != "{}" {
					return &Error{Status: http.StatusBadRequest, Code: CodeUnexpectedBody, Message: "This operation takes no body."}
				}
				return next(c)
			}
			if len(body) == 0 {
				return &Error{Status: http.StatusBadRequest, Code: CodeMissingBody, Message: "This operation needs a JSON body."}
			}
			if !isJSON(c.Request().Header) {
				return unsupportedMediaType()
			}
			return next(c)
		}
	}
}

func isJSON(header http.Header) bool {
	types := header.Values(headerContentType)
	if len(types) != 1 || header.Get("Content-Encoding") != "" {
		return false
	}
	mediaType, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || mediaType != mediaTypeJSON {
		return false
	}
	charset, named := parameters["charset"]
	return !named || strings.EqualFold(charset, "utf-8")
}

// checkBody refuses bodies that are not strict JSON or don't fit the document, and parameters in the query, which no write
// has.
func checkBody(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := o.checkQuery(c.Request().URL.RawQuery); err != nil {
				return err
			}
			if o.body == nil {
				return next(c)
			}
			body := From(c.Request().Context()).Body
			if err := CheckJSON(body); err != nil {
				return malformedBody(err.Error())
			}
			if err := o.checkBody(body); err != nil {
				return err
			}
			return next(c)
		}
	}
}
