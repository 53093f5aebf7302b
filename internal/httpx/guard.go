package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/internal/auth"
)

// Verifier judges tokens; *auth.Verifier is one.
type Verifier interface {
	// Verify returns the token's principal. Its error is an *auth.Error where the token does not count, and wraps
	// auth.ErrUnavailable where that can't be told now.
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Waiter waits until the read tables that an operation reads show a position.
type Waiter interface {
	// Wait returns nil once they do. operation is the operationId of the read. It returns the end of ctx, which is bounded,
	// where they don't in time; any other error fails the request.
	Wait(ctx context.Context, tenant, operation string, position int64) error
}

// guard is the middleware of the document's operations.
type guard struct {
	verifier Verifier
	writes   Writes
	waiter   Waiter
	// waitBound is how long a read waits for X-Min-Position; 0 does not wait.
	waitBound time.Duration
	logger    *slog.Logger
	metrics   *metrics
}

// chain is what requests of an operation pass, outermost first.
func (g *guard) chain(o *operation) []echo.MiddlewareFunc {
	if o.isWrite() {
		return []echo.MiddlewareFunc{
			g.authenticate(o), g.recordRefusals, authorise(o), readBody, g.repeat, checkHeaders(o), checkContent(o), checkBody(o),
		}
	}
	return []echo.MiddlewareFunc{g.authenticate(o), authorise(o), checkHeaders(o), checkQuery(o), g.wait}
}

// authenticate settles who calls.
func (g *guard) authenticate(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			request := From(c.Request().Context())
			request.Operation, request.Method, request.Path, request.SuccessStatus = o.id, o.method, o.path, o.status
			token, err := auth.BearerToken(c.Request())
			if err == nil {
				request.Principal, err = g.verifier.Verify(c.Request().Context(), token)
			}
			if err == nil {
				return next(c)
			}
			failure := FromError(err)
			if failure.Status == http.StatusUnauthorized {
				g.metrics.unauthenticated.WithLabelValues(failure.challenge).Inc()
			}
			return failure
		}
	}
}

// authorise compares the caller's roles with what the operation needs, before anything else of the request is looked at.
func authorise(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if From(c.Request().Context()).Principal.Allows(o.requirement) {
				return next(c)
			}
			return &Error{
				Status: http.StatusForbidden, Code: CodeForbidden, Message: "Your roles do not allow this.",
				Details: map[string]any{"required_role": o.role},
			}
		}
	}
}

// checkHeaders parses the headers that the document gives a meaning to, and Accept.
func checkHeaders(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			request, header := From(c.Request().Context()), c.Request().Header
			if request.MediaType = accepted(header, o.types); request.MediaType == "" {
				return &Error{Status: http.StatusNotAcceptable, Code: CodeNotAcceptable, Message: "This operation answers in " + strings.Join(o.types, ", ") + " only."}
			}
			var err error
			if request.Method == http.MethodGet {
				if request.MinPosition, err = parseMinPosition(header); err != nil {
					return invalidHeaders(map[string]any{HeaderMinPosition: err.Error()})
				}
				return next(c)
			}
			if request.IfMatch, err = parseIfMatch(header); err != nil {
				return invalidHeaders(map[string]any{HeaderIfMatch: err.Error()})
			}
			request.RespondAsync = prefersAsync(header)
			return next(c)
		}
	}
}

// accepted is the first of the types that Accept leaves room for, empty where it does for none.
func accepted(header http.Header, types []string) string {
	for _, mediaType := range types {
		if accepts(header, mediaType) {
			return mediaType
		}
	}
	return ""
}

// accepts says whether Accept leaves room for a type (RFC 9110, 12.5.1): the most specific range that covers it decides.
// Without the header, or with one that names nothing, everything is accepted.
func accepts(header http.Header, wanted string) bool {
	family, _, _ := strings.Cut(wanted, "/")
	ranges := []string{"*/*", family + "/*", wanted}
	named, specificity, accepted := false, -1, false
	for part := range strings.SplitSeq(strings.Join(header.Values("Accept"), ","), ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		named = true
		mediaType, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if found := slices.Index(ranges, mediaType); found >= specificity && found >= 0 {
			quality, err := strconv.ParseFloat(parameters["q"], 64)
			specificity, accepted = found, err != nil || quality > 0
		}
	}
	return !named || accepted
}

// checkQuery refuses parameters that don't fit the document.
func checkQuery(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := o.checkQuery(c.Request().URL.RawQuery); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// wait holds a read back until the read tables show the position that the client asks for.
func (g *guard) wait(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx := c.Request().Context()
		request := From(ctx)
		if request.MinPosition == 0 {
			return next(c)
		}
		bounded, cancel := context.WithTimeout(ctx, g.waitBound)
		defer cancel()
		err := g.waiter.Wait(bounded, request.Principal.Tenant, request.Operation, request.MinPosition)
		switch {
		case err == nil:
		case ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || bounded.Err() != nil):
			request.SetProjectionLag()
		default:
			return fmt.Errorf("wait for a position: %w", err)
		}
		return next(c)
	}
}
