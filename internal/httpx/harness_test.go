package httpx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
)

const providersPath = "/api/v1/router/providers"

// tokens is a verifier whose tokens are "role.tenant".
type tokens struct{ err error }

func (t tokens) Verify(_ context.Context, token string) (auth.Principal, error) {
	if t.err != nil {
		return auth.Principal{}, t.err
	}
	role, tenant, ok := strings.Cut(token, ".")
	if !ok {
		return auth.Principal{}, &auth.Error{Reason: "the token is not a signed JWT"}
	}
	principal := auth.Principal{Tenant: tenant, UserID: "u-1", Name: "Ada"}
	if known, ok := auth.ParseRole(role); ok {
		principal.Roles = []auth.Role{known}
	}
	return principal, nil
}

// book is a Writes that remembers what it was told.
type book struct {
	mu        sync.Mutex
	begun     []string
	done      int
	refused   []httpx.Refused
	answers   map[string]httpx.Answer
	beginErr  error
	recordErr error
	marked    any
}

type markKey struct{}

func (b *book) Begin(ctx context.Context, request *httpx.Request) (httpx.Begun, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = append(b.begun, request.IdempotencyKey)
	begun := httpx.Begun{Context: context.WithValue(ctx, markKey{}, "begun"), Done: func() { b.done++ }}
	if answer, found := b.answers[request.IdempotencyKey]; found {
		begun.Answer = &answer
	}
	return begun, b.beginErr
}

func (b *book) Record(ctx context.Context, refused httpx.Refused) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	b.marked = ctx.Value(markKey{})
	b.refused = append(b.refused, refused)
	return 77, b.recordErr
}

// waiter waits for positions up to reached.
type waiter struct {
	reached int64
	asked   []string
	err     error
}

func (w *waiter) Wait(ctx context.Context, tenant, operation string, position int64) error {
	w.asked = append(w.asked, tenant+" "+operation)
	if w.err != nil || position <= w.reached {
		return w.err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// stack is the HTTP layer on handlers of a test.
type stack struct {
	handlers *handlers
	book     *book
	waiter   *waiter
	verifier tokens
	log      *bytes.Buffer
	metrics  *prometheus.Registry
	spans    *tracetest.InMemoryExporter
	config   httpx.Config
	handler  http.Handler
}

func newStack(adjust ...func(*stack)) *stack {
	GinkgoHelper()
	s := &stack{
		handlers: &handlers{}, book: &book{answers: map[string]httpx.Answer{}}, waiter: &waiter{}, log: &bytes.Buffer{},
		metrics: prometheus.NewRegistry(), spans: tracetest.NewInMemoryExporter(),
	}
	s.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s.config.Health = httpx.NewHealth(nil)
	for _, change := range adjust {
		change(s)
	}
	s.config.Handlers, s.config.Verifier, s.config.Writes, s.config.Waiter = s.handlers, s.verifier, s.book, s.waiter
	s.config.Streams, s.config.Metrics = s.handlers.streams(), s.metrics
	s.config.Logger = slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.config.Tracer = trace.NewTracerProvider(trace.WithSyncer(s.spans))
	e, err := httpx.New(s.config)
	Expect(err).NotTo(HaveOccurred())
	s.handler = e
	return s
}

// call is one request of a test.
type call struct {
	method, path, token, body string
	header                    http.Header
	reader                    io.Reader
}

func (s *stack) do(c call) *answer {
	GinkgoHelper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	if c.reader != nil {
		body = c.reader
	}
	r := httptest.NewRequest(c.method, c.path, body)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, r)
	return &answer{ResponseRecorder: recorder}
}

func (s *stack) get(path string, header ...string) *answer {
	GinkgoHelper()
	return s.do(call{method: http.MethodGet, path: path, token: "admin.acme", header: headers(header)})
}

func (s *stack) post(body string, header ...string) *answer {
	GinkgoHelper()
	return s.do(call{method: http.MethodPost, path: providersPath, token: "admin.acme", body: body, header: headers(header)})
}

func headers(pairs []string) http.Header {
	header := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name := http.CanonicalHeaderKey(pairs[i])
		header[name] = append(header[name], pairs[i+1])
	}
	return header
}

