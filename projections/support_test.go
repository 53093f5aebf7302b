package projections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/projections"
)

// soon bounds what a healthy runner does within, on a busy machine.
const soon = 30 * time.Second

// counted adds N to an account; bad makes PostgreSQL refuse it.
type counted struct {
	Account string `json:"account"`
	N       int64  `json:"n"`
	Bad     string `json:"bad,omitempty"`
}

func (counted) EventType() string { return "test.counted.v1" }

// passed is an event that the accounts projection does not handle.
type passed struct {
	Text string `json:"text"`
}

func (passed) EventType() string { return "test.passed.v1" }

// novel is an event that only newer nodes know.
type novel struct{}

func (novel) EventType() string { return "test.novel.v1" }

func oldCodec() *eventstore.Codec {
	codec, err := eventstore.NewCodec(eventstore.Define[counted](), eventstore.Define[passed]())
	Expect(err).NotTo(HaveOccurred())
	return codec
}

func newCodec() *eventstore.Codec {
	codec, err := eventstore.NewCodec(eventstore.Define[counted](), eventstore.Define[passed](), eventstore.Define[novel]())
	Expect(err).NotTo(HaveOccurred())
	return codec
}

// accounts is a folding projector: a row an account, and a ledger row an event, whose missing primary key makes an event
// that is projected twice show.
type accounts struct {
	name    string
	version int
	// healed makes it project what else is poison.
	healed *atomic.Bool
	// before, where set, is called by Project.
	before func(events []projections.Event)
}

func (a accounts) Name() string      { return a.name }
func (a accounts) Version() int      { return max(1, a.version) }
func (a accounts) Handles() []string { return []string{counted{}.EventType()} }

var errBad = errors.New("this event is bad")

func (a accounts) Project(events []projections.Event, out *projections.Statements) error {
	if a.before != nil {
		a.before(events)
	}
	type sum struct{ total, count int64 }
	sums := map[string]*sum{}
	var positions, ns []int64
	for i := range events {
		payload := events[i].Payload.(counted)
		if payload.Bad != "" && (a.healed == nil || !a.healed.Load()) {
			switch payload.Bad {
			case "error":
				return errBad
			case "panic":
				panic("at the disco")
			case "argument":
				out.Exec("select $1::uuid", "not a uuid")
			case "missing table":
				out.Exec("insert into there_is_no_such_table values (1)")
			default:
				out.Exec("select 1 / $1::integer", 0)
			}
		}
		positions, ns = append(positions, events[i].Position), append(ns, payload.N)
		if sums[payload.Account] == nil {
			sums[payload.Account] = &sum{}
		}
		sums[payload.Account].total += payload.N
		sums[payload.Account].count++
	}
	tenant := events[0].Tenant
	out.Exec(`insert into test_ledger select $1, $2, u.* from unnest($3::bigint[], $4::bigint[]) as u`, tenant, a.name, positions, ns)
	for account, s := range sums {
		out.Exec(`insert into test_accounts as a values ($1, $2, $3, $4, $5)
			on conflict (tenant_id, projection, account) do update set total = a.total + excluded.total, count = a.count + excluded.count`,
			tenant, a.name, account, s.total, s.count)
	}
	return nil
}

// bench is a database with a log and the tables of accounts.
type bench struct {
	db     *testdb.Database
	app    *pgxpool.Pool
	worker *pgxpool.Pool
	owner  *pgxpool.Pool
	store  *eventstore.Store
}

func newBench(ctx context.Context) *bench {
	db, err := server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	b := &bench{db: db}
	b.app = b.pool(ctx, "archon_app")
	b.worker = b.pool(ctx, "archon_worker")
	b.owner, err = pgxpool.New(ctx, db.OwnerURL())
	Expect(err).NotTo(HaveOccurred())
	b.exec(ctx, `
		create table test_ledger (tenant_id text, projection text, position bigint, n bigint);
		create table test_accounts (tenant_id text, projection text, account text, total bigint, count bigint, primary key (tenant_id, projection, account));
		alter table test_ledger enable row level security;
		alter table test_accounts enable row level security;
		create policy tenant_isolation on test_ledger using (tenant_id = current_setting('app.tenant_id', true));
		create policy tenant_isolation on test_accounts using (tenant_id = current_setting('app.tenant_id', true));
		grant all on test_ledger, test_accounts to archon_worker;`)
	b.store = eventstore.New(b.app, eventstore.Config{})
	DeferCleanup(func(ctx context.Context) {
		Expect(b.store.Close(ctx)).To(Succeed())
		b.app.Close()
		b.worker.Close()
		b.owner.Close()
		Expect(db.Drop(ctx)).To(Succeed())
	})
	return b
}

func (b *bench) pool(ctx context.Context, role string) *pgxpool.Pool {
	pool, err := b.db.Pool(ctx, role, 8)
	Expect(err).NotTo(HaveOccurred())
	return pool
}

// exec runs SQL as the superuser, who is above row-level security.
func (b *bench) exec(ctx context.Context, sql string, args ...any) {
	GinkgoHelper()
	_, err := b.owner.Exec(ctx, sql, args...)
	Expect(err).NotTo(HaveOccurred())
}

