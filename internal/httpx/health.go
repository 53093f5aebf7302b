package httpx

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// healthTTL is how long a report is given again; it keeps a flood of requests for it away from the components.
	healthTTL = time.Second
	// checkTimeout bounds one check.
	checkTimeout = 2 * time.Second
)

// Check says whether a component can be used.
type Check struct {
	// Name is the component's, as the report shows it.
	Name string
	// Critical marks a component without which the node can't serve.
	Critical bool
	// Probe returns nil if the component can be used. Its error is logged; shown is only what [Reason] made of it.
	Probe func(ctx context.Context) error
}

// Reason returns an error whose text the health report shows. It must hold no address and no secret.
func Reason(text string, cause error) error { return &reasonError{text: text, cause: cause} }

type reasonError struct {
	text  string
	cause error
}

func (e *reasonError) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

func (e *reasonError) Unwrap() error { return e.cause }

// States of the report and of its components.
const (
	StateOK          = "ok"
	StateDegraded    = "degraded"
	StateUnavailable = "unavailable"
)

// Report is the answer of /health.
type Report struct {
	Status string `json:"status"`
	// Reason says which components are away; empty where none is.
	Reason     string                     `json:"reason,omitempty"`
	Components map[string]ComponentReport `json:"components"`
}

// ComponentReport is one component's part of a Report.
type ComponentReport struct {
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Health reports the state of the components. It is safe for concurrent use.
type Health struct {
	components []*component
	logger     *slog.Logger
	now        func() time.Time

	mu       sync.Mutex
	report   Report
	reported time.Time
}

type component struct {
	Check

	// running is true until the check comes back: one that hangs is not started again.
	running atomic.Bool
	// failing is what was last logged.
	failing bool
}

// NewHealth makes the report of these components. A nil logger drops what it would say.
func NewHealth(logger *slog.Logger, checks ...Check) *Health {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	h := &Health{logger: logger, now: time.Now}
	for _, check := range checks {
		h.components = append(h.components, &component{Check: check})
	}
	return h
}

// Report runs the checks, all at once and each within two seconds, or returns the last report if it is younger than one.
func (h *Health) Report(ctx context.Context) Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now().Sub(h.reported) < healthTTL {
		return h.report
	}
	// The report serves others too, so it does not end with the one who asked for it.
	h.report = h.check(context.WithoutCancel(ctx))
	h.reported = h.now()
	return h.report
}

// ServeHTTP answers with the report: 503 where a critical component is away, else 200.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report := h.Report(r.Context())
	w.Header().Set(headerContentType, mediaTypeJSON)
	status := http.StatusOK
	if report.Status == StateUnavailable {
		w.Header().Set(HeaderRetryAfter, "1")
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(report); err != nil {
		h.logger.DebugContext(r.Context(), "health report not sent", "error", err)
	}
}

var errNoAnswer = Reason("no answer within "+checkTimeout.String(), nil)

type checked struct {
	component *component
	err       error
}

func (h *Health) check(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	report := Report{Status: StateOK, Components: map[string]ComponentReport{}}
	results := make(chan checked, len(h.components))
	waiting := map[*component]bool{}
	for _, c := range h.components {
		if !c.running.CompareAndSwap(false, true) {
			h.note(ctx, &report, checked{component: c, err: errNoAnswer})
			continue
		}
		waiting[c] = true
		go func() {
			err := c.probe(ctx)
			c.running.Store(false)
			results <- checked{component: c, err: err}
		}()
	}
	for len(waiting) > 0 {
		select {
		case result := <-results:
			delete(waiting, result.component)
			h.note(ctx, &report, result)
		case <-ctx.Done():
			for c := range waiting {
				delete(waiting, c)
				h.note(ctx, &report, checked{component: c, err: errNoAnswer})
			}
		}
	}
	return report
}

var errCheckPanicked = errors.New("the check panicked")

// probe runs the check; one that panics must not take the node down.
func (c *component) probe(ctx context.Context) (err error) {
	defer func() {
		if recover() != nil {
			err = errCheckPanicked
		}
	}()
	err = c.Probe(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return errNoAnswer
	}
	return err
}

// note puts a result into the report, and into the log when it is another than last time.
func (h *Health) note(ctx context.Context, report *Report, result checked) {
	c := result.component
	if result.err == nil {
		report.Components[c.Name] = ComponentReport{Status: StateOK}
		if c.failing {
			h.logger.InfoContext(ctx, "component is back", "component", c.Name)
		}
		c.failing = false
		return
	}
	detail := "is away"
	if said, ok := errors.AsType[*reasonError](result.err); ok {
		detail = said.text
	}
	report.Components[c.Name] = ComponentReport{Status: StateUnavailable, Detail: detail}
	if !c.failing {
		h.logger.WarnContext(ctx, "component is away", "component", c.Name, "error", result.err)
	}
	c.failing = true
	switch {
	case c.Critical:
		report.Status = StateUnavailable
	case report.Status == StateOK:
		report.Status = StateDegraded
	}
	report.Reason = away(report.Components)
}

// away is a sentence about the components that can't be used.
func away(components map[string]ComponentReport) string {
	var parts []string
	for name, component := range components {
		if component.Status != StateOK {
			parts = append(parts, name+": "+component.Detail)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}
