package plane

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/archonhq/archon/domain/usage"
)

// Metrics counts calls and attempts for Prometheus. Its labels are all from fixed sets.
type Metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	// Unauthenticated counts requests without a valid key or token.
	Unauthenticated prometheus.Counter
}

// NewMetrics registers the metrics of the data plane.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archon_calls_total", Help: "Calls through the data plane, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "archon_call_duration_seconds", Help: "Time from the arrival of a call to the end of its answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"kind"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archon_attempts_total", Help: "Attempts at providers, by the provider's type and outcome.",
		}, []string{"provider_type", "outcome"}),
		Unauthenticated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "archon_calls_unauthenticated_total", Help: "Requests to the data plane without a valid key or token.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.calls, m.duration, m.attempts, m.Unauthenticated} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of calls: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) call(kind usage.Kind, outcome usage.Outcome, took time.Duration) {
	m.calls.WithLabelValues(string(kind), string(outcome)).Inc()
	m.duration.WithLabelValues(string(kind)).Observe(took.Seconds())
}

func (m *Metrics) attempt(providerType, outcome string) {
	m.attempts.WithLabelValues(providerType, outcome).Inc()
}
