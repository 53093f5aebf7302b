package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// statusGone stands in logs and metrics for an answer that nobody waited for.
const statusGone = 499

// shell is the middleware of every request, of the document's operations and of all else.
type shell struct {
	trusted []netip.Prefix
	now     func() time.Time
	logger  *slog.Logger
	metrics *metrics
	tracer  trace.Tracer
}

// identify gives the request its ids and what is known of the client.
func (s *shell) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		request := newRequest(c.Request(), header, s.trusted, s.now)
		header.Set(HeaderCorrelationID, request.CorrelationID)
		c.SetRequest(c.Request().WithContext(With(c.Request().Context(), request)))
		return next(c)
	}
}

// observe makes the span, the log line and the metrics. Everything in them is ours: the route's template, never the path.
func (s *shell) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		request := From(r.Context())
		route, method := routeOf(c), methodLabel(r.Method)
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := s.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.String("archon.correlation_id", request.CorrelationID),
		))
		defer span.End()
		c.SetRequest(r.WithContext(ctx))
		s.metrics.underway.Inc()
		defer s.metrics.underway.Dec()
		start := time.Now()
		err := next(c)
		took := time.Since(start)

		status := c.Response().Status
		if !c.Response().Committed && r.Context().Err() != nil {
			status = statusGone
		}
		s.metrics.observe(method, route, status, took)
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, request.code)
		}
		attrs := []slog.Attr{
			slog.String("method", method), slog.String("route", route), slog.Int("status", status),
			slog.Duration("took", took), slog.Int64("bytes", c.Response().Size),
		}
		if request.code != "" {
			attrs = append(attrs, slog.String("code", request.code))
		}
		s.logger.LogAttrs(ctx, levelOf(route), "request", attrs...)
		return err
	}
}

// levelOf keeps what machines ask every few seconds out of the usual log.
func levelOf(route string) slog.Level {
	switch route {
	case "/health", "/health/live", "/metrics":
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// routeOf is the template of the route that a request matched, as the document writes it.
func routeOf(c echo.Context) string {
	if c.Path() == "" {
		return "unmatched"
	}
	segments := strings.Split(c.Path(), "/")
	for i, segment := range segments {
		if name, found := strings.CutPrefix(segment, ":"); found {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

// renderErrors turns an error into its answer, and logs it where it is a fault. Nothing else does either.
func (s *shell) renderErrors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			s.render(err, c)
		}
		return nil
	}
}

func (s *shell) render(err error, c echo.Context) {
	ctx := c.Request().Context()
	request := From(ctx)
	failure := FromError(err)
	request.code = failure.Code
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		s.logger.DebugContext(ctx, "client went away", "error", err)
		if context.Cause(ctx) != errDraining { //nolint:errorlint // the very value
			// A client that has closed only its half still reads, and would take net/http's empty 200 for a success.
			if !c.Response().Committed {
				c.Response().WriteHeader(statusGone)
			}
			return
		}
	}
	switch {
	case failure.Status == http.StatusInternalServerError:
		s.logger.ErrorContext(ctx, "request failed", "error", err)
		failure = failure.withDetail("request_id", request.RequestID)
	case failure.Status > http.StatusInternalServerError:
		s.logger.WarnContext(ctx, "request not served", "error", err)
	}
	if c.Response().Committed {
		return
	}
	if err := failure.Answer().write(c.Response()); err != nil {
		s.logger.DebugContext(ctx, "answer not sent", "error", err)
	}
}

// recoverPanics turns a panic into a fault. Its value is shown in the log only where the runtime made it: others may quote
// the request.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value == http.ErrAbortHandler { //nolint:errorlint // the very value, which net/http wants back
				panic(value)
			}
			err = internalError(panicked(value))
		}()
		return next(c)
	}
}

func panicked(value any) error {
	if fault, ok := value.(runtime.Error); ok {
		return fmt.Errorf("panic: %w\n%s", fault, debug.Stack())
	}
	return fmt.Errorf("panic with a %T\n%s", value, debug.Stack())
}

// secureHeaders sets the headers that keep browsers from guessing, framing, caching and leaking. The documentation page
// replaces the policy with its own.
func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set(headerPolicy, "default-src 'none'; frame-ancestors 'none'")
		header.Set(headerCacheControl, "no-store")
		return next(c)
	}
}

const headerPolicy = "Content-Security-Policy"