// append writes events to one stream and returns the last position.
func (b *bench) append(ctx context.Context, tenant string, payloads ...eventstore.Typed) int64 {
	GinkgoHelper()
	events := make([]eventstore.NewEvent, len(payloads))
	for i, payload := range payloads {
		data, err := json.Marshal(payload)
		Expect(err).NotTo(HaveOccurred())
		events[i] = eventstore.NewEvent{Stream: "account-" + uuid.NewString(), Type: payload.EventType(), Data: data}
	}
	result, err := b.store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte(`{"actor":{"id":"t","type":"user"}}`)})
	Expect(err).NotTo(HaveOccurred())
	return result.Last
}

// ones is n events that add 1 to account a.
func ones(n int) []eventstore.Typed {
	payloads := make([]eventstore.Typed, n)
	for i := range payloads {
		payloads[i] = counted{Account: "a", N: 1}
	}
	return payloads
}

// ledger lists the positions that were projected, in the order of the table.
func (b *bench) ledger(ctx context.Context, tenant, projection string) []int64 {
	GinkgoHelper()
	rows, err := b.owner.Query(ctx, `select position from test_ledger where tenant_id = $1 and projection = $2 order by position`, tenant, projection)
	Expect(err).NotTo(HaveOccurred())
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	Expect(err).NotTo(HaveOccurred())
	return positions
}

func (b *bench) total(ctx context.Context, tenant, projection string) int64 {
	GinkgoHelper()
	var total int64
	Expect(b.owner.QueryRow(ctx, `select coalesce(sum(total), 0)::bigint from test_accounts where tenant_id = $1 and projection = $2`,
		tenant, projection).Scan(&total)).To(Succeed())
	return total
}

// row is a checkpoint as it stands in the table.
type row struct {
	Position  int64
	Status    string
	Error     string
	ErrorAt   int64
	ErrorType string
}

func (b *bench) checkpoint(ctx context.Context, tenant, projection string) row {
	GinkgoHelper()
	rows, err := b.owner.Query(ctx, `select position, status, coalesce(error, ''), coalesce(error_position, 0), coalesce(error_type, '')
		from projection_checkpoints where tenant_id = $1 and projection = $2`, tenant, projection)
	Expect(err).NotTo(HaveOccurred())
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	Expect(err).NotTo(HaveOccurred())
	if len(found) == 0 {
		return row{}
	}
	return found[0]
}

func (b *bench) runner(codec *eventstore.Codec, config projections.Config, projectors ...projections.Projector) *projections.Runner {
	GinkgoHelper()
	return b.runnerOn(b.worker, codec, config, projectors...)
}

func (b *bench) runnerOn(pool *pgxpool.Pool, codec *eventstore.Codec, config projections.Config, projectors ...projections.Projector) *projections.Runner {
	GinkgoHelper()
	if config.PollInterval == 0 {
		config.PollInterval = 50 * time.Millisecond
	}
	if config.Log == nil {
		config.Log = slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	}
	runner, err := projections.NewRunner(pool, codec, config, projectors...)
	Expect(err).NotTo(HaveOccurred())
	return runner
}

// start runs a runner until the spec ends or stop is called.
func start(runner *projections.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		Eventually(done, soon).Should(Receive(BeNil()))
	})
	DeferCleanup(stop)
	return stop
}

// upTo is 1, 2 … n.
func upTo(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i) + 1
	}
	return all
}

// killConnections cuts the connections of the runners, which say who they are by their role.
func (b *bench) killConnections(ctx context.Context) {
	GinkgoHelper()
	b.exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename = 'archon_worker'`, b.db.Name)
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%d", i) }

func poolOf(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	return pgxpool.NewWithConfig(ctx, config) //nolint:wrapcheck // a test
}

// inBatches runs over a log, batch by batch, what statementsOf says of each, as a runner does, for a tenant.
func (b *bench) inBatches(ctx context.Context, tenant string, log []projections.Event, next func() int, statementsOf func(batch []projections.Event) *projections.Statements) {
	GinkgoHelper()
	for start := 0; start < len(log); {
		end := min(start+next(), len(log))
		batch := append([]projections.Event{}, log[start:end]...)
		for i := range batch {
			batch[i].Tenant = tenant
		}
		out := statementsOf(batch)
		Expect(pgx.BeginFunc(ctx, b.worker, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant); err != nil {
				return err //nolint:wrapcheck // a test
			}
			Expect(projections.Teach(ctx, tx.Conn(), projections.Ledger{})).To(Succeed())
			for sql, args := range out.All() {
				if _, err := tx.Exec(ctx, sql, args...); err != nil {
					return err //nolint:wrapcheck // a test
				}
			}
			return nil
		})).To(Succeed())
		start = end
	}
}

// projectedBy is inBatches with a projector, in batches of a size.
func (b *bench) projectedBy(ctx context.Context, projector projections.Projector, tenant string, log []projections.Event, size int) {
	GinkgoHelper()
	b.inBatches(ctx, tenant, log, func() int { return size }, func(batch []projections.Event) *projections.Statements {
		out := &projections.Statements{}
		Expect(projector.Project(batch, out)).To(Succeed())
		return out
	})
}
