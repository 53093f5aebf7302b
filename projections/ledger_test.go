package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
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

// line is a line of a provider's invoice: what one attempt consumed and cost.
type line struct {
	provider, model string
	tokens          domain.Tokens
	cost            domain.Amount
	unpriced        bool
}

// randomBill is a call of one of few providers, models and so on, around the end of a month, with what its attempts cost.
// The attempt that answered, or was tried last, is the first line.
func randomBill(random *rand.Rand) (usage.Recorded, []line) {
	id := func(n int) string { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)).String() }
	attempt := func() line {
		one := line{provider: some(random, id(1), id(2), id(5)), model: some(random, "gpt-4o", "o3", "novel")}
		if random.IntN(4) > 0 {
			one.tokens = domain.Tokens{
				Input: random.Int64N(1000), CacheRead: random.Int64N(50), CacheWrite: random.Int64N(50), Output: 1 + random.Int64N(500), Reasoning: random.Int64N(99),
			}
			one.cost = domain.Amount(random.Int64N(int64(3 * domain.USD)))
			if one.unpriced = one.model == "novel"; one.unpriced {
				one.cost = 0
			}
		}
		return one
	}
	bill := []line{attempt()}
	recorded := usage.Recorded{
		CallID: uuid.NewString(), Kind: some(random, usage.Chat, usage.Embeddings),
		StartedAt:  time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(72 * time.Hour)))).Truncate(time.Microsecond),
		ProviderID: bill[0].provider, ProviderType: "openai", Model: bill[0].model, KeyID: some(random, "", id(3), id(4)),
		UserID: some(random, "", "ada", "bob"), DepartmentID: some(random, "", "research"), AgentID: some(random, "", "scout", "writer"),
		ExecutionID: some(random, "", "e-1", "e-2", "e-3"), Outcome: some(random, usage.Succeeded, usage.Failed, usage.Cancelled), Tokens: bill[0].tokens,
	}
	if bill[0].tokens.Total() > 0 && !bill[0].unpriced {
		recorded.Price = json.RawMessage(`{"model":"gpt-4o"}`)
	}
	for range random.IntN(3) {
		given := attempt()
		noted := usage.Attempt{ProviderID: given.provider, Model: given.model, Outcome: "timeout", Tokens: given.tokens}
		if given.tokens.Total() > 0 {
			noted.Source = "estimated"
			if !given.unpriced {
				noted.CostUSD = given.cost.String()
			}
			bill = append(bill, given)
		}
		recorded.Attempts = append(recorded.Attempts, noted)
	}
	recorded.Attempts = append(recorded.Attempts, usage.Attempt{ProviderID: recorded.ProviderID, Model: recorded.Model, Outcome: "succeeded"})
	var sum domain.Amount
	for _, one := range bill {
		sum += one.cost
		recorded.Unpriced = recorded.Unpriced || one.unpriced
	}
	if sum > 0 || recorded.Price != nil {
		recorded.CostUSD = sum.String()
	}
	return recorded, bill
}

// randomCall is the call alone.
func randomCall(random *rand.Rand) usage.Recorded {
	recorded, _ := randomBill(random)
	return recorded
}

// daily are the rows of cost_daily, as text, that calls come to.
type daily map[string]*struct {
	cost                                   domain.Amount
	prompt, completion, requests, unpriced int64
}

func (d daily) add(dimension, day, key string, requests int64, bill ...line) {
	name := dimension + "|" + day + "|" + key
	if d[name] == nil {
		d[name] = &struct {
			cost                                   domain.Amount
			prompt, completion, requests, unpriced int64
		}{}
	}
	into := d[name]
	into.requests += requests
	for _, one := range bill {
		into.cost += one.cost
		into.prompt += one.tokens.Input + one.tokens.CacheRead + one.tokens.CacheWrite
		into.completion += one.tokens.Output + one.tokens.Reasoning
		if one.unpriced {
			into.unpriced++
		}
	}
}

