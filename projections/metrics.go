package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a node tells of its projecting; nil tells nothing.
type metrics struct {
	events, batches, failures *prometheus.CounterVec
	halts                     *prometheus.CounterVec
	delay                     *prometheus.HistogramVec
	lagEvents, lagSeconds     *prometheus.GaugeVec
	stalled                   *prometheus.GaugeVec
}

const labelProjection = "projection"

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	if registry == nil {
		return nil, nil //nolint:nilnil // nil metrics are metrics that tell nothing
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{labelProjection}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{labelProjection})
	}
	m := &metrics{
		events:   counter("archon_projection_events_total", "Positions that this node has moved checkpoints by."),
		batches:  counter("archon_projection_batches_total", "Batches that this node has committed."),
		failures: counter("archon_projection_failures_total", "Batches of this node that failed and were tried again."),
		halts:    counter("archon_projection_halts_total", "Times that this node had to stop a projection for a tenant.", "reason"),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "archon_projection_delay_seconds", Help: "Age of the oldest event of a batch when the batch was committed.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
		}, []string{labelProjection}),
		lagEvents:  gauge("archon_projection_lag_events", "Events that are not projected yet, of all tenants."),
		lagSeconds: gauge("archon_projection_lag_seconds", "Age of the oldest event that is not projected yet, of all tenants."),
		stalled:    gauge("archon_projection_stalled_tenants", "Tenants for which the projection has stopped."),
	}
	for _, collector := range []prometheus.Collector{m.events, m.batches, m.failures, m.halts, m.delay, m.lagEvents, m.lagSeconds, m.stalled} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of projections: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) committed(projection string, w *window, now time.Time) {
	if m == nil {
		return
	}
	m.batches.WithLabelValues(projection).Inc()
	m.events.WithLabelValues(projection).Add(float64(w.len()))
	if w.handled > 0 {
		m.delay.WithLabelValues(projection).Observe(max(0, now.Sub(time.UnixMicro(w.first)).Seconds()))
	}
}

func (m *metrics) failed(projection string) {
	if m != nil {
		m.failures.WithLabelValues(projection).Inc()
	}
}

func (m *metrics) halted(projection string, kind faultKind) {
	if m != nil {
		m.halts.WithLabelValues(projection, kind.String()).Inc()
	}
}

// measure sets the gauges, which are about the database and not about this node.
func (r *Runner) measure(ctx context.Context) {
	states, err := r.States(ctx)
	if err != nil {
		return // what makes the database fail is told where work is looked for
	}
	for i := range states {
		state := &states[i]
		r.metrics.lagEvents.WithLabelValues(state.Name).Set(float64(state.LagEvents))
		r.metrics.lagSeconds.WithLabelValues(state.Name).Set((time.Duration(state.LagMS) * time.Millisecond).Seconds())
		r.metrics.stalled.WithLabelValues(state.Name).Set(float64(state.StalledTenants))
	}
}
