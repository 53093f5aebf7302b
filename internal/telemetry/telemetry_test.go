package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/archonhq/archon/internal/telemetry"
)

func TestTracesReachTheCollector(t *testing.T) {
	received := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case received <- r.URL.Path:
		default:
		}
	}))
	defer collector.Close()
	stop, err := telemetry.Start(context.Background(), telemetry.Config{Endpoint: collector.URL + "/", Service: "archon", Version: "test", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer("test").Start(context.Background(), "work")
	span.End()
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if path := <-received; path != "/v1/traces" {
		t.Errorf("the collector was asked for %s", path)
	}
}

func TestNothingIsSentWithoutAnEndpoint(t *testing.T) {
	stop, err := telemetry.Start(context.Background(), telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}