func (d daily) rows() (rows []string) {
	for name, sum := range d {
		rows = append(rows, fmt.Sprint(name, "|", sum.cost, "|", sum.prompt, "|", sum.completion, "|", sum.requests, "|", sum.unpriced))
	}
	return rows
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
		days, kept, sum, unpriced, given := daily{}, 0, domain.Amount(0), 0, 0
		for i := range calls {
			var bill []line
			calls[i], bill = randomBill(random)
			call := &calls[i]
			if len(bill) == 1 && bill[0].tokens.Total() == 0 && call.Outcome != usage.Succeeded {
				continue
			}
			kept++
			given += min(len(bill)-1, 1)
			if call.Unpriced {
				unpriced++
			}
			day := call.StartedAt.Format(time.DateOnly)
			for j, one := range bill {
				sum += one.cost
				days.add("provider", day, one.provider, int64(max(1-j, 0)), one)
				days.add("model", day, one.model, int64(max(1-j, 0)), one)
			}
			days.add("total", day, "", 1, bill...)
			days.add("department", day, call.DepartmentID, 1, bill...)
			days.add("agent", day, call.AgentID, 1, bill...)
			days.add("user", day, call.UserID, 1, bill...)
			days.add("key", day, call.KeyID, 1, bill...)
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

		Expect(text(ctx, `select count(*)::text from token_ledger where tenant_id = $1 and given_up is not null`, tenant)).To(ConsistOf(fmt.Sprint(given)))
		Expect(given).To(BeNumerically(">", 100))

		By("holding the days against what each attempt cost: invoices can be held against them")
		Expect(text(ctx, `select dimension || '|' || day || '|' || key || '|' || spend_usd || '|' || prompt_tokens || '|' || completion_tokens || '|' || requests || '|' || unpriced
			from cost_daily where tenant_id = $1`, tenant)).To(ConsistOf(days.rows()))
		Expect(text(ctx, `select distinct concat_ws(' ', day, sum(spend_usd), sum(prompt_tokens), sum(completion_tokens), sum(requests), sum(unpriced))
			from cost_daily where tenant_id = $1 group by dimension, day`, tenant)).To(HaveLen(3), "each dimension adds up to the total")
		Expect(text(ctx, `select day || ' ' || first_position || ' ' || last_position from cost_daily where tenant_id = $1 and dimension = 'total'`, tenant)).
			To(ConsistOf(text(ctx, `select (started_at at time zone 'UTC')::date || ' ' || min(recorded_position) || ' ' || max(recorded_position)
				from token_ledger where tenant_id = $1 group by (started_at at time zone 'UTC')::date`, tenant)))
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

	It("leaves out what consumed nothing and did not succeed, and what no provider has heard of", func() {
		consumed := domain.Tokens{Reasoning: 1}
		for _, one := range []struct {
			call usage.Recorded
			want bool
		}{
			{usage.Recorded{Outcome: usage.Succeeded}, true},
			{usage.Recorded{Outcome: usage.Failed}, false},
			{usage.Recorded{Outcome: usage.Failed, Attempts: []usage.Attempt{{Outcome: "timeout"}}}, false},
			{usage.Recorded{Outcome: usage.Failed, Attempts: []usage.Attempt{{Outcome: "timeout", Tokens: consumed}}}, true},
			{usage.Recorded{Outcome: usage.Failed, Attempts: []usage.Attempt{{Outcome: "timeout", CostUSD: "0.0000000000"}}}, true},
			{usage.Recorded{Outcome: usage.Cancelled, Tokens: consumed}, true},
			{usage.Recorded{Outcome: usage.Incomplete, Unpriced: true}, true},
			{usage.Recorded{Outcome: usage.Refused}, false},
			{usage.Recorded{Outcome: usage.Refused, Suppressed: 9, Unpriced: true}, false},
		} {
			Expect(projections.Ledgered(&one.call)).To(Equal(one.want), "%+v", one.call)
		}
	})

	It("keeps what is known of a call of which not everything is", func() {
		call := usage.Recorded{
			CallID: uuid.NewString(), Outcome: usage.Succeeded, Model: "novel", Tokens: domain.Tokens{Output: 5}, Unpriced: true, CostUSD: "0.5000000000",
			Attempts: []usage.Attempt{{Model: "gpt-4o", Tokens: domain.Tokens{Input: 7}, CostUSD: "0.5000000000"}, {Model: "novel"}},
		}
		booked, err := projections.CallOf(&call, 1, time.Now())
		Expect(err).NotTo(HaveOccurred())
		Expect(booked).To(And(HaveField("Priced", false), HaveField("Known", true), HaveField("Cost", domain.USD/2), HaveField("Tokens", domain.Tokens{Input: 7, Output: 5})))
		Expect(booked.Answer).To(And(HaveField("Priced", false), HaveField("Cost", domain.Amount(0)), HaveField("Tokens", call.Tokens)))
		Expect(booked.GivenUp).To(ConsistOf(And(HaveField("Priced", true), HaveField("Cost", domain.USD/2))))

		By("taking the other one for the one without a price")
		call.Model, call.Price, call.CostUSD = "gpt-4o", json.RawMessage(`{}`), "0.2000000000"
		call.Attempts = []usage.Attempt{{Model: "novel", Tokens: domain.Tokens{Input: 7}}, {Model: "gpt-4o"}}
		booked, err = projections.CallOf(&call, 1, time.Now())
		Expect(err).NotTo(HaveOccurred())
		Expect(booked).To(And(HaveField("Priced", false), HaveField("Known", true), HaveField("Answer.Priced", true), HaveField("Answer.Cost", domain.USD/5)))
		Expect(booked.GivenUp).To(ConsistOf(HaveField("Priced", false)))
		Expect(booked.GivenUpJSON()).To(MatchJSON(`[{"provider_id":"","model":"novel","prompt_tokens":7,"completion_tokens":0,"cached_tokens":0,
			"cache_write_tokens":0,"reasoning_tokens":0,"usage_source":"","cost_usd":null}]`))
	})

	It("books any amount as it is", func(ctx context.Context) {
		amounts := []domain.Amount{0, 1, 99, 9999, 10_000, 999_999, 1_000_000, domain.USD - 1, domain.USD, domain.USD + 1, 12_345_678_901, 9999 * domain.USD, 10_000 * domain.USD, math.MaxInt64, -1, math.MinInt64 + 1}
		random := rand.New(rand.NewPCG(8, 8))
		for range 40 {
			amounts = append(amounts, domain.Amount(random.Int64()>>random.IntN(63)))
		}
		calls, want := make([]usage.Recorded, len(amounts)), make([]string, len(amounts))
		for i, amount := range amounts {
			calls[i] = usage.Recorded{CallID: uuid.NewString(), Outcome: usage.Succeeded, CostUSD: amount.String()}
			want[i] = amount.String()
		}
		b.rowsOf(ctx, projections.Ledger{}, "token_ledger", logOf(calls...), 100)
		Expect(text(ctx, `select cost_usd::text from token_ledger where tenant_id = (select min(tenant_id) from token_ledger) order by recorded_position`)).To(Equal(want))
	})

	It("says that the database has to be migrated where its rows have no type there", func(ctx context.Context) {
		conn, err := b.worker.Acquire(ctx)
		Expect(err).NotTo(HaveOccurred())
		defer conn.Release()
		b.exec(ctx, `alter type ledger_row rename to another`)
		Expect(projections.Teach(ctx, conn.Conn(), projections.Ledger{})).To(MatchError(ContainSubstring("ledger_row: the database does not know the type")))
	})

	It("is stopped by what can't be booked", func() {
		for _, spoil := range []func(*usage.Recorded){
			func(r *usage.Recorded) { r.CostUSD, r.Unpriced = "much", false },
			func(r *usage.Recorded) { r.CallID = "one" },
			func(r *usage.Recorded) { r.ProviderID = "openai" },
			func(r *usage.Recorded) { r.KeyID = "mine" },
			func(r *usage.Recorded) { r.Attempts[0].CostUSD = "1e99" },
			func(r *usage.Recorded) { r.Attempts[0].CostUSD = "-1" },
			func(r *usage.Recorded) { r.Attempts[0].CostUSD, r.Attempts[0].ProviderID = "0", "openai" },
			func(r *usage.Recorded) { r.CostUSD, r.Attempts[0].CostUSD, r.Unpriced = "1", "1.0000000001", false },
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
					rows += projections.RecordsIn(args[1])
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
