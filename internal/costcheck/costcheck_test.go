package costcheck_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/costcheck"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/projections"
)

var server *testdb.Server

func TestCostcheck(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "costcheck")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = testdb.Start(context.WithoutCancel(ctx))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
})

var _ = Describe("A check of costs", Label("postgres"), func() {
	const calls = 2500 // more than a page
	var owner *pgxpool.Pool
	var store *eventstore.Store
	var checker *costcheck.Checker
	var runner *projections.Runner
	var spend domain.Amount
	var kept, last int64

	record := func(ctx context.Context, tenant string, count int, random *rand.Rand) {
		GinkgoHelper()
		var events []eventstore.NewEvent
		for range count {
			call := usage.Recorded{
				CallID: uuid.NewString(), StartedAt: time.Date(2026, 1, 30+random.IntN(4), random.IntN(24), 0, 0, 0, time.UTC), Outcome: usage.Succeeded, Model: "m",
				UserID: fmt.Sprint("u", random.IntN(3)), AgentID: "scout", ExecutionID: fmt.Sprint("e", random.IntN(50)), Tokens: domain.Tokens{Input: 3, Output: 1},
				Price: []byte(`{"output":0.50,"input":1}`), ProviderID: uuid.Nil.String(),
			}
			switch random.IntN(10) {
			case 0:
				call.Outcome, call.Tokens, call.Price = usage.Failed, domain.Tokens{}, nil
			case 1:
				call.Unpriced, call.Price = true, nil
				kept++
			default:
				cost := domain.Amount(random.Int64N(int64(domain.USD)))
				call.CostUSD, spend = cost.String(), spend+cost
				kept++
				if random.IntN(5) == 0 { // and somebody else was given up before
					call.Attempts = []usage.Attempt{{ProviderID: call.CallID[:35] + "0", Model: "slow", Tokens: domain.Tokens{Input: 3}, Source: "estimated", CostUSD: (cost / 3).String()}}
				}
			}
			event, err := eventcodec.New().Encode(usage.Stream(call.CallID), call)
			Expect(err).NotTo(HaveOccurred())
			events = append(events, event)
		}
		result, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte(`{}`)})
		Expect(err).NotTo(HaveOccurred())
		last = result.Last
	}

	BeforeEach(func(ctx context.Context) {
		db, err := server.Create(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx context.Context) { Expect(db.Drop(ctx)).To(Succeed()) })
		worker, err := db.Pool(ctx, "archon_worker", 6)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(worker.Close)
		owner, err = pgxpool.New(ctx, db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(owner.Close)
		store = eventstore.New(worker, eventstore.Config{})
		DeferCleanup(store.Close)
		runner, err = projections.NewRunner(worker, eventcodec.New(), projections.Config{}, projections.Ledger{})
		Expect(err).NotTo(HaveOccurred())
		checker = &costcheck.Checker{Pool: worker, Log: store}
		random := rand.New(rand.NewPCG(9, 9))
		spend, kept = 0, 0
		record(ctx, "other", 10, random)
		Expect(runner.Wait(ctx, "other", last)).To(Succeed())
		spend, kept = 0, 0
		for range 5 {
			record(ctx, "acme", calls/5, random)
			Expect(runner.Wait(ctx, "acme", last)).To(Succeed())
		}
	})
	check := func(ctx context.Context) (report costcheck.Report, told []string) {
		GinkgoHelper()
		report, err := checker.Check(ctx, "acme", func(difference string) { told = append(told, difference) })
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Differences).To(BeEquivalentTo(len(told)))
		return report, told
	}
	exec := func(ctx context.Context, sql string) {
		GinkgoHelper()
		tag, err := owner.Exec(ctx, sql)
		Expect(err).NotTo(HaveOccurred())
		Expect(tag.RowsAffected()).To(BeNumerically(">", 0), sql)
	}

	It("finds nothing where all is well, also while calls are recorded", func(ctx context.Context) {
		report, told := check(ctx)
		Expect(told).To(BeEmpty())
		Expect(report).To(And(HaveField("Calls", kept), HaveField("Spend", spend.String()), HaveField("Position", last), HaveField("Head", last), HaveField("Unpriced", BeNumerically(">", 0))))
		record(ctx, "acme", 20, rand.New(rand.NewPCG(1, 1)))
		report, told = check(ctx)
		Expect(told).To(BeEmpty(), "the ledger has not got there yet")
		Expect(report.Head).To(Equal(report.Position + 20))
		report, err := checker.Check(ctx, "nobody", func(string) { Fail("nobody has calls") })
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Spend).To(Equal("0.0000000000"))
	})

	DescribeTable("names every difference, once, and what it is about", func(ctx context.Context, tamper string, differences int, said ...string) {
		exec(ctx, tamper)
		_, told := check(ctx)
		Expect(told).To(HaveLen(differences), strings.Join(told, "\n"))
		for _, text := range said {
			Expect(told).To(ContainElement(ContainSubstring(text)))
		}
	},
		Entry("a cost by the least there is", `update token_ledger set cost_usd = cost_usd + 0.0000000001 where tenant_id = 'acme' and recorded_position = (select max(recorded_position) from token_ledger where tenant_id = 'acme' and priced)`, 1, "cost_usd is"),
		Entry("a user", `update token_ledger set user_id = 'eve' where ctid = (select ctid from token_ledger where tenant_id = 'acme' limit 1) and tableoid = (select tableoid from token_ledger where tenant_id = 'acme' limit 1)`, 1, `user_id is "eve" in the ledger`),
		Entry("tokens and price", `update token_ledger set price = '{"input":2,"output":0.50}', cached_tokens = 1 where tenant_id = 'acme' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'acme' and price is not null)`, 2, "price is", "cached_tokens is"),
		Entry("what an attempt cost that was given up", `update token_ledger set given_up = jsonb_set(given_up, '{0,cost_usd}', '"0.0000000001"') where tenant_id = 'acme' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'acme' and given_up is not null)`, 1, "given_up is"),
		Entry("that an attempt was given up", `update token_ledger set given_up = null where tenant_id = 'acme' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'acme' and given_up is not null)`, 1, "given_up is empty"),
		Entry("a model's sum", `update cost_daily set prompt_tokens = prompt_tokens + 1, unpriced = 7, last_position = last_position - 1 where tenant_id = 'acme' and dimension = 'model' and day = '2026-01-31' and key = 'slow'`, 3,
			`model "slow": prompt_tokens is`, `model "slow": unpriced is`, `model "slow": last_position is`),
		Entry("a lost row in the middle", `delete from token_ledger where tenant_id = 'acme' and recorded_position = (select recorded_position from token_ledger where tenant_id = 'acme' order by 1 offset 1000 limit 1)`, 1, "the ledger lacks call"),
		Entry("the last row lost", `delete from token_ledger where tenant_id = 'acme' and recorded_position = (select max(recorded_position) from token_ledger where tenant_id = 'acme')`, 1, "the ledger lacks call"),
		Entry("a row twice", `insert into token_ledger select tenant_id, started_at + interval '1 second', recorded_position, id, kind, outcome, execution_id, agent_id, provider_id, provider_type, model,
			key_id, user_id, department_id, prompt_tokens, completion_tokens, total_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, priced, price, cost_usd, given_up, occurred_at, created_at
			from token_ledger where tenant_id = 'acme' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'acme')`, 1, "the log has none there"),
		Entry("a row behind the end", `update token_ledger set recorded_position = 99999 where tenant_id = 'acme' and recorded_position = (select max(recorded_position) from token_ledger where tenant_id = 'acme')`, 2, "position 99999: the ledger has call", "the ledger lacks call"),
		Entry("a sum", `update cost_daily set spend_usd = spend_usd - 0.0000000001, requests = requests + 1 where tenant_id = 'acme' and dimension = 'user' and day = '2026-01-31' and key = 'u1'`, 2,
			`2026-01-31, user "u1": spend_usd is`, `2026-01-31, user "u1": requests is`),
		Entry("a lost sum", `delete from cost_daily where tenant_id = 'acme' and dimension = 'total' and day = '2026-02-01'`, 1, `2026-02-01, total "": the sums of days lack it`),
		Entry("a sum of nothing", `insert into cost_daily values ('acme', 'agent', '2026-02-01', 'ghost', 5, 0, 0, 0, 0, 0, 1, 1, now())`, 1, `agent "ghost": the sums of days have 5.0000000000 USD`),
		Entry("an execution's beginning", `update cost_executions set first_position = first_position + 1 where tenant_id = 'acme' and execution_id = 'e7'`, 1, `execution "e7" of agent "scout": first seen`),
		Entry("a lost execution", `delete from cost_executions where tenant_id = 'acme' and execution_id = 'e7'`, 1, `execution "e7" of agent "scout": the table of executions lacks it`),
		Entry("what is another tenant's", `update token_ledger set tenant_id = 'acme', recorded_position = 88888 where tenant_id = 'other' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'other')`, 1, "position 88888"),
		Entry("a log that was cut", `update projection_checkpoints set position = position + 5 where tenant_id = 'acme'`, 1, "and the log ends at"),
	)
})
