package plane_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/limits"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/cache"
	"github.com/archonhq/archon/internal/netguard"
)

// bound is how long anything may take on a busy machine before a test gives up on it.
const bound = 30 * time.Second

// prompt and secret must be found nowhere but at the provider.
const (
	prompt = "the-prompt-7d1f"
	secret = "sk-secret-5b20c4a1"
)

func TestPlane(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "The data plane")
}

var redis *cache.Cache

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	redis, err = cache.Open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(redis.Close)
})

// world is a plane with everything around it: what the tenant has configured, the log, and the providers.
type world struct {
	*plane.Plane

	tenant string
	config plane.Config

	mu            sync.Mutex
	configuration plane.Configuration
	changes       int64
	looks, loads  int
	looking       func() // runs in each look
	sourceErr     error
	health        map[string]providers.Status
	recorded      []usage.Recorded
	recordErr     error
	refused       []usage.Recorded
	samples       []providers.Sampled
	unpriced      []string
	logged        *locked
}

// client is one that may call this machine.
func client() *http.Client {
	return netguard.NewClient(netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, netguard.Options{})
}

func newWorld(change ...func(*plane.Config)) *world {
	GinkgoHelper()
	w := &world{
		tenant: "t-" + uuid.NewString()[:8], health: map[string]providers.Status{}, logged: &locked{}, changes: 1, looking: func() {},
		configuration: plane.Configuration{Fallback: routing.DefaultFallback(), Keys: map[string]keys.Key{}, Prices: prices.NewBook(nil)},
	}
	metrics, err := plane.NewMetrics(prometheus.NewRegistry())
	Expect(err).NotTo(HaveOccurred())
	log := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.config = plane.Config{
		Directory: plane.NewDirectory(w, log, time.Now), Targets: w,
		Dialect:  dialect.NewClient(client(), "archon-test", dialect.Timeouts{FirstByte: 2 * time.Second, Idle: 2 * time.Second}),
		Breakers: breaker.New(redis.Client(), breaker.Config{Log: log}), Limiter: limits.New(redis.Client(), limits.Config{Log: log}),
		Budgets:  budget.New(redis.Client(), log),
		Spend:    func(context.Context, string, string) (budget.Amount, int64, error) { return 0, 0, nil },
		Recorder: w, Samples: &plane.Samples{Now: time.Now, Log: log, Record: w.sample}, Metrics: metrics, Log: log,
		Unpriced: func(_ context.Context, _, providerType, model string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.unpriced = append(w.unpriced, providerType+"/"+model)
		},
	}
	for _, c := range change {
		c(&w.config)
	}
	w.Plane = plane.New(w.config)
	DeferCleanup(func(ctx context.Context) { Expect(w.Plane.Close(ctx)).To(Succeed()) })
	return w
}

// locked is a text that goroutines write to.
type locked struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p) //nolint:wrapcheck // a builder
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Changed implements plane.Source.
func (w *world) Changed(_ context.Context, tenant string, after int64) (bool, int64, error) {
	w.looking()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if tenant != w.tenant {
		return false, 0, w.sourceErr
	}
	return w.changes > after, w.changes, w.sourceErr
}

// Load implements plane.Source.
func (w *world) Load(context.Context, string, int64, time.Duration) (*plane.Configuration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loads++
	copied := w.configuration
	return &copied, w.sourceErr
}

// Health implements plane.Source.
func (w *world) Health(context.Context, string) (map[string]providers.Status, error) {
	return w.health, nil
}

// Target implements plane.Targets.
func (w *world) Target(_ context.Context, _ string, provider *plane.Provider) (gateway.Target, error) {
	if provider.Secret.SecretVersion == 0 {
		return gateway.Target{}, errors.New("the secret store is away")
	}
	return gateway.Target{
		Type: gateway.ProviderType(provider.Config.Type), BaseURL: provider.Config.BaseURL, Credentials: map[string]string{"api_key": secret},
	}, nil
}

// Record implements plane.Recorder.
func (w *world) Record(_ context.Context, _ plane.Caller, recorded usage.Recorded) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recordErr != nil {
		return 0, w.recordErr
	}
	w.recorded = append(w.recorded, recorded)
	return int64(len(w.recorded)), nil
}

// Refuse implements plane.Recorder.
func (w *world) Refuse(_ context.Context, _ plane.Caller, recorded usage.Recorded) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, recorded)
	return nil
}

func (w *world) sample(_ context.Context, _ string, sample providers.Sampled) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, sample)
	return nil
}

// calls are the records so far.
func (w *world) calls() []usage.Recorded {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]usage.Recorded{}, w.recorded...)
}

// one is the only record.
func (w *world) one() usage.Recorded {
	GinkgoHelper()
	calls := w.calls()
	Expect(calls).To(HaveLen(1))
	return calls[0]
}

// change changes what the tenant has configured, as on another node.
func (w *world) change(change func(*plane.Configuration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes++
	change(&w.configuration)
}

// upstream adds a provider of a type that serves gpt-4o-mini, with the name by which plans without rules are ordered.
func (w *world) upstream(name string, of gateway.ProviderType, behaviour gatewaytest.Behaviour, more ...func(*plane.Provider)) *gatewaytest.Server {
	GinkgoHelper()
	server := gatewaytest.New(of, gatewaytest.Options{APIKey: secret})
	server.Behave(behaviour)
	DeferCleanup(server.Close)
	provider := plane.Provider{
		ID: uuid.Must(uuid.NewV7()).String(), Version: 1, Secret: providers.Secret{SecretVersion: 1},
		Config: providers.Config{
			Name: name, Type: providers.Type(of), BaseURL: server.URL, IsEnabled: true, SupportedModels: []string{"gpt-4o-mini"},
			Capabilities: []string{"streaming", "function_calling", "vision", "json_mode", "embeddings"},
		},
	}
	for _, m := range more {
		m(&provider)
	}
	w.change(func(c *plane.Configuration) {
		c.Providers = append(append([]plane.Provider{}, c.Providers...), provider)
		c.Fallback.Chain = append(c.Fallback.Chain, routing.Entry{ProviderID: provider.ID, Name: name, Priority: int64(len(c.Providers))})
	})
	return server
}

// caller is a user of the tenant.
func (w *world) caller() plane.Caller {
	return plane.Caller{Tenant: w.tenant, Actor: domain.Actor{ID: "ada", Type: domain.User}, UserID: "ada", Method: "POST", Path: "/v1/chat/completions"}
}

// chat is a request; extra are more fields of it.
func chat(extra string) *dialect.Chat {
	GinkgoHelper()
	parsed, err := dialect.ParseChat([]byte(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + prompt + `"}]` + extra + `}`))
	Expect(err).NotTo(HaveOccurred())
	return parsed
}

func (w *world) call(extra string) plane.ChatCall {
	GinkgoHelper()
	return plane.ChatCall{Caller: w.caller(), Chat: chat(extra)}
}

// reply is what providers answer unless a spec wants otherwise.
func reply(text string) gatewaytest.Reply {
	return gatewaytest.Reply{Text: text, Chunks: 2, Usage: domain.Tokens{Input: 100, Output: 20}}
}

// drain reads a stream to its end: the text of its chunks, and how it ended.
func drain(ctx context.Context, stream *plane.ChatStream) (chunks []string, err error) {
	for {
		chunk, err := stream.Next(ctx)
		if err != nil {
			return chunks, err //nolint:wrapcheck // under test
		}
		chunks = append(chunks, string(chunk))
	}
}