type answer struct{ *httptest.ResponseRecorder }

type failure struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

func (a *answer) failure() failure {
	GinkgoHelper()
	var body struct {
		Error failure `json:"error"`
	}
	Expect(a.Header().Get("Content-Type")).To(Equal("application/json"))
	Expect(json.Unmarshal(a.Body.Bytes(), &body)).To(Succeed(), a.Body.String())
	Expect(body.Error.Code).To(MatchRegexp(`^[a-z][a-z0-9_]*$`))
	Expect(body.Error.Message).NotTo(BeEmpty())
	Expect(body.Error.Details).NotTo(BeNil(), "clients need not ask whether there are details")
	if len(body.Error.Details) == 0 {
		body.Error.Details = nil
	}
	return body.Error
}

// handlers answer with what a test sets, else with a 418 that says that they were reached.
type handlers struct {
	mu       sync.Mutex
	reached  []string
	request  *httpx.Request
	mark     any
	write    func(ctx context.Context) (httpx.Answer, error)
	read     func(ctx context.Context) error
	provider *api.GetProvider200JSONResponse
	register *api.RegisterProvider
	change   *api.ChangeProvider
	audit    *api.ListAuditParams
}

const statusReached = http.StatusTeapot

func (h *handlers) arrive(ctx context.Context, operation string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reached = append(h.reached, operation)
	h.request = httpx.From(ctx)
	h.mark = ctx.Value(markKey{})
	if h.read != nil {
		return h.read(ctx)
	}
	return &httpx.Error{Status: statusReached, Code: "reached", Message: "The handler was reached."}
}

func (h *handlers) written(ctx context.Context, operation string) (httpx.Answer, error) {
	err := h.arrive(ctx, operation)
	if h.write != nil {
		return h.write(ctx)
	}
	return httpx.Answer{}, err
}

func (h *handlers) ListAudit(ctx context.Context, r api.ListAuditRequestObject) (api.ListAuditResponseObject, error) {
	h.audit = &r.Params
	return nil, h.arrive(ctx, "listAudit")
}

func (h *handlers) VerifyAudit(ctx context.Context, _ api.VerifyAuditRequestObject) (api.VerifyAuditResponseObject, error) {
	return nil, h.arrive(ctx, "verifyAudit")
}

func (h *handlers) GetAuditCheckpoint(ctx context.Context, _ api.GetAuditCheckpointRequestObject) (api.GetAuditCheckpointResponseObject, error) {
	return nil, h.arrive(ctx, "getAuditCheckpoint")
}

func (h *handlers) GetAuditKey(ctx context.Context, _ api.GetAuditKeyRequestObject) (api.GetAuditKeyResponseObject, error) {
	return nil, h.arrive(ctx, "getAuditKey")
}

func (h *handlers) ProveAuditEntry(ctx context.Context, _ api.ProveAuditEntryRequestObject) (api.ProveAuditEntryResponseObject, error) {
	return nil, h.arrive(ctx, "proveAuditEntry")
}

func (h *handlers) ProveAuditConsistency(ctx context.Context, _ api.ProveAuditConsistencyRequestObject) (api.ProveAuditConsistencyResponseObject, error) {
	return nil, h.arrive(ctx, "proveAuditConsistency")
}

func (h *handlers) ExportAudit(ctx context.Context, _ api.ExportAuditRequestObject) (api.ExportAuditResponseObject, error) {
	return nil, h.arrive(ctx, "exportAudit")
}

func (h *handlers) ListJobs(ctx context.Context, _ api.ListJobsRequestObject) (api.ListJobsResponseObject, error) {
	return nil, h.arrive(ctx, "listJobs")
}

func (h *handlers) DiscardJob(ctx context.Context, _ api.DiscardJobRequestObject) (api.DiscardJobResponseObject, error) {
	return h.written(ctx, "discardJob")
}

