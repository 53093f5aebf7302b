// Package telemetry sends OpenTelemetry traces to a collector where one is configured; without one it costs nothing.
package telemetry

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Config says where traces go and what they say of their origin.
type Config struct {
	// Endpoint is the base URL of an OTLP/HTTP collector; empty sends no traces.
	Endpoint string
	// Service, Version and Node become resource attributes.
	Service, Version, Node string
}

// Start installs the process's tracer provider. stop sends what is left, within its context.
func Start(ctx context.Context, config Config) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	if config.Endpoint == "" {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(config.Endpoint, "/")+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("make the trace exporter: %w", err)
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter),
		trace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", config.Service),
			attribute.String("service.version", config.Version),
			attribute.String("service.instance.id", config.Node),
		)),
	)
	otel.SetTracerProvider(provider)
	return func(ctx context.Context) error {
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("send the last traces: %w", err)
		}
		return nil
	}, nil
}
