package subscriptions

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	open  prometheus.Gauge
	sent  prometheus.Counter
	ended *prometheus.CounterVec
	// refused counts by the status of the answer.
	refused *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		open:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "archon_sockets_open", Help: "Sockets that are open on this node."}),
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "archon_socket_events_total", Help: "Events that were sent to sockets."}),
		ended:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "archon_sockets_ended_total", Help: "Sockets that have ended, by close code; 1006 is a client that went away."}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "archon_sockets_refused_total", Help: "Requests for a socket that were refused, by status."}, []string{"status"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.open, m.sent, m.ended, m.refused} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of sockets: %w", err)
		}
	}
	return m, nil
}
