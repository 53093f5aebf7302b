package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of connections. There is no bound on a whole answer: exports and sockets are long.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// maxRequestHeaderBytes leaves room for a token of 16 KiB.
	maxRequestHeaderBytes = 64 << 10
)

// errDraining is the cause with which requests end that outlast the bound of a shutdown.
var errDraining = errors.New("the server is shutting down")

// Server is a listening HTTP server that can be drained.
type Server struct {
	listener net.Listener
	http     *http.Server
	abort    context.CancelCauseFunc
}

// Listen takes the address, host:port, so that a taken one is known before anything else is started; port 0 takes any free
// one. Connections wait until Serve.
func Listen(ctx context.Context, addr string, handler http.Handler, logger *slog.Logger) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	// Requests outlive ctx, which ends when the drain begins.
	base, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	return &Server{
		listener: listener,
		abort:    abort,
		http: &http.Server{
			Handler:           handler,
			BaseContext:       func(net.Listener) context.Context { return base },
			ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxRequestHeaderBytes,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr is the address that was taken.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until Shutdown, and then returns nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// abortGrace is how long requests have, at the end of a shutdown's bound, to notice that their context has ended.
const abortGrace = time.Second

// Shutdown stops accepting and waits, within ctx, until every request has been answered. Those that are not by then have
// their context ended and, a second later, their connection closed; the error says that there were some.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.abort(errDraining)
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	s.abort(errDraining)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortGrace)
	defer cancel()
	if s.http.Shutdown(last) != nil {
		_ = s.http.Close()
	}
	return fmt.Errorf("drain HTTP requests: %w", err)
}
