// Package gatewaytest is a model provider for tests: an HTTP server that speaks
// the list-models endpoint of each of the nine provider types as it is
// documented, errors included, and misbehaves on request.
//
// Its one invariant: while it behaves ([Models], its first behaviour) it answers
// only what the real provider would answer: the documented path, the documented
// credential header, the documented errors. Code that passes against it sends
// what the provider expects.
package gatewaytest

import (
	"bytes"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/archonhq/archon/gateway"
)

// maxRecordedBody bounds what is kept of a request's body.
const maxRecordedBody = 1 << 20

// Options describes the provider; the zero value accepts any key.
type Options struct {
	// APIKey is the key that is accepted. "" accepts any and none.
	APIKey string
	// Models are the names listed at first. Default two names fit for the type;
	// an empty slice that is not nil lists none.
	Models []string
	// Header and Prefix are how a custom provider wants its key.
	// Default Authorization and Bearer.
	Header, Prefix string
	// NoPrefix says that a custom provider wants its key alone.
	NoPrefix bool
	// ModelsPath is where a custom provider lists its models. Default /v1/models.
	ModelsPath string
	// TLS makes the server speak HTTPS with a certificate of its own; see
	// [Server.RootCAs].
	TLS bool
}

// Request is one request that the server got.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Server is a running provider. It is safe for concurrent use.
type Server struct {
	// URL is its base URL without a version segment or trailing slash.
	URL string

	kind    gateway.ProviderType
	options Options
	http    *httptest.Server
	done    chan struct{}
	close   sync.Once

	sent      atomic.Int64
	mu        sync.Mutex
	behaviour Behaviour
	requests  []Request
}

// New starts a provider of type t on a free port of 127.0.0.1. Close it.
func New(t gateway.ProviderType, options Options) *Server {
	if options.Models == nil {
		options.Models = exampleModels(t)
	}

	server := &Server{kind: t, options: options, done: make(chan struct{}), behaviour: Models(options.Models...)}
	server.http = httptest.NewUnstartedServer(http.HandlerFunc(server.serve))
	server.http.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes and aborted answers are intended

	if options.TLS {
		server.http.EnableHTTP2 = true
		server.http.StartTLS()
	} else {
		server.http.Start()
	}

	server.URL = server.http.URL

	return server
}

// Close ends answers that hang and stops the server. Closing twice is fine.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.done)
		s.http.CloseClientConnections()
		s.http.Close()
	})
}

// RootCAs trusts the server's certificate; nil without TLS.
func (s *Server) RootCAs() *x509.CertPool {
	certificate := s.http.Certificate()
	if certificate == nil {
		return nil
	}

	pool := x509.NewCertPool()
	pool.AddCert(certificate)

	return pool
}

// Behave changes how the server answers from now on.
func (s *Server) Behave(behaviour Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.behaviour = behaviour
}

// Requests returns the requests so far, the oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.requests)
}

// BytesSent is how much of [Big] answers the connection took so far.
func (s *Server) BytesSent() int64 { return s.sent.Load() }

// Reset forgets the requests so far.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.requests = nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRecordedBody))
	if err != nil {
		return // the client went away
	}

	r.Body = io.NopCloser(bytes.NewReader(body))

	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: body,
	})
	behaviour := s.behaviour
	s.mu.Unlock()

	behaviour.answer(s, w, r)
}
