package httpx

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of the HTTP layer. Labels take few values whatever clients send: methods outside of the known ones are
// "other", and paths without a route "unmatched".
type metrics struct {
	requests        *prometheus.HistogramVec
	underway        prometheus.Gauge
	unauthenticated *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "archon_http_request_duration_seconds",
			Help: "How long requests took, by method, route template and status; 499 is a client that went away.",
			// The contract's bound for a list is 5 ms; verification and connection tests take seconds.
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route", "status"}),
		underway: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "archon_http_requests_underway",
			Help: "Requests that are being answered.",
		}),
		unauthenticated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archon_http_unauthenticated_requests_total",
			Help: "Requests without a valid token, by reason.",
		}, []string{"reason"}),
	}
	for _, collector := range []prometheus.Collector{m.requests, m.underway, m.unauthenticated} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of the HTTP layer: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(methodLabel(method), route, strconv.Itoa(status)).Observe(took.Seconds())
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}
