package commands_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/readapi"
)

// fixture is the use cases over a real database and a real secret store; only the provider and the read side are stood in
// for.
type fixture struct {
	db        *testdb.Database
	store     *eventstore.Store
	secrets   secrets.Store
	wire      *wire
	waits     *waits
	breakers  *breakers
	providers *commands.Providers
	keys      *commands.Keys
	prices    *commands.Prices
	routing   *commands.Routing

	departments *commands.Departments
	settings    *commands.CostSettings
	writes      *commands.Writes
}

const tenant = "acme"

func newFixture() *fixture {
	GinkgoHelper()
	ctx := context.Background()
	db, err := server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(db.Drop(ctx)).To(Succeed()) })
	pool, err := db.Pool(ctx, "archon_app", 8)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(pool.Close)
	kept, err := secrets.OpenEmbedded(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(kept.Close)

	f := &fixture{db: db, store: eventstore.New(pool, eventstore.Config{}), secrets: kept, wire: &wire{}, waits: &waits{}, breakers: &breakers{}}
	handler := &commands.Handler{Log: f.store, Codec: eventcodec.New(), Sealer: sealer{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	reads := commands.ReadYourWrites{Waiter: f.waits, Bound: time.Second}
	f.providers = &commands.Providers{
		Handler: handler, HealthLog: f.store, Secrets: kept, Wire: f.wire, Reads: reads, Breakers: f.breakers,
		Current: func(context.Context, string, string) (api.Provider, error) {
			return api.Provider{HealthStatus: "healthy"}, nil
		},
	}
	f.keys = &commands.Keys{Handler: handler, Reads: reads}
	f.prices = &commands.Prices{Handler: handler, Reads: reads, Show: readapi.PriceOf}
	f.routing = &commands.Routing{Handler: handler, Reads: reads}
	f.departments = &commands.Departments{Handler: handler, Reads: reads}
	f.settings = &commands.CostSettings{Handler: handler, Secrets: kept, Reads: reads, CheckURL: func(string) string { return "" }}
	f.writes = &commands.Writes{
		Repeats: &commands.Repeats{Log: f.store, Key: []byte("fingerprints")}, Refusals: &commands.Refusals{Handler: handler}, Reads: reads,
	}
	return f
}

// as is the context of a request by an administrator.
func as(change ...func(*httpx.Request)) context.Context {
	request := &httpx.Request{
		RequestID: "r-1", CorrelationID: "0190a1b2-0000-7000-8000-0000000000cc", Method: http.MethodPost, Path: "/api/v1/router/providers",
		Target: "/api/v1/router/providers", SuccessStatus: http.StatusCreated, IP: "203.0.113.7", UserAgent: "curl/8",
		Principal: auth.Principal{Tenant: tenant, UserID: "ada", Roles: []auth.Role{auth.RoleAdmin}},
	}
	for _, c := range change {
		c(request)
	}
	return httpx.With(context.Background(), request)
}

func ifMatch(versions ...int64) func(*httpx.Request) {
	return func(r *httpx.Request) { r.IfMatch = &httpx.IfMatch{Versions: versions} }
}

// begin does what the HTTP layer does with an Idempotency-Key.
func (f *fixture) begin(ctx context.Context, key, body string) (httpx.Begun, error) {
	request := httpx.From(ctx)
	request.IdempotencyKey, request.Body = key, []byte(body)
	return f.writes.Begin(ctx, request) //nolint:wrapcheck // a test
}

func (f *fixture) register(ctx context.Context, name string) (httpx.Answer, error) {
	key, openAI := "sk-of-"+name, "https://api.openai.com"
	done, err := f.providers.RegisterProvider(ctx, api.RegisterProviderRequestObject{
		Body: &api.RegisterProvider{Name: name, Type: "openai", BaseURL: &openAI, APIKey: &key},
	})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func (f *fixture) registered(name string) api.Provider {
	GinkgoHelper()
	answer, err := f.register(as(), name)
	Expect(err).NotTo(HaveOccurred())
	return providerIn(answer)
}

func providerIn(answer httpx.Answer) api.Provider {
	GinkgoHelper()
	var envelope api.ProviderEnvelope
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
	return envelope.Data
}

// log is every event of the tenant.
func (f *fixture) log() []eventstore.Recorded {
	GinkgoHelper()
	events, err := f.store.Read(context.Background(), tenant, 0, 10_000)
	Expect(err).NotTo(HaveOccurred())
	return events
}

func (f *fixture) types() []string {
	GinkgoHelper()
	var types []string
	for _, event := range f.log() {
		types = append(types, event.Type)
	}
	return types
}

// sealer stands in for the privacy envelope: what it makes must not be the clear text.
type sealer struct{}

func (sealer) SealClient(context.Context, string, string, string, string) (json.RawMessage, error) {
	return json.RawMessage(`{"v":1}`), nil
}

// wire is a provider whose mood the test sets.
type wire struct {
	mu       sync.Mutex
	failure  string
	problems map[string]string
	tested   []commands.Target
	during   func()
}

func (w *wire) Check(_ providers.Type, baseURL string, secret commands.ProviderSecret) (string, commands.ProviderSecret, map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return baseURL, secret, w.problems
}

func (w *wire) Test(_ context.Context, target commands.Target, _ string) commands.ConnectionTest {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tested = append(w.tested, target)
	if w.during != nil {
		during := w.during
		w.during = nil
		during()
	}
	if w.failure != "" {
		failure := w.failure
		return commands.ConnectionTest{Error: &failure, LatencyMs: 3}
	}
	return commands.ConnectionTest{OK: true, LatencyMs: 3, ModelsFound: 2}
}

// breakers keeps which providers' breakers were reset.
type breakers struct{ reset []string }

func (b *breakers) Reset(_ context.Context, tenant, provider string) error {
	b.reset = append(b.reset, tenant+" "+provider)
	return nil
}

// waits counts what answers have waited for.
type waits struct {
	count   atomic.Int64
	lagging atomic.Bool
}

func (w *waits) Wait(context.Context, string, int64, ...string) error {
	w.count.Add(1)
	if w.lagging.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

// newNodeOn is a second node's memory of what is under way, over the same log.
func newNodeOn(f *fixture) *fixture {
	other := *f
	other.writes = &commands.Writes{
		Repeats: &commands.Repeats{Log: f.store, Key: []byte("fingerprints")}, Refusals: f.writes.Refusals, Reads: f.writes.Reads,
	}
	return &other
}
