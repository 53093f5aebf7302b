package costcheck_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/costcheck"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("A check of calls that were priced again", Label("postgres"), func() {
	const calls = 60
	var owner *pgxpool.Pool
	var store *eventstore.Store
	var runner *projections.Runner
	var checker *costcheck.Checker
	var spend, adjusted domain.Amount
	var differences int64

	write := func(ctx context.Context, stream string, payload eventstore.Typed) int64 {
		GinkgoHelper()
		event, err := eventcodec.New().Encode(stream, payload)
		Expect(err).NotTo(HaveOccurred())
		result, err := store.Append(ctx, eventstore.Append{Tenant: "acme", Events: []eventstore.NewEvent{event}, Meta: []byte(`{}`)})
		Expect(err).NotTo(HaveOccurred())
		return result.Last
	}
	// price makes a call cost something else, all of it the answer's; was is nil where that was not known.
	price := func(ctx context.Context, call *usage.Recorded, position int64, was *domain.Amount, cost domain.Amount) int64 {
		GinkgoHelper()
		event := costs.CallRepriced{
			RepricingID: uuid.NewString(), CallID: call.CallID, Position: position, StartedAt: call.StartedAt, UserID: call.UserID, AgentID: call.AgentID, WasPriced: was != nil, Priced: true,
			NewCost: cost, Difference: cost, Price: []byte(`{"output":0.25,"input":1}`),
			Parts: []costs.Part{{ProviderID: "", Model: "slow", NewCost: new(domain.Amount(0)), OldCost: new(domain.Amount(0))}, {ProviderID: call.ProviderID, Model: call.Model, OldCost: was, NewCost: &cost}},
		}
		if was != nil {
			event.OldCost, event.Difference = *was, cost-*was
		}
		spend, adjusted, differences = spend+event.Difference, adjusted+event.Difference, differences+1
		return write(ctx, usage.Stream(call.CallID), event)
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
		spend, adjusted, differences = 0, 0, 0
		random := rand.New(rand.NewPCG(4, 4))
		var last int64
		for i := range calls {
			call := usage.Recorded{
				CallID: uuid.NewString(), StartedAt: time.Date(2026, 1, 30+i%3, 1, 0, 0, 0, time.UTC), Outcome: usage.Succeeded, Model: "m", UserID: "ada", AgentID: "scout",
				Tokens: domain.Tokens{Input: 3}, ProviderID: uuid.Nil.String(),
			}
			var was *domain.Amount
			if i%4 == 0 {
				call.Unpriced = true
			} else {
				was = new(domain.Amount(random.Int64N(int64(domain.USD))))
				call.CostUSD, spend = was.String(), spend+*was
			}
			last = write(ctx, usage.Stream(call.CallID), call)
			for position := last; random.IntN(2) == 0; {
				cost := domain.Amount(random.Int64N(int64(domain.USD)))
				last = price(ctx, &call, position, was, cost)
				was = &cost
			}
		}
		Expect(runner.Wait(ctx, "acme", last)).To(Succeed())
	})
	check := func(ctx context.Context) (report costcheck.Report, told []string) {
		GinkgoHelper()
		report, err := checker.Check(ctx, "acme", func(difference string) { told = append(told, difference) })
		Expect(err).NotTo(HaveOccurred())
		return report, told
	}

	It("finds nothing where all is well, and says how much was booked", func(ctx context.Context) {
		report, told := check(ctx)
		Expect(told).To(BeEmpty())
		Expect(report).To(And(HaveField("Calls", BeEquivalentTo(calls)), HaveField("Spend", spend.String()), HaveField("Adjusted", adjusted.String()), HaveField("Adjustments", differences)))
		Expect(report.Unpriced).To(And(BeNumerically(">", 0), BeNumerically("<", calls/4)))
	})

	const anyRow = ` where tenant_id = 'acme' and recorded_position = (select max(recorded_position) from cost_adjustments where tenant_id = 'acme')`
	const corrected = ` where tenant_id = 'acme' and corrected_position = (select max(corrected_position) from token_ledger where tenant_id = 'acme')`
	DescribeTable("names every difference, once, and what it is about", func(ctx context.Context, tamper string, count int, said ...string) {
		tag, err := owner.Exec(ctx, tamper)
		Expect(err).NotTo(HaveOccurred())
		Expect(tag.RowsAffected()).To(BeNumerically(">", 0), tamper)
		_, told := check(ctx)
		Expect(told).To(HaveLen(count), strings.Join(told, "\n"))
		for _, text := range said {
			Expect(told).To(ContainElement(ContainSubstring(text)))
		}
	},
		Entry("a difference by the least there is", `update cost_adjustments set difference_usd = difference_usd + 0.0000000001`+anyRow, 2, "attempt 2: difference_usd is", "does not fit: it ends at"),
		Entry("on whose account", `update cost_adjustments set user_id = 'eve', agent_id = null`+anyRow, 3, `user_id is "eve" in the table of differences`, "agent_id is empty", "the call is on another account"),
		Entry("what it says of the attempt", `update cost_adjustments set model = 'n', provider_id = null, newly_priced = not newly_priced, repricing_id = gen_random_uuid()`+anyRow, 4, `model is "n"`, "provider_id is empty", "newly_priced is", "repricing_id is"),
		Entry("times", `update cost_adjustments set occurred_at = occurred_at + interval '1 s', created_at = created_at + interval '1 s', started_at = started_at + interval '1 s'`+anyRow, 4, "occurred_at is", "created_at is", "started_at is", "there is no such call"),
		Entry("a lost difference", `delete from cost_adjustments`+anyRow, 1, "attempt 2: the table of differences lacks it"),
		Entry("one too many", `insert into cost_adjustments select tenant_id, call_position, recorded_position, 0, call_id, started_at, repricing_id, provider_id, model, key_id, user_id, department_id, agent_id, 0, false,
			old_cost_usd, new_cost_usd, occurred_at, created_at from cost_adjustments`+anyRow, 1, "attempt 1: the table of differences has it"),
		Entry("one behind the end", `update cost_adjustments set recorded_position = 99999`+anyRow, 2, "lacks it", "position 99999"),
		Entry("what a call costs now", `update token_ledger set corrected_cost_usd = corrected_cost_usd + 0.0000000001, corrected_priced = false`+corrected, 2, "corrected_cost_usd is", "corrected_priced is"),
		Entry("why", `update token_ledger set corrected_price = '{"input":2}', corrected_position = corrected_position + 1`+corrected, 2, "corrected_price is", "corrected_position is"),
		Entry("a correction that is gone", `update token_ledger set corrected_cost_usd = null, corrected_priced = null, corrected_price = null, corrected_position = null`+corrected, 1, "the ledger does not say that the call costs"),
		Entry("a correction of nothing", `update token_ledger set corrected_cost_usd = 1 where tenant_id = 'acme' and recorded_position = (select min(recorded_position) from token_ledger where tenant_id = 'acme' and corrected_position is null)`, 1, `corrected_cost_usd is "1.0000000000" in the ledger, and empty`),
		Entry("what of a sum was booked later", `update cost_daily set adjusted_usd = adjusted_usd + 1 where tenant_id = 'acme' and dimension = 'agent' and day = '2026-01-31'`, 1, `2026-01-31, agent "scout": adjusted_usd is`),
		Entry("what was booked on a day", `update cost_adjusted_days set count = count + 1 where tenant_id = 'acme' and day = '2026-01-31'`, 1, "2026-01-31, booked on"),
		Entry("what was booked on a day, lost", `delete from cost_adjusted_days where tenant_id = 'acme' and day = '2026-01-31'`, 1, "the sums lack it"),
		Entry("what was booked on another day", `update cost_adjusted_days set booked_on = booked_on + 1 where tenant_id = 'acme' and day = '2026-01-31'`, 2, "the log comes to 0", "the sums lack it"),
	)

	It("sees in the log itself that a difference does not follow what was known before", func(ctx context.Context) {
		call := usage.Recorded{CallID: uuid.NewString(), StartedAt: time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC), Outcome: usage.Succeeded, Model: "m", UserID: "ada", Tokens: domain.Tokens{Input: 3}, CostUSD: "0.0000000005"}
		position := write(ctx, usage.Stream(call.CallID), call)
		price(ctx, &call, position, new(domain.Amount(5)), 7)
		last := price(ctx, &call, position, new(domain.Amount(5)), 7) // booked twice
		Expect(runner.Wait(ctx, "acme", last)).To(Succeed())
		_, told := check(ctx)
		Expect(told).To(ConsistOf(ContainSubstring("it begins at 0.0000000005 USD, and the call had come to 0.0000000007")))
	})
})
