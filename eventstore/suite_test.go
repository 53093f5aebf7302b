package eventstore_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/testdb"
)

// writerEnv makes the test binary a process that appends until it is killed; its value is the connection string.
const writerEnv = "ARCHON_TEST_EVENTSTORE_WRITER"

// bound is for waits that take well under a second on an idle machine.
const bound = 30 * time.Second

var (
	server *testdb.Server
	// shared is a database for all specs that need no more than a tenant of their own.
	shared *testdb.Database
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(writerEnv); dsn != "" {
		if err := writeUntilKilled(dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestEventstore(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Event store")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = testdb.Start(context.WithoutCancel(ctx))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	shared = newDatabase(ctx)
})

func newDatabase(ctx context.Context) *testdb.Database {
	GinkgoHelper()
	db, err := server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(db.Drop)
	return db
}

func poolOf(ctx context.Context, db *testdb.Database, role string, conns int32) *pgxpool.Pool {
	GinkgoHelper()
	pool, err := db.Pool(context.WithoutCancel(ctx), role, conns)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(pool.Close)
	return pool
}

// superuser connects as one who may tamper: triggers and row-level security don't bind them.
func superuser(ctx context.Context, db *testdb.Database) *pgx.Conn {
	GinkgoHelper()
	config, err := pgx.ParseConfig(db.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	config.RuntimeParams["session_replication_role"] = "replica"
	config.RuntimeParams["synchronous_commit"] = "off"
	conn, err := pgx.ConnectConfig(ctx, config)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(conn.Close)
	return conn
}

// open makes a store on a pool of its own and closes both after the spec.
func open(ctx context.Context, db *testdb.Database, config eventstore.Config) *eventstore.Store {
	GinkgoHelper()
	const conns = 4
	return openOn(poolOf(ctx, db, "archon_app", conns), config)
}

func openOn(pool *pgxpool.Pool, config eventstore.Config) *eventstore.Store {
	GinkgoHelper()
	store := eventstore.New(pool, config)
	DeferCleanup(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		Expect(store.Close(ctx)).To(Succeed())
	})
	return store
}

func newTenant() string { return "t-" + uuid.NewString()[:8] }

// single is an append of one event.
func single(tenant, stream string, expected int64) eventstore.Append {
	return eventstore.Append{
		Tenant: tenant,
		Expect: map[string]int64{stream: expected},
		Events: []eventstore.NewEvent{{Stream: stream, Type: "test.happened.v1", Data: []byte(`{"n":1}`)}},
		Meta:   []byte(`{"actor":{"id":"u1","type":"user"}}`),
	}
}

// fill appends n events, one at a time.
func fill(ctx context.Context, store *eventstore.Store, tenant string, n int) {
	GinkgoHelper()
	for i := range n {
		_, err := store.Append(ctx, single(tenant, fmt.Sprintf("thing-%s-%d", tenant, 2*i), 0))
		Expect(err).NotTo(HaveOccurred())
	}
}

// expectIntact verifies the tenant's whole chain.
func expectIntact(ctx context.Context, store *eventstore.Store, tenant string) eventstore.Report {
	GinkgoHelper()
	report, err := store.Verify(ctx, tenant, eventstore.VerifyOptions{})
	Expect(err).NotTo(HaveOccurred())
	Expect(report.OK).To(BeTrue(), report.Reason)
	Expect(report.Checked).To(Equal(report.Head.Position))
	return report
}
