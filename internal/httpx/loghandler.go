package httpx

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler adds to every record the ids of the request that its context belongs to: correlation_id, request_id, tenant
// and trace_id. A handler that does so already is returned as it is.
func LogHandler(inner slog.Handler) slog.Handler {
	if done, ok := inner.(contextHandler); ok {
		return done
	}
	return contextHandler{inner: inner}
}

type contextHandler struct{ inner slog.Handler }

// Enabled implements slog.Handler.
func (h contextHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h contextHandler) Handle(ctx context.Context, record slog.Record) error {
	told := record.Clone()
	if request, found := ctx.Value(requestKey{}).(*Request); found {
		told.AddAttrs(slog.String("correlation_id", request.CorrelationID), slog.String("request_id", request.RequestID))
		if request.Principal.Tenant != "" {
			told.AddAttrs(slog.String("tenant", request.Principal.Tenant))
		}
		if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
			told.AddAttrs(slog.String("trace_id", span.TraceID().String()))
		}
	}
	if err := h.inner.Handle(ctx, told); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{inner: h.inner.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{inner: h.inner.WithGroup(name)}
}
