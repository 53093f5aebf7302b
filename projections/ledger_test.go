package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

// some is one of the choices.
func some[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

// randomCall is a call of one of few providers, models and so on, around the end of a month.
func randomCall(random *rand.Rand) usage.Recorded {
	id := func(n int) string { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)).String() }
	recorded := usage.Recorded{
		CallID: uuid.NewString(), Kind: some(random, usage.Chat, usage.Embeddings),
		StartedAt:  time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(72 * time.Hour)))).Truncate(time.Microsecond),
		ProviderID: some(random, id(1), id(2)), ProviderType: "openai", Model: some(random, "gpt-4o", "o3"), KeyID: some(random, "", id(3), id(4)),
		UserID: some(random, "", "ada", "bob"), DepartmentID: some(random, "", "research"), AgentID: some(random, "", "scout", "writer"),
		ExecutionID: some(random, "", "e-1", "e-2", "e-3"), Outcome: some(random, usage.Succeeded, usage.Failed, usage.Cancelled),
		Price: json.RawMessage(`{"model":"gpt-4o"}`),
	}
	if random.IntN(4) > 0 {
		recorded.Tokens = domain.Tokens{
			Input: random.Int64N(1000), CacheRead: random.Int64N(50), CacheWrite: random.Int64N(50), Output: random.Int64N(500), Reasoning: random.Int64N(99),
		}
	}
	switch {
	case recorded.Tokens.Total() == 0:
		recorded.Price = nil
	case random.IntN(5) == 0:
		recorded.Price, recorded.Unpriced = nil, true
	default:
		recorded.CostUSD = domain.Amount(random.Int64N(int64(3 * domain.USD))).String()
	}
	return recorded
}

