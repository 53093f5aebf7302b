package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/bench"
	"github.com/archonhq/archon/internal/testdb"
)

func TestBench(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Benchmarks")
}

var database *testdb.Database

var _ = BeforeSuite(func(ctx context.Context) {
	server, err := testdb.Start(context.WithoutCancel(ctx))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	database, err = server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(database.Drop)
})

// short is a run that shows that everything works and measures nothing.
func short(out *bytes.Buffer) bench.Config {
	const rounds, callers, events = 2, 8, 500
	return bench.Config{
		OwnerDSN: database.OwnerURL(), Out: out, JSON: true, Rounds: rounds, Callers: callers, Duration: 100 * time.Millisecond,
		PoolSize: 4, Events: events,
	}
}

// lines reads JSON lines.
func lines(out *bytes.Buffer) []map[string]any {
	GinkgoHelper()
	var objects []map[string]any
	for decoder := json.NewDecoder(out); decoder.More(); {
		var object map[string]any
		Expect(decoder.Decode(&object)).To(Succeed())
		objects = append(objects, object)
	}
	return objects
}

// leftovers are the scratch databases on the server.
func leftovers(ctx context.Context) (names []string) {
	GinkgoHelper()
	conn, err := pgx.Connect(ctx, database.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select datname from pg_database where datname like 'archon\_bench\_%'`)
	Expect(err).NotTo(HaveOccurred())
	names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	Expect(err).NotTo(HaveOccurred())
	return names
}

var _ = Describe("Append", func() {
	It("writes the environment and three variants as JSON lines", func(ctx context.Context) {
		before := leftovers(ctx)
		var out, progress bytes.Buffer
		config := short(&out)
		config.Progress = &progress
		Expect(bench.Append(ctx, config)).To(Succeed())
		objects := lines(&out)
		Expect(objects).To(HaveLen(4))
		Expect(objects[0]).To(HaveKeyWithValue("bench", "environment"))
		Expect(objects[0]["postgresql"]).To(HavePrefix("PostgreSQL"))
		Expect(objects[0]["settings"]).To(HaveKeyWithValue("fsync", "on"))
		Expect(objects[0]["cores"]).To(BeNumerically(">", 0))
		for i, variant := range []string{"archon", "insert", "copy"} {
			object := objects[i+1]
			Expect(object).To(HaveKeyWithValue("bench", "append"))
			Expect(object).To(HaveKeyWithValue("variant", variant))
			Expect(object["events_per_s"]).To(BeNumerically(">", 0))
			Expect(object["p99_ms"]).To(BeNumerically(">=", object["p50_ms"]))
		}
		Expect(objects[1]).To(HaveKeyWithValue("callers", float64(8)))
		Expect(strings.Count(progress.String(), "events/s")).To(Equal(3 * 2))
		Expect(leftovers(ctx)).To(ConsistOf(before), "the scratch database is dropped")
	})

	It("writes a table for people", func(ctx context.Context) {
		var out bytes.Buffer
		config := short(&out)
		config.JSON = false
		Expect(bench.Append(ctx, config)).To(Succeed())
		Expect(out.String()).To(MatchRegexp(`(?m)^ +append +archon +8 .* - *$`))
		Expect(out.String()).To(MatchRegexp(`(?m)^ +append +insert +8 .* ×`))
	})

	It("drops its database when it is interrupted, and says why it ended", func(ctx context.Context) {
		before := leftovers(ctx)
		ctx, cancel := context.WithCancel(ctx)
		var out bytes.Buffer
		config := short(&out)
		config.Duration = time.Hour
		done := make(chan error)
		go func() { done <- bench.Append(ctx, config) }()
		Eventually(func() int { return len(leftovers(context.WithoutCancel(ctx))) }, "30s").Should(BeNumerically(">", len(before)))
		cancel()
		Eventually(done, "30s").Should(Receive(MatchError(context.Canceled)))
		Expect(leftovers(context.WithoutCancel(ctx))).To(ConsistOf(before))
		Expect(out.Len()).To(BeZero())
	})
})

var _ = Describe("Verify", func() {
	It("writes the environment and two variants as JSON lines", func(ctx context.Context) {
		var out bytes.Buffer
		Expect(bench.Verify(ctx, short(&out))).To(Succeed())
		objects := lines(&out)
		Expect(objects).To(HaveLen(3))
		Expect(objects[0]).To(HaveKeyWithValue("events", float64(500)))
		for i, variant := range []string{"archon", "copy"} {
			Expect(objects[i+1]).To(HaveKeyWithValue("bench", "verify"))
			Expect(objects[i+1]).To(HaveKeyWithValue("variant", variant))
			Expect(objects[i+1]["events_per_s"]).To(BeNumerically(">", 0))
			Expect(objects[i+1]).NotTo(HaveKey("p50_ms"))
		}
	})
})

var _ = Describe("Export", func() {
	It("writes the environment and two variants as JSON lines", func(ctx context.Context) {
		var out bytes.Buffer
		Expect(bench.Export(ctx, short(&out))).To(Succeed())
		objects := lines(&out)
		Expect(objects).To(HaveLen(3))
		Expect(objects[0]).To(HaveKeyWithValue("events", float64(500)))
		for i, variant := range []string{"archon", "sha256sum"} {
			Expect(objects[i+1]).To(And(HaveKeyWithValue("bench", "export"), HaveKeyWithValue("variant", variant)))
			Expect(objects[i+1]["events_per_s"]).To(BeNumerically(">", 0))
		}
	})
})

var _ = Describe("Scratch", func() {
	It("is filled with an intact chain", func(ctx context.Context) {
		const events = 100
		scratch, err := bench.OpenScratch(ctx, database.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(scratch.Close)
		Expect(scratch.Fill(ctx, "t", events, func(i int) (string, string, int64, []byte) {
			return "a-1", "t.v1", int64(i) + 1, []byte("{}")
		})).To(Succeed())
		pool, err := scratch.Pool(ctx, bench.RoleWorker, 1)
		Expect(err).NotTo(HaveOccurred())
		store := eventstore.New(pool, eventstore.Config{})
		Expect(store.Tenants(ctx)).To(Equal([]string{"t"}))
		report, err := store.Verify(ctx, "t", eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.OK).To(BeTrue(), report.Reason)
		Expect(report.Checked).To(BeEquivalentTo(events))
	})

	DescribeTable("says what it can't do", func(ctx context.Context, dsn, says string) {
		_, err := bench.OpenScratch(ctx, dsn)
		Expect(err).To(MatchError(ContainSubstring(says)))
	},
		Entry("no server", "postgres://127.0.0.1:1/x?connect_timeout=1", "connect as the owner"),
		Entry("no connection string", "host=127.0.0.1 port=nonsense", "connect as the owner"),
	)

	It("needs a role that may create databases", func(ctx context.Context) {
		_, err := bench.OpenScratch(ctx, database.URL("archon_app"))
		Expect(err).To(MatchError(ContainSubstring("CREATEDB")))
	})
})