func (h *handlers) RetryJob(ctx context.Context, _ api.RetryJobRequestObject) (api.RetryJobResponseObject, error) {
	return h.written(ctx, "retryJob")
}

func (h *handlers) GetMe(ctx context.Context, _ api.GetMeRequestObject) (api.GetMeResponseObject, error) {
	return nil, h.arrive(ctx, "getMe")
}

func (h *handlers) ListProjections(ctx context.Context, _ api.ListProjectionsRequestObject) (api.ListProjectionsResponseObject, error) {
	return nil, h.arrive(ctx, "listProjections")
}

func (h *handlers) RetryProjection(ctx context.Context, _ api.RetryProjectionRequestObject) (api.RetryProjectionResponseObject, error) {
	return h.written(ctx, "retryProjection")
}

func (h *handlers) RebuildProjection(ctx context.Context, _ api.RebuildProjectionRequestObject) (api.RebuildProjectionResponseObject, error) {
	return h.written(ctx, "rebuildProjection")
}

func (h *handlers) PauseProjection(ctx context.Context, _ api.PauseProjectionRequestObject) (api.PauseProjectionResponseObject, error) {
	return h.written(ctx, "pauseProjection")
}

func (h *handlers) ResumeProjection(ctx context.Context, _ api.ResumeProjectionRequestObject) (api.ResumeProjectionResponseObject, error) {
	return h.written(ctx, "resumeProjection")
}

func (h *handlers) ListProviders(ctx context.Context, _ api.ListProvidersRequestObject) (api.ListProvidersResponseObject, error) {
	return nil, h.arrive(ctx, "listProviders")
}

func (h *handlers) RegisterProvider(ctx context.Context, r api.RegisterProviderRequestObject) (api.RegisterProviderResponseObject, error) {
	h.register = r.Body
	return h.written(ctx, "registerProvider")
}

func (h *handlers) GetCredentialSchemas(ctx context.Context, _ api.GetCredentialSchemasRequestObject) (api.GetCredentialSchemasResponseObject, error) {
	return nil, h.arrive(ctx, "getCredentialSchemas")
}

func (h *handlers) GetProvidersHealth(ctx context.Context, _ api.GetProvidersHealthRequestObject) (api.GetProvidersHealthResponseObject, error) {
	return nil, h.arrive(ctx, "getProvidersHealth")
}

func (h *handlers) ListProviderHealth(ctx context.Context, _ api.ListProviderHealthRequestObject) (api.ListProviderHealthResponseObject, error) {
	return nil, h.arrive(ctx, "listProviderHealth")
}

func (h *handlers) RemoveProvider(ctx context.Context, _ api.RemoveProviderRequestObject) (api.RemoveProviderResponseObject, error) {
	return h.written(ctx, "removeProvider")
}

func (h *handlers) GetProvider(ctx context.Context, _ api.GetProviderRequestObject) (api.GetProviderResponseObject, error) {
	err := h.arrive(ctx, "getProvider")
	if h.provider != nil {
		return *h.provider, nil
	}
	return nil, err
}

func (h *handlers) ChangeProvider(ctx context.Context, r api.ChangeProviderRequestObject) (api.ChangeProviderResponseObject, error) {
	h.change = r.Body
	return h.written(ctx, "changeProvider")
}

func (h *handlers) ReplaceCredentials(ctx context.Context, _ api.ReplaceCredentialsRequestObject) (api.ReplaceCredentialsResponseObject, error) {
	return h.written(ctx, "replaceCredentials")
}

func (h *handlers) GetProviderHealth(ctx context.Context, _ api.GetProviderHealthRequestObject) (api.GetProviderHealthResponseObject, error) {
	return nil, h.arrive(ctx, "getProviderHealth")
}

func (h *handlers) TestConnection(ctx context.Context, _ api.TestConnectionRequestObject) (api.TestConnectionResponseObject, error) {
	return h.written(ctx, "testConnection")
}
