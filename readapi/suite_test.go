package readapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
)

var server *testdb.Server

func TestReadAPI(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Read API")
}

var _ = BeforeSuite(func() {
	var err error
	server, err = testdb.Start(context.Background())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
})

// tenant is the caller's; other is somebody else's.
const tenant, other = "acme", "globex"

// fixture is a log, the projections of it, and what reads them.
type fixture struct {
	app, owner  *pgxpool.Pool
	store       *eventstore.Store
	runner      *projections.Runner
	providers   *readapi.Providers
	audit       *readapi.Audit
	keys        *readapi.Keys
	prices      *readapi.Prices
	routing     *readapi.Routing
	alerts      *readapi.Alerts
	costs       *readapi.Costs
	departments *readapi.Departments
	events      *readapi.Events
	now         time.Time
}

// history is the event store with a codec.
type history struct {
	*eventstore.Store
	*eventstore.Codec
}

func newFixture(ctx context.Context) *fixture {
	GinkgoHelper()
	db, err := server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx context.Context) { Expect(db.Drop(ctx)).To(Succeed()) })
	open := func(role string) *pgxpool.Pool {
		pool, err := db.Pool(ctx, role, 4)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		return pool
	}
	f := &fixture{app: open("archon_app"), now: time.Now().UTC()}
	f.owner, err = pgxpool.New(ctx, db.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(f.owner.Close)
	f.store = eventstore.New(f.app, eventstore.Config{})
	DeferCleanup(f.store.Close)
	f.runner, err = projections.NewRunner(open("archon_worker"), eventcodec.New(), projections.Config{}, projections.Providers{}, projections.Keys{},
		projections.Prices{}, projections.Routing{}, projections.Alerts{}, projections.Breakers{}, projections.KeySpend{}, projections.AuditIndex{}, projections.Ledger{}, projections.Departments{}, projections.Budgets{})
	Expect(err).NotTo(HaveOccurred())
	database := readapi.Database{Pool: f.app}
	f.providers = &readapi.Providers{
		Database: database, History: history{f.store, eventcodec.New()}, Now: func() time.Time { return f.now },
		Schemas: api.CredentialSchemas{"openai": {Fields: []api.CredentialField{{Name: "api_key"}}}},
	}
	f.keys = &readapi.Keys{Database: database, Now: func() time.Time { return f.now }}
	f.prices = &readapi.Prices{Database: database, Now: func() time.Time { return f.now }}
	f.routing = &readapi.Routing{Database: database, History: history{f.store, eventcodec.New()}}
	f.alerts = &readapi.Alerts{Database: database}
	f.costs = &readapi.Costs{Database: database, History: history{f.store, eventcodec.New()}, Now: func() time.Time { return f.now }}
	f.departments = &readapi.Departments{Database: database, History: history{f.store, eventcodec.New()}}
	f.costs.Budgets = &readapi.Budgets{
		Database: database, History: f.costs.History, Now: f.costs.Now, TimeZone: func(context.Context, string) (*time.Location, error) { return time.UTC, nil },
	}
	f.events = &readapi.Events{Log: history{f.store, eventcodec.New()}}
	f.audit = &readapi.Audit{Database: database, Log: f.store, Clients: clients{}}
	return f
}

// clients opens what seals the address in the clear, but for that of the erased.
type clients struct{}

var errClients = errors.New("the keys are away")

func (clients) OpenClient(_ context.Context, _ string, sealed json.RawMessage) (ip, userAgent string, ok bool, err error) {
	switch string(sealed) {
	case `"erased"`:
		return "", "", false, nil
	case `"away"`:
		return "", "", false, errClients
	}
	return "203.0.113.7", "curl/8", true, nil
}

// as is the context of a request of a tenant's.
func as(ctx context.Context, of string) context.Context {
	return httpx.With(ctx, &httpx.Request{RequestID: "r-1", Principal: auth.Principal{
		Tenant: of, UserID: "ada", Name: "Ada Lovelace", Roles: []auth.Role{auth.RoleAdmin, auth.RoleAuditor},
	}})
}

// did is what a request by ada looks like in an event's meta.
func did(method, path string, status int) domain.Meta {
	return domain.Meta{Actor: domain.Actor{ID: "ada", Type: domain.User}, Method: method, Path: path, Status: status, CorrelationID: "c-1"}
}

// append writes an event of a tenant's.
func (f *fixture) append(ctx context.Context, of, stream string, meta domain.Meta, payload eventstore.Typed) eventstore.Result {
	GinkgoHelper()
	event, err := eventcodec.New().Encode(stream, payload)
	Expect(err).NotTo(HaveOccurred())
	encoded, err := json.Marshal(meta)
	Expect(err).NotTo(HaveOccurred())
	result, err := f.store.Append(ctx, eventstore.Append{Tenant: of, Events: []eventstore.NewEvent{event}, Meta: encoded})
	Expect(err).NotTo(HaveOccurred())
	return result
}

// project brings the read tables of a tenant up to date.
func (f *fixture) project(ctx context.Context, of string) {
	GinkgoHelper()
	head, err := f.store.Head(ctx, of)
	Expect(err).NotTo(HaveOccurred())
	Expect(f.runner.Wait(ctx, of, head.Position, projections.ProvidersName, projections.KeysName, projections.PricesName, projections.RoutingName,
		projections.AlertsName, projections.BreakersName, projections.KeySpendName, projections.AuditIndexName, projections.LedgerName, projections.DepartmentsName, projections.BudgetsName)).To(Succeed())
}

// register adds a provider and returns its id.
func (f *fixture) register(ctx context.Context, of, name string) string {
	GinkgoHelper()
	id := uuid.Must(uuid.NewV7()).String()
	limit := int64(60)
	f.append(ctx, of, providers.Stream(id), did("POST", "/api/v1/router/providers", 201), providers.Registered{
		ProviderID: id, Secret: providers.Secret{VaultPath: "secret/tenants/" + of + "/providers/" + id, SecretVersion: 1},
		Config: providers.Config{
			Name: name, Type: "openai", BaseURL: "https://api.openai.com", IsEnabled: true, RateLimitRPM: &limit,
			SupportedModels: []string{"gpt-4o"}, Capabilities: []string{"vision"}, CustomHeaders: []string{"X-Team"},
		},
	})
	return id
}

// sample records calls that ended some time ago.
func (f *fixture) sample(ctx context.Context, id string, ago time.Duration, failures int64, latencies ...float64) {
	GinkgoHelper()
	sample := providers.Sampled{ProviderID: id, From: f.now.Add(-ago), To: f.now.Add(-ago + 10*time.Second), Requests: int64(len(latencies)), Errors: failures}
	for _, latency := range latencies {
		sample.Latency.Add(latency)
	}
	f.append(ctx, tenant, providers.HealthStream(id), domain.Meta{Actor: domain.Actor{ID: "gateway", Type: domain.System}}, sample)
}

// probe records a connection test made now.
func (f *fixture) probe(ctx context.Context, of, id string, ok bool, failures int) {
	GinkgoHelper()
	f.append(ctx, of, providers.HealthStream(id), domain.Meta{Actor: domain.Actor{ID: "prober", Type: domain.System}},
		providers.Probed{ProviderID: id, OK: ok, Failures: failures, LatencyMS: 12, Trigger: providers.OnSchedule, CheckedAt: f.now})
}