var _ = Describe("the ledger projection", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	logOf := func(calls ...usage.Recorded) (log []projections.Event) {
		for i := range calls {
			log = append(log, recordedAt(int64(i+1), 1, usage.Stream(calls[i].CallID), calls[i]))
		}
		return log
	}
	text := func(ctx context.Context, sql string, args ...any) []string {
		GinkgoHelper()
		rows, err := b.owner.Query(ctx, sql, args...)
		Expect(err).NotTo(HaveOccurred())
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		return lines
	}

	It("has a row for each call that consumed something or succeeded, and days that add up to it, wherever batches end", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(4, 4))
		calls := make([]usage.Recorded, 300)
		kept, sum, unpriced := 0, domain.Amount(0), 0
		for i := range calls {
			calls[i] = randomCall(random)
			if calls[i].Tokens.Total() == 0 && calls[i].Outcome != usage.Succeeded {
				continue
			}
			kept++
			if calls[i].Unpriced {
				unpriced++
			} else if calls[i].CostUSD != "" {
				cost, err := domain.ParseAmount(calls[i].CostUSD, 10)
				Expect(err).NotTo(HaveOccurred())
				sum += cost
			}
		}
		log := logOf(calls...)
		whole := map[string][]string{}
		for _, size := range []int{len(log), 1, 7, 64} {
			for _, table := range []string{"token_ledger", "cost_daily", "cost_executions"} {
				b.exec(ctx, `truncate token_ledger, cost_daily, cost_executions`)
				rows := b.rowsOf(ctx, projections.Ledger{}, table, log, size)
				if size == len(log) {
					whole[table] = rows
				}
				Expect(rows).To(Equal(whole[table]), "%s, %d a batch", table, size)
			}
		}
		Expect(whole["token_ledger"]).To(HaveLen(kept))
		tenant := text(ctx, `select min(tenant_id) from token_ledger`)[0]
		Expect(text(ctx, `select count(*) || ' ' || sum(cost_usd)::text || ' ' || count(*) filter (where not priced) from token_ledger where tenant_id = $1`, tenant)).
			To(ConsistOf(fmt.Sprint(kept, " ", sum.String(), " ", unpriced)))

		By("holding each dimension of the days against the rows")
		for dimension, column := range map[string]string{
			"total": `''`, "provider": `provider_id::text`, "model": `model`, "department": `department_id`, "agent": `agent_id`, "user": `user_id`, "key": `key_id::text`,
		} {
			Expect(text(ctx, `select day || '|' || key || '|' || spend_usd || '|' || prompt_tokens || '|' || completion_tokens || '|' || requests || '|' || unpriced
				from cost_daily where tenant_id = $1 and dimension = $2`, tenant, dimension)).To(ConsistOf(text(ctx, `select day || '|' || key || '|' ||
				sum(coalesce(cost_usd, 0.0000000000)) || '|' || sum(prompt_tokens) || '|' || sum(completion_tokens) || '|' || count(*) || '|' || count(*) filter (where not priced)
				from (select *, (started_at at time zone 'UTC')::date as day, coalesce(`+column+`, '') as key from token_ledger where tenant_id = $1) t
				group by day, key`, tenant)), dimension)
		}
		Expect(text(ctx, `select key || '|' || sum(executions) from cost_daily where tenant_id = $1 and dimension = 'agent' group by key`, tenant)).
			To(ConsistOf(text(ctx, `select coalesce(agent_id, '') || '|' || count(distinct execution_id) from token_ledger where tenant_id = $1 group by coalesce(agent_id, '')`, tenant)))
		Expect(text(ctx, `select distinct tableoid::regclass::text from token_ledger`)).To(ConsistOf("token_ledger_2026_02", "token_ledger_2026_03"))
	})

	It("takes what is odd without stopping: texts of any kind, times of any year, the largest of numbers", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(5, 5))
		var hard strings.Builder // which PostgreSQL can't compress
		for range 20_000 {
			hard.WriteRune('α' + random.Int32N(20_000))
		}
		long := hard.String()
		odd := randomCall(random)
		odd.UserID, odd.DepartmentID, odd.AgentID, odd.ExecutionID, odd.Model = long, long+"x", "a\x00b", "'; drop table token_ledger; --", "\U0001F4B8\x00"
		odd.CostUSD, odd.Unpriced = "922337203.6854775807", false
		odd.Tokens = domain.Tokens{Input: 1 << 62, CacheRead: 1 << 62, CacheWrite: 1 << 62, Output: 1 << 62, Reasoning: -1}
		calls := []usage.Recorded{odd, odd, odd}
		for i, year := range []int{1, 9999} {
			calls[i].StartedAt = time.Date(year, 12, 31, 23, 59, 59, 999999000, time.UTC)
		}
		calls[2].StartedAt = time.Time{}
		calls[2].UserID = long + "y"
		Expect(b.rowsOf(ctx, projections.Ledger{}, "token_ledger", logOf(calls...), 3)).To(HaveLen(3))
		Expect(text(ctx, `select distinct spend_usd::text from cost_daily where dimension = 'model' and day = '0001-12-31'`)).To(ConsistOf("922337203.6854775807"))
		Expect(text(ctx, `select (sum(spend_usd) / count(distinct tenant_id))::numeric(24, 10)::text from cost_daily where dimension = 'total'`)).To(ConsistOf("2767011611.0564327421"))
		Expect(text(ctx, `select distinct key from cost_daily where dimension = 'user'`)).To(HaveLen(2), "different users stay different")
		Expect(text(ctx, `select distinct day::text from cost_daily where dimension = 'total'`)).To(ConsistOf("0001-12-31", "9999-12-31", "2026-03-29"), "without a start, the event's time counts")
		Expect(text(ctx, `select distinct tableoid::regclass::text from token_ledger`)).To(ConsistOf("token_ledger_other", "token_ledger_2026_03"))
	})

	It("is stopped by what can't be booked", func() {
		for _, spoil := range []func(*usage.Recorded){
			func(r *usage.Recorded) { r.CostUSD, r.Unpriced = "much", false },
			func(r *usage.Recorded) { r.CallID = "one" },
			func(r *usage.Recorded) { r.ProviderID = "openai" },
			func(r *usage.Recorded) { r.KeyID = "mine" },
		} {
			call := randomCall(rand.New(rand.NewPCG(1, 1)))
			call.Outcome = usage.Succeeded
			spoil(&call)
			Expect(projections.Ledger{}.Project(logOf(call), &projections.Statements{})).To(MatchError(ContainSubstring("position 1")))
		}
	})

	It("hands rows over once, while a batch goes on", func() {
		fold, random := projections.Ledger{}.Fold(), rand.New(rand.NewPCG(6, 6))
		inserted := func(out *projections.Statements) (rows int) {
			for sql, args := range out.All() {
				if strings.HasPrefix(sql, "insert into token_ledger") {
					rows += len(args[1].([]uuid.UUID))
				}
			}
			return rows
		}
		for _, count := range []int{3, 2} {
			for range count {
				call := randomCall(random)
				call.Outcome = usage.Succeeded
				event := logOf(call)[0]
				event.Payload = projections.Pointer(event.Payload)
				Expect(fold.Add(&event)).To(Succeed())
			}
			var part projections.Statements
			fold.Part(&part)
			Expect(inserted(&part)).To(Equal(count))
		}
		Expect(fold.Bytes()).To(BeNumerically(">", 5*500), "what was handed over may still wait")
		var rest projections.Statements
		fold.Write(&rest)
		Expect(inserted(&rest)).To(Equal(0))
	})

	It("is the same live and rebuilt in one go", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(7, 7))
		live := b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: 9}, projections.Ledger{})
		var last int64
		for range 12 {
			var events []eventstore.NewEvent
			for range 1 + random.IntN(40) {
				call := randomCall(random)
				event, err := eventcodec.New().Encode(usage.Stream(call.CallID), call)
				Expect(err).NotTo(HaveOccurred())
				events = append(events, event)
			}
			result, err := b.store.Append(ctx, eventstore.Append{Tenant: "acme", Events: events, Meta: []byte(`{}`)})
			Expect(err).NotTo(HaveOccurred())
			last = result.Last
			Expect(live.Wait(ctx, "acme", last)).To(Succeed())
		}
		dump := func() (all []string) {
			for _, table := range []string{"token_ledger", "cost_daily", "cost_executions"} {
				all = append(all, text(ctx, `select to_jsonb(t)::text from `+table+` t order by 1`)...)
			}
			return all
		}
		want := dump()
		Expect(len(want)).To(BeNumerically(">", 100))
		for _, reads := range []int{5, 1000} {
			b.exec(ctx, `truncate projection_checkpoints, token_ledger, cost_daily, cost_executions`)
			Expect(b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: reads}, projections.Ledger{}).Wait(ctx, "acme", last)).To(Succeed())
			Expect(dump()).To(Equal(want), "%d a read", reads)
		}
	})

	It("gets partitions for the months to come from the worker, who makes no other tables", func(ctx context.Context) {
		months := func(first, last string) (made int, err error) {
			err = b.worker.QueryRow(ctx, `select ledger_months($1, $2)`, first, last).Scan(&made)
			return made, err //nolint:wrapcheck // a test
		}
		call := randomCall(rand.New(rand.NewPCG(2, 2)))
		call.Outcome, call.StartedAt = usage.Succeeded, time.Date(2029, 2, 28, 23, 59, 59, 0, time.UTC)
		b.rowsOf(ctx, projections.Ledger{}, "token_ledger", logOf(call), 1)
		Expect(months("2029-01-15", "2029-03-01")).To(Equal(2), "February has rows elsewhere already")
		Expect(months("2029-01-15", "2029-03-01")).To(Equal(0))
		call.StartedAt = call.StartedAt.Add(time.Second)
		b.rowsOf(ctx, projections.Ledger{}, "token_ledger", logOf(call), 1)
		Expect(text(ctx, `select distinct tableoid::regclass::text from token_ledger`)).To(ConsistOf("token_ledger_other", "token_ledger_2029_03"))
		Expect(text(ctx, `select relname from pg_class where relname like 'token_ledger_20%' and relkind = 'r' and not (relrowsecurity and relforcerowsecurity)`)).To(BeEmpty())
		_, err := months("2030-01-01", "2050-01-01")
		Expect(err).To(MatchError(ContainSubstring("ten years")))
		_, err = b.worker.Exec(ctx, `create table mine ()`)
		Expect(err).To(MatchError(ContainSubstring("permission denied")))
		_, err = b.app.Exec(ctx, `select ledger_months('2031-01-01', '2031-01-01')`)
		Expect(err).To(MatchError(ContainSubstring("permission denied")))
	})
})
