package httpx

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/archonhq/archon/api"
)

// defaultWaitBound is the contract's bound of waiting for read tables.
const defaultWaitBound = 2 * time.Second

// Config is what the HTTP layer is made of. Fields without a default must be set.
type Config struct {
	// Handlers implement the document's operations.
	Handlers api.StrictServerInterface
	// Streams are the document's reads that have no generated route, since their answers are streamed, by operationId. They
	// pass what all reads pass.
	Streams  map[string]echo.HandlerFunc
	Verifier Verifier
	Writes   Writes
	Waiter   Waiter
	Health   *Health
	// Metrics is where the layer's metrics are registered and from where /metrics takes all; nil is a registry of its own.
	Metrics *prometheus.Registry
	// Logger gets one line a request and one a fault; nil drops them.
	Logger *slog.Logger
	// Tracer makes the spans; nil makes none.
	Tracer trace.TracerProvider
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// WaitBound is how long a read waits for X-Min-Position: 0 is two seconds, less does not wait.
	WaitBound time.Duration
	// Now is the clock of meta.timestamp; nil is the system's.
	Now func() time.Time
}

// errIncomplete says that Config lacks a field which has no default.
var errIncomplete = errors.New("httpx.Config: Handlers, Verifier, Writes, Waiter and Health must be set")

func (c *Config) setDefaults() error {
	if c.Handlers == nil || c.Verifier == nil || c.Writes == nil || c.Waiter == nil || c.Health == nil {
		return errIncomplete
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = slog.New(LogHandler(c.Logger.Handler()))
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.WaitBound = max(cmp.Or(c.WaitBound, defaultWaitBound), 0)
	return nil
}

// New assembles the HTTP layer: the document's operations behind their middleware, and what stands outside of them. Routes
// that are mounted on the result by hand pass the outer middleware only; they authenticate for themselves.
func New(config Config) (*echo.Echo, error) {
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	operations, err := loadOperations(api.Document())
	if err != nil {
		return nil, err
	}
	measured, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort, e.Binder = true, true, bodyBinder{}
	outer := &shell{
		trusted: config.TrustedProxies, now: config.Now, logger: config.Logger, metrics: measured,
		tracer: config.Tracer.Tracer("github.com/archonhq/archon/internal/httpx"),
	}
	e.HTTPErrorHandler = outer.render
	e.Use(outer.identify, outer.observe, outer.renderErrors, recoverPanics, secureHeaders)

	inner := &guard{
		verifier: config.Verifier, writes: config.Writes, waiter: config.Waiter, waitBound: config.WaitBound,
		logger: config.Logger, metrics: measured,
	}
	if err := mountOperations(e, config, inner, operations); err != nil {
		return nil, err
	}
	mountDocs(e)
	mountMachines(e, config)
	return e, nil
}

var errNotGenerated = errors.New("the operations of the document and the generated routes differ; run go generate ./api")

// mountOperations puts every operation's chain in front of it, and fails where one would be left without.
func mountOperations(e *echo.Echo, config Config, inner *guard, operations map[string]*operation) error {
	chains := map[string][]echo.MiddlewareFunc{}
	for id, o := range operations {
		chains[id] = inner.chain(o)
	}
	mounted := &operationRouter{Echo: e}
	api.RegisterHandlersWithOptions(mounted, api.NewStrictHandler(config.Handlers, nil), api.RegisterHandlersOptions{OperationMiddlewares: chains})
	for id, handler := range config.Streams {
		o, known := operations[id]
		if !known || o.isWrite() || strings.Contains(o.path, "{") {
			return fmt.Errorf("%w: %s is not a read that can be streamed", errNotGenerated, id)
		}
		mounted.GET(o.path, handler, chains[id]...)
	}
	if mounted.unguarded != "" || mounted.count != len(operations) {
		return fmt.Errorf("%w: %s", errNotGenerated, mounted.unguarded)
	}
	return nil
}

// operationRouter mounts generated routes. It answers HEAD wherever there is a GET, as HTTP wants, and notices a route that
// came without middleware.
type operationRouter struct {
	*echo.Echo

	count     int
	unguarded string
}

// GET mounts a read.
func (r *operationRouter) GET(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	r.Echo.HEAD(path, h, m...)
	return r.mount(http.MethodGet, path, h, m)
}

// POST mounts a write.
func (r *operationRouter) POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.mount(http.MethodPost, path, h, m)
}

// PUT mounts a write.
func (r *operationRouter) PUT(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.mount(http.MethodPut, path, h, m)
}

// PATCH mounts a write.
func (r *operationRouter) PATCH(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.mount(http.MethodPatch, path, h, m)
}

// DELETE mounts a write.
func (r *operationRouter) DELETE(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.mount(http.MethodDelete, path, h, m)
}

func (r *operationRouter) mount(method, path string, h echo.HandlerFunc, m []echo.MiddlewareFunc) *echo.Route {
	r.count++
	if len(m) == 0 {
		r.unguarded = method + " " + path
	}
	return r.Echo.Add(method, path, h, m...)
}

// mountMachines serves what load balancers and Prometheus ask for.
func mountMachines(e *echo.Echo, config Config) {
	mountRead(e, "/health", echo.WrapHandler(config.Health))
	mountRead(e, "/health/live", func(c echo.Context) error { return c.JSONBlob(http.StatusOK, []byte(`{"status":"ok"}`)) })
	mountRead(e, "/metrics", echo.WrapHandler(promhttp.HandlerFor(config.Metrics, promhttp.HandlerOpts{Registry: config.Metrics})))
}

// mountRead answers HEAD wherever there is a GET, as HTTP wants.
func mountRead(e *echo.Echo, path string, h echo.HandlerFunc) {
	e.HEAD(path, h)
	e.GET(path, h)
}
