package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/transparency"
	"github.com/archonhq/archon/reactions"
)

// serve runs the node's roles until ctx ends, or a part of it fails, and drains them: it stops accepting, finishes the
// requests, flushes the append queue, and only then stops what the requests rely on.
func (n *node) serve(ctx context.Context, roles []string, ready func(n *node, addr net.Addr) error) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	var parts errgroup.Group
	run := func(name string, part func(context.Context) error) {
		parts.Go(func() error {
			if err := part(background); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				fail(err)
				return err
			}
			return nil
		})
	}
	if err := n.startBackground(roles, run); err != nil {
		return err
	}
	finishCalls := n.startCalls(ctx, run)
	server, err := n.listen(ctx, roles)
	if err != nil {
		return err
	}
	run("http", func(context.Context) error { return server.Serve() }) //nolint:wrapcheck // wrapped by run
	if err := ready(n, server.Addr()); err != nil {
		fail(err)
	}
	<-failed.Done()

	n.log.InfoContext(ctx, "archon is draining", slog.Duration("within", n.cfg.ShutdownTimeout))
	draining, cancel := n.drain(ctx)
	defer cancel()
	stopped := errors.Join(n.closeSockets(draining), server.Shutdown(draining), finishCalls(draining), n.store.Close(draining))
	stopBackground()
	return errors.Join(stopped, parts.Wait(), failure(failed))
}

// startCalls starts what calls need besides HTTP. The function that it returns finishes what calls have left behind; the
// log must still be open then.
func (n *node) startCalls(ctx context.Context, run func(string, func(context.Context) error)) func(ctx context.Context) error {
	run("circuit breakers", n.breakers.Run)
	telemetry, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts errgroup.Group
	parts.Go(func() error { return n.samples.Run(telemetry) })
	use := n.providers()
	record := func(ctx context.Context, transition breaker.Transition) error {
		return use.RecordBreaker(ctx, transition.Tenant, breakerChanged(transition))
	}
	parts.Go(func() error {
		n.transitions.record(telemetry, record)
		return nil
	})
	return func(ctx context.Context) error {
		err := n.plane.Close(ctx)
		stop()
		err = errors.Join(err, parts.Wait())
		n.transitions.flush(ctx, record)
		n.samples.Flush(ctx)
		return err
	}
}

// closeSockets sends subscribers away; HTTP's own shutdown does not know of them.
func (n *node) closeSockets(ctx context.Context) error {
	if sockets := n.sockets.Load(); sockets != nil {
		return sockets.Close(ctx) //nolint:wrapcheck // says what it did
	}
	return nil
}

// failure is why a context ended, unless it was asked to.
func failure(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause //nolint:wrapcheck // wrapped where it failed
	}
	return nil
}

// startBackground starts what the roles need besides HTTP. Wake-ups from other nodes reach every node, since an API node's
// waiters project for themselves.
func (n *node) startBackground(roles []string, run func(string, func(context.Context) error)) error {
	run("wake-ups", func(ctx context.Context) error {
		n.bus.Subscribe(ctx, n.wake)
		return nil
	})
	if slices.Contains(roles, serveProjector) {
		run("projections", n.runner.Run)
	}
	if !slices.Contains(roles, serveWorker) {
		return nil
	}
	use := n.providers()
	router, err := n.newRouter(use)
	if err != nil {
		return err
	}
	run("jobs", router.Run)
	prober := &reactions.Prober{Pool: n.workerPool, Probe: probeOf(use), Interval: n.cfg.ProbeInterval, Log: n.log}
	run("probes", prober.Run)
	sweeper := &reactions.Sweeper{Pool: n.workerPool, Secrets: n.secrets, Registered: n.registered, Now: time.Now, Log: n.log}
	run("sweeps", sweeper.Run)
	watch := &reactions.BudgetSweeper{Pool: n.workerPool, Log: n.log, Review: func(ctx context.Context, tenant string) error {
		return n.reviewBudgets(ctx, commands.SystemCaller(tenant, "budgets"))
	}}
	run("budgets", watch.Run)
	anchoring, err := n.anchoring()
	if err != nil {
		return err
	}
	signing := &transparency.Worker{
		Signer: n.signer, Pool: n.workerPool, Unsigned: n.acrossTenants().Unsigned, Roots: n.roots(), Anchoring: anchoring, Logger: n.log,
	}
	run("checkpoints", signing.Run)
	return nil
}

// acrossTenants reads what only the worker may see of all tenants at once. Nothing is appended to it.
func (n *node) acrossTenants() *eventstore.Store {
	return eventstore.New(n.workerPool, eventstore.Config{Log: n.log})
}

// probeOf tests a provider on schedule. One that was deleted meanwhile is nobody's fault.
func probeOf(use *commands.Providers) func(ctx context.Context, tenant, id string) error {
	return func(ctx context.Context, tenant, id string) error {
		caller := commands.SystemCaller(tenant, "prober")
		caller.CorrelationID = newCorrelationID()
		_, err := use.Probe(ctx, caller, id, providers.OnSchedule)
		if errors.Is(err, providers.ErrNotFound) {
			return nil
		}
		return err //nolint:wrapcheck // says what it did
	}
}

// listen takes the HTTP address. A node without the API role answers for its health and metrics there.
func (n *node) listen(ctx context.Context, roles []string) (*httpx.Server, error) {
	var handler http.Handler
	if slices.Contains(roles, serveAPI) {
		e, err := n.newAPI(ctx)
		if err != nil {
			return nil, err
		}
		handler = e
	} else {
		handler = n.machines()
	}
	server, err := httpx.Listen(ctx, n.cfg.HTTPAddr, handler, n.log)
	if err != nil {
		return nil, fmt.Errorf("%w; set ARCHON_HTTP_ADDR to a free address", err)
	}
	return server, nil
}

// machines is what load balancers and Prometheus ask a node without the API role for.
func (n *node) machines() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /health", n.health())
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok"}`))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{Registry: n.metrics}))
	return mux
}
