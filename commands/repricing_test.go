package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/costcheck"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
)

var errCut = errors.New("the node is gone")

// fragile is a log that takes some appends, and then no more.
type fragile struct {
	commands.Log
	left atomic.Int64
	// meeting, where set, is where as many appends wait for each other.
	meeting *sync.WaitGroup
	expects atomic.Int64
}

func (l *fragile) Append(ctx context.Context, request eventstore.Append) (eventstore.Result, error) {
	if l.left.Add(-1) < 0 {
		return eventstore.Result{}, errCut
	}
	if l.expects.Add(-1) >= 0 {
		l.meeting.Done()
		l.meeting.Wait()
	}
	return l.Log.Append(ctx, request) //nolint:wrapcheck // a test
}

var _ = Describe("Pricing calls again", Label("postgres"), func() {
	var f *fixture
	var repricings *commands.Repricings
	var log *fragile
	var worker, owner *pgxpool.Pool
	var runner *projections.Runner
	var recounted atomic.Int64
	july := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	openAI, other := uuid.NewString(), uuid.NewString()
	models := []string{"gpt-4o-mini", "gpt-99", "house"}

	BeforeEach(func(ctx context.Context) {
		f = newFixture()
		var err error
		worker, err = f.db.Pool(ctx, "archon_worker", 6)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(worker.Close)
		owner, err = pgxpool.New(ctx, f.db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(owner.Close)
		runner, err = projections.NewRunner(worker, eventcodec.New(), projections.Config{MaxBatchEvents: 17}, projections.Ledger{}, projections.KeySpend{})
		Expect(err).NotTo(HaveOccurred())
		log = &fragile{Log: f.store}
		log.left.Store(1 << 40)
		recounted.Store(0)
		handler := *f.prices.Handler
		handler.Log = log
		read := &readapi.Costs{Database: readapi.Database{Pool: worker}}
		repricings = &commands.Repricings{
			Handler: &handler, Reads: f.prices.Reads, Prices: f.prices, Show: readapi.RepricingOf, Calls: f.store, Begun: read.CallsBegun, Waiter: runner, Chunk: 7,
			Recount: func(ctx context.Context, tenant string, requested costs.RepricingRequested) error {
				spenders, err := read.SpendersOf(ctx, tenant, requested)
				recounted.Add(int64(len(spenders)))
				return err //nolint:wrapcheck // a test
			},
		}
		for id, kind := range map[string]providers.Type{openAI: "openai", other: "custom"} {
			f.must(ctx, providers.Stream(id), providers.Registered{ProviderID: id, Config: providers.Config{Name: id, Type: kind}})
		}
	})

	// request asks for a repricing and returns its id.
	request := func(sent api.RepriceCalls) api.CostRepricing {
		GinkgoHelper()
		done, err := repricings.RepriceCalls(as(func(r *httpx.Request) { r.SuccessStatus = http.StatusAccepted }), api.RepriceCallsRequestObject{Body: &sent})
		Expect(err).NotTo(HaveOccurred())
		answer, _ := done.(httpx.Answer)
		Expect(answer.Status).To(Equal(http.StatusAccepted))
		var envelope api.CostRepricingEnvelope
		Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
		return envelope.Data
	}
	run := func(ctx context.Context, id string) error {
		return repricings.Run(ctx, commands.SystemCaller(tenant, "jobs"), id) //nolint:wrapcheck // a test
	}
	// state is what the log says of a repricing.
	state := func(ctx context.Context, id string) costs.Repricing {
		GinkgoHelper()
		events, err := f.store.Load(ctx, tenant, costs.RepricingStream(id), 0)
		Expect(err).NotTo(HaveOccurred())
		var state costs.Repricing
		for _, event := range events {
			payload, err := eventcodec.New().Decode(event.Type, event.Data)
			Expect(err).NotTo(HaveOccurred())
			state = costs.RepricingDecider().Evolve(state, payload)
		}
		return state
	}
	all := api.RepriceCalls{From: "2026-07-01"}
	reprice := func(ctx context.Context, sent api.RepriceCalls) costs.Found {
		GinkgoHelper()
		asked := request(sent)
		Expect(run(ctx, asked.ID)).To(Succeed())
		done := state(ctx, asked.ID)
		Expect(done.Completed).To(BeTrue())
		return done.Found
	}
	price := func(model, input string, from time.Time) {
		GinkgoHelper()
		_, err := f.override(as(), api.PriceOverride{ProviderType: "openai", Model: model, InputUsdPer1M: json.Number(input), OutputUsdPer1M: json.Number(input), EffectiveFrom: &from})
		Expect(err).NotTo(HaveOccurred())
	}
	// record makes a call as the data plane does, with the price of now.
	record := func(ctx context.Context, random *rand.Rand) usage.Recorded {
		GinkgoHelper()
		book, err := f.prices.Book(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		call := randomCall(random, book, july, models, openAI, other)
		f.must(ctx, usage.Stream(call.CallID), call)
		return call
	}
	text := func(ctx context.Context, sql string, args ...any) string {
		GinkgoHelper()
		var value string
		Expect(owner.QueryRow(ctx, sql, args...).Scan(&value)).To(Succeed())
		return value
	}
	check := func(ctx context.Context) costcheck.Report {
		GinkgoHelper()
		head, err := f.store.Head(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(runner.Wait(ctx, tenant, head.Position)).To(Succeed())
		report, err := (&costcheck.Checker{Pool: worker, Log: f.store}).Check(ctx, tenant, func(difference string) { Fail(difference) })
		Expect(err).NotTo(HaveOccurred())
		return report
	}

	It("comes to what the last price book says, whatever was recorded, priced and priced again before, and to the log's beginning as of any position", func(ctx context.Context) {
		for seed := range uint64(4) {
			random := rand.New(rand.NewPCG(seed, 35))
			for range 60 {
				switch random.IntN(5) {
				case 0:
					price(models[random.IntN(3)], fmt.Sprint(random.IntN(9), ".", random.IntN(99999)), july.Add(time.Duration(random.IntN(10)-2)*24*time.Hour))
				case 1:
					sent := api.RepriceCalls{From: july.AddDate(0, 0, random.IntN(5)).Format(time.DateOnly), Model: new(models[random.IntN(3)]), DryRun: new(random.IntN(4) == 0)}
					if random.IntN(2) == 0 {
						sent.Model = nil
					}
					reprice(ctx, sent)
				default:
					record(ctx, random)
				}
			}
			reprice(ctx, all)
		}
		book, err := f.prices.Book(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		want, unpriced := domain.Amount(0), int64(0)
		report := check(ctx)
		for _, event := range f.log() {
			payload, err := eventcodec.New().Decode(event.Type, event.Data)
			Expect(err).NotTo(HaveOccurred())
			recorded, is := payload.(usage.Recorded)
			if !is {
				continue
			}
			cost, all := chargedBy(book, &recorded, other)
			want += cost
			if !all {
				unpriced++
			}
			Expect(text(ctx, `select coalesce(corrected_cost_usd, cost_usd, 0)::numeric(20, 10)::text from token_ledger where recorded_position = $1`, event.Position)).To(Equal(cost.String()))
		}
		Expect(report).To(And(HaveField("Spend", want.String()), HaveField("Unpriced", unpriced), HaveField("Adjustments", BeNumerically(">", 50))))
		Expect(text(ctx, `select sum(spend_usd)::text from cost_daily where dimension = 'total'`)).To(Equal(want.String()))
		Expect(text(ctx, `select sum(spent_usd)::text from api_key_spend`)).To(Equal(text(ctx, `select sum(spend_usd)::text from cost_daily where dimension = 'key' and key <> ''`)))

		By("asking what was known at each position")
		sum, differences := domain.Amount(0), 0
		for _, event := range f.log() {
			payload, err := eventcodec.New().Decode(event.Type, event.Data)
			Expect(err).NotTo(HaveOccurred())
			switch payload := payload.(type) {
			case usage.Recorded:
				if payload.CostUSD != "" {
					cost, err := domain.ParseAmount(payload.CostUSD, 10)
					Expect(err).NotTo(HaveOccurred())
					sum += cost
				}
			case costs.CallRepriced:
				sum += payload.Difference
				differences++
			default:
				continue
			}
			Expect(text(ctx, `select coalesce(sum(cost_usd), 0)::numeric(20, 10)::text from cost_entries where recorded_position <= $1`, event.Position)).To(Equal(sum.String()))
		}
		Expect(sum).To(Equal(want))
		Expect(differences).To(BeEquivalentTo(report.Adjustments))

		By("doing it once more")
		Expect(reprice(ctx, all)).To(And(HaveField("Repriced", BeZero()), HaveField("Difference", BeZero()), HaveField("Unpriced", unpriced)))
		Expect(check(ctx).Adjustments).To(Equal(report.Adjustments))
	})

	It("is answered at once, checks what it is asked, and finds nobody's", func(ctx context.Context) {
		asked := request(api.RepriceCalls{From: "2026-07-01", To: new("2026-07-31"), ProviderType: new(api.ProviderType("openai")), Model: new("m"), DryRun: new(true)})
		Expect(asked).To(And(HaveField("Status", api.CostRepricingStatusRunning), HaveField("From", july), HaveField("To", july.AddDate(0, 1, 0)), HaveField("DryRun", true), HaveField("CompletedAt", BeNil())))
		Expect(request(api.RepriceCalls{From: "2026-07-01T00:00:00Z", To: new("2026-07-31T00:00:00+02:00")}).To).To(Equal(time.Date(2026, 7, 30, 22, 0, 0, 0, time.UTC)))
		Expect(request(all).To).To(BeTemporally("~", time.Now(), time.Minute))
		for field, sent := range map[string]api.RepriceCalls{
			"from": {From: "yesterday"}, "to": {From: "2026-07-01", To: new("2026-02-30")},
			"model": {From: "2026-07-01", Model: new("a\nb")},
		} {
			_, err := repricings.RepriceCalls(as(), api.RepriceCallsRequestObject{Body: &sent})
			Expect(httpx.FromError(err).Details).To(HaveKey(field))
		}
		_, err := repricings.RepriceCalls(as(), api.RepriceCallsRequestObject{Body: &api.RepriceCalls{From: "2026-07-02", To: new("2026-07-01")}})
		Expect(httpx.FromError(err).Details).To(HaveKeyWithValue("from", "must be before to"))
		Expect(run(ctx, uuid.NewString())).To(MatchError(costs.ErrNoRepricing))
	})

	It("books nothing in a dry run, and says what it would", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 30 {
			record(ctx, random)
		}
		price("gpt-99", "7", july)
		would := reprice(ctx, api.RepriceCalls{From: "2026-07-01", DryRun: new(true)})
		Expect(would.Repriced).To(BeNumerically(">", 3))
		Expect(f.types()).NotTo(ContainElement("costs.call_repriced.v1"))
		Expect(recounted.Load()).To(BeZero())
		Expect(reprice(ctx, all)).To(Equal(would))
		Expect(recounted.Load()).To(BeNumerically(">", 0))
	})

	It("takes the price book of the moment at which it was asked for, and only what was recorded by then", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(3, 2))
		for range 20 {
			record(ctx, random)
		}
		price("gpt-99", "1", july)
		would := reprice(ctx, api.RepriceCalls{From: "2026-07-01", DryRun: new(true)})
		early, first := request(all), request(all)
		price("gpt-99", "2", july)
		Expect(run(ctx, early.ID)).To(Succeed())
		Expect(state(ctx, early.ID).Found).To(Equal(would))
		second := request(all)
		late := record(ctx, rand.New(rand.NewPCG(5, 5)))
		Expect(run(ctx, second.ID)).To(Succeed())
		Expect(state(ctx, second.ID).Found.Repriced).To(BeNumerically(">", 0))
		spend := check(ctx).Spend
		Expect(run(ctx, first.ID)).To(Succeed())
		Expect(state(ctx, first.ID).Found.Repriced).To(BeZero(), "the younger book stays")
		Expect(check(ctx).Spend).To(Equal(spend))
		Expect(f.versions(ctx, usage.Stream(late.CallID))).To(BeEquivalentTo(1))
	})

	It("goes on where it was when it is cut off anywhere, and books each difference once", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(4, 2))
		for range 60 {
			record(ctx, random)
		}
		price("gpt-99", "3", july)
		would := reprice(ctx, api.RepriceCalls{From: "2026-07-01", DryRun: new(true)})
		asked := request(all)
		for left := range int64(40) {
			log.left.Store(left % 3)
			err := run(ctx, asked.ID)
			if err == nil {
				break
			}
			Expect(err).To(MatchError(errCut))
			check(ctx)
		}
		done := state(ctx, asked.ID)
		Expect(done.Completed).To(BeTrue())
		Expect(done.Found).To(And(HaveField("Repriced", would.Repriced), HaveField("Difference", would.Difference)))
		Expect(check(ctx).Adjustments).To(Equal(would.Repriced))
		count := len(f.log())
		log.left.Store(1 << 40)
		Expect(run(ctx, asked.ID)).To(Succeed())
		Expect(f.log()).To(HaveLen(count))
	})

	It("books each difference once where several do it at once", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(6, 2))
		for range 80 {
			record(ctx, random)
		}
		price("gpt-99", "3", july)
		would := reprice(ctx, api.RepriceCalls{From: "2026-07-01", DryRun: new(true)})
		twice, another := request(all), request(all)
		log.meeting = &sync.WaitGroup{}
		log.meeting.Add(3)
		log.expects.Store(3) // all of them have read the same calls, and want to book the same
		var running sync.WaitGroup
		for _, id := range []string{twice.ID, twice.ID, another.ID} {
			running.Go(func() {
				defer GinkgoRecover()
				for {
					err := run(ctx, id)
					if _, lost := errors.AsType[*eventstore.ConflictError](err); lost {
						continue // as the job is retried
					}
					Expect(err).NotTo(HaveOccurred())
					return
				}
			})
		}
		running.Wait()
		Expect(check(ctx).Adjustments).To(Equal(would.Repriced))
		Expect(state(ctx, twice.ID).Found.Repriced + state(ctx, another.ID).Found.Repriced).To(Equal(would.Repriced))
		Expect(state(ctx, twice.ID).Found.Difference + state(ctx, another.ID).Found.Difference).To(Equal(would.Difference))
	})

	It("prices each call by the moment at which it began, to the microsecond, rounded half to even", func(ctx context.Context) {
		change := time.Date(2026, 7, 10, 0, 0, 0, 0, time.UTC)
		for _, at := range []time.Time{change.Add(-time.Microsecond), change, change.Add(time.Microsecond)} {
			id := uuid.NewString()
			f.must(ctx, usage.Stream(id), usage.Recorded{
				CallID: id, StartedAt: at, Outcome: usage.Succeeded, ProviderID: openAI, ProviderType: "openai", Model: "house", Unpriced: true, Tokens: domain.Tokens{Input: 1},
			})
		}
		long := uuid.NewString() // beyond 200,000 tokens all of them cost twice as much
		f.must(ctx, usage.Stream(long), usage.Recorded{
			CallID: long, StartedAt: change.AddDate(0, 0, 5), Outcome: usage.Succeeded, ProviderID: other, ProviderType: "google", Model: "gemini-2.5-pro", CostUSD: "0.3750000000",
			Price: json.RawMessage(`{"model":"gemini-2.5-pro"}`), Tokens: domain.Tokens{Input: 300_000},
		})
		price("house", "0.00005", july) // a token is half of 10⁻¹⁰ USD
		price("house", "0.00015", change)
		price("house", "1000", time.Now().AddDate(1, 0, 0))
		Expect(reprice(ctx, all)).To(And(HaveField("Repriced", BeEquivalentTo(4)), HaveField("NewlyPriced", BeEquivalentTo(3)), HaveField("Difference", 375*domain.USD/1000+4)))
		check(ctx)
		Expect(text(ctx, `select string_agg(corrected_cost_usd::text || case when corrected_priced then '' else ' in part' end, ' ' order by started_at) from token_ledger`)).To(Equal("0.0000000000 0.0000000002 0.0000000002 0.7500000000"))
		Expect(text(ctx, `select unpriced::text from cost_daily where dimension = 'total' and day = '2026-07-10'`)).To(Equal("0"))
	})
})

