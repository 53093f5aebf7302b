package transparency_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/internal/transparency"
)

func TestTransparency(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Transparency")
}

const (
	deployment = "test"
)

var (
	server *testdb.Server
	shared *testdb.Database
)

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = testdb.Start(context.WithoutCancel(ctx))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	shared, err = server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(shared.Drop)
})

// place is a log with its signer.
type place struct {
	db      *testdb.Database
	pool    *pgxpool.Pool
	store   *eventstore.Store
	secrets *faulty
	metrics *prometheus.Registry
	signer  *transparency.Signer
	tenant  string
	logged  *recorded
}

func newPlace(ctx context.Context) *place {
	GinkgoHelper()
	const conns = 8
	p := &place{db: shared, tenant: "t-" + uuid.NewString()[:8], metrics: prometheus.NewRegistry(), logged: &recorded{}}
	var err error
	p.pool, err = shared.Pool(context.WithoutCancel(ctx), "archon_app", conns)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(p.pool.Close)
	p.store = eventstore.New(p.pool, eventstore.Config{})
	DeferCleanup(p.store.Close)
	embedded, err := secrets.OpenEmbedded(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(embedded.Close)
	p.secrets = &faulty{Store: embedded}
	p.signer = p.another()
	p.signer.Metrics = transparency.NewMetrics(p.metrics)
	return p
}

// another is a signer of another node.
func (p *place) another() *transparency.Signer {
	return &transparency.Signer{Log: p.store, Secrets: p.secrets, Deployment: deployment, Logger: slog.New(p.logged)}
}

// append adds n events and returns the last position.
func (p *place) append(ctx context.Context, n int) int64 {
	GinkgoHelper()
	request := eventstore.Append{Tenant: p.tenant, Meta: []byte("{}")}
	for i := range n {
		request.Events = append(request.Events, eventstore.NewEvent{Stream: fmt.Sprintf("thing-%d", i%3), Type: "test.happened.v1", Data: []byte("{}")})
	}
	result, err := p.store.Append(ctx, request)
	Expect(err).NotTo(HaveOccurred())
	return result.Last
}

// do is what somebody with all rights does to the database.
func (p *place) do(ctx context.Context, sql string, args ...any) {
	GinkgoHelper()
	config, err := pgx.ParseConfig(p.db.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	config.RuntimeParams["session_replication_role"] = "replica"
	conn, err := pgx.ConnectConfig(ctx, config)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql, args...)
	Expect(err).NotTo(HaveOccurred(), sql)
}

// counted is the value of a counter.
func (p *place) counted(name string) float64 {
	GinkgoHelper()
	families, err := p.metrics.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

// faulty is a secret store that can be made to fail.
type faulty struct {
	secrets.Store

	puts atomic.Int64
	// failure, where set, is what every call fails with.
	failure atomic.Pointer[error]
	// beforePut, where set, runs once before the next check-and-set of an existing path.
	beforePut atomic.Pointer[func()]
}

func (f *faulty) fail() error {
	if failure := f.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

func (f *faulty) Get(ctx context.Context, path string, version int) (map[string]string, int, error) {
	if err := f.fail(); err != nil {
		return nil, 0, err
	}
	return f.Store.Get(ctx, path, version)
}

func (f *faulty) PutIfVersion(ctx context.Context, path string, expected int, value map[string]string) (int, error) {
	f.puts.Add(1)
	if err := f.fail(); err != nil {
		return 0, err
	}
	if expected > 0 {
		if before := f.beforePut.Swap(nil); before != nil {
			(*before)()
		}
	}
	return f.Store.PutIfVersion(ctx, path, expected, value)
}

// recorded counts error lines.
type recorded struct{ errors atomic.Int64 }

func (r *recorded) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorded) Handle(_ context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError {
		r.errors.Add(1)
	}
	return nil
}

func (r *recorded) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorded) WithGroup(string) slog.Handler      { return r }