// must appends an event of the tenant.
func (f *fixture) must(ctx context.Context, stream string, payload eventstore.Typed) {
	GinkgoHelper()
	event, err := eventcodec.New().Encode(stream, payload)
	Expect(err).NotTo(HaveOccurred())
	_, err = f.store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{event}, Meta: []byte(`{}`)})
	Expect(err).NotTo(HaveOccurred())
}

// versions is how many events a stream has.
func (f *fixture) versions(ctx context.Context, stream string) int {
	GinkgoHelper()
	events, err := f.store.Load(ctx, tenant, stream, 0)
	Expect(err).NotTo(HaveOccurred())
	return len(events)
}

// randomCall is a call of July, charged as the data plane charges: a third had an attempt at another provider before.
func randomCall(random *rand.Rand, book prices.Book, july time.Time, models []string, openAI, other string) usage.Recorded {
	tokens := func() domain.Tokens {
		return domain.Tokens{Input: random.Int64N(1000), CacheRead: random.Int64N(99), Output: 1 + random.Int64N(500), Reasoning: random.Int64N(9)}
	}
	call := usage.Recorded{
		CallID: uuid.NewString(), Kind: usage.Chat, StartedAt: july.Add(time.Duration(random.Int64N(int64(8 * 24 * time.Hour)))).Truncate(time.Microsecond),
		ProviderID: openAI, ProviderType: "openai", Model: models[random.IntN(len(models))], Outcome: usage.Succeeded, Tokens: tokens(),
		KeyID: []string{"", openAI}[random.IntN(2)], UserID: []string{"", "ada"}[random.IntN(2)], DepartmentID: []string{"", "research"}[random.IntN(2)],
	}
	spent := domain.Amount(0)
	if random.IntN(3) == 0 {
		lost := usage.Attempt{ProviderID: []string{openAI, other}[random.IntN(2)], Model: models[random.IntN(len(models))], Outcome: "server_error", Tokens: tokens()}
		kind := "openai"
		if lost.ProviderID == other {
			kind = "custom"
		}
		if _, cost, found := book.Charge(kind, lost.Model, call.StartedAt, lost.Tokens); found {
			lost.CostUSD, spent = cost.String(), cost
			call.CostUSD = spent.String()
		} else {
			call.Unpriced = true
		}
		call.Attempts = append(call.Attempts, lost)
	}
	if price, cost, found := book.Charge("openai", call.Model, call.StartedAt, call.Tokens); found {
		call.CostUSD = (spent + cost).String()
		call.Price, _ = json.Marshal(price) // a price is always JSON
	} else {
		call.Unpriced = true
	}
	return call
}

// chargedBy is what a call costs by a book, as far as that is known, and whether it is all.
func chargedBy(book prices.Book, call *usage.Recorded, other string) (sum domain.Amount, all bool) {
	all = true
	for _, attempt := range call.Attempts {
		kind := "openai"
		if attempt.ProviderID == other {
			kind = "custom"
		}
		_, cost, found := book.Charge(kind, attempt.Model, call.StartedAt, attempt.Tokens)
		sum, all = sum+cost, all && found
	}
	_, cost, found := book.Charge("openai", call.Model, call.StartedAt, call.Tokens)
	return sum + cost, all && found
}
