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
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

// randomRepriced makes a call cost something else, and remembers what in known.
func randomRepriced(random *rand.Rand, call *usage.Recorded, position int64, known map[int64]*domain.Amount) costs.CallRepriced {
	was, cost := known[position], domain.Amount(random.Int64N(int64(3*domain.USD)))
	known[position] = &cost
	event := costs.CallRepriced{
		RepricingID: uuid.NewString(), BookVersion: position, CallID: call.CallID, Position: position, StartedAt: call.StartedAt, KeyID: call.KeyID, UserID: call.UserID,
		DepartmentID: call.DepartmentID, AgentID: call.AgentID, WasPriced: was != nil, Priced: true, NewCost: cost, Difference: cost,
		Parts: []costs.Part{{ProviderID: call.ProviderID, Model: call.Model, OldCost: was, NewCost: &cost}},
		Price: json.RawMessage(fmt.Sprintf(`{"model":"gpt-4o","input":%d}`, random.IntN(9))),
	}
	if was != nil {
		event.OldCost, event.Difference = *was, cost-*was
	}
	return event
}

var _ = Describe("the ledger projection of calls that were priced again", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })
	tables := []string{"token_ledger", "cost_daily", "cost_adjustments", "cost_adjusted_days", "cost_executions"}
	const truncate = `truncate projection_checkpoints, token_ledger, cost_daily, cost_executions, cost_adjustments, cost_adjusted_days`

	// randomLog is calls, some of which are priced again, often soon and often twice.
	randomLog := func(seed uint64, events int) (log []projections.Event, sum, first domain.Amount) {
		random := rand.New(rand.NewPCG(seed, 35))
		known := map[int64]*domain.Amount{}
		var calls []usage.Recorded
		var positions []int64
		for position := int64(1); position <= int64(events); position++ {
			if len(calls) > 0 && random.IntN(2) == 0 {
				which := len(calls) - 1 - random.IntN(min(len(calls), 5))
				event := randomRepriced(random, &calls[which], positions[which], known)
				sum += event.Difference
				log = append(log, recordedAt(position, 2, usage.Stream(event.CallID), event))
				continue
			}
			call := randomCall(random)
			call.Outcome, call.Attempts = usage.Succeeded, nil
			if call.Unpriced {
				call.CostUSD = ""
			} else {
				cost := domain.Amount(0)
				if call.CostUSD != "" {
					cost, _ = domain.ParseAmount(call.CostUSD, 10) // randomCall wrote it
				}
				known[position], sum, first = &cost, sum+cost, first+cost
			}
			calls, positions = append(calls, call), append(positions, position)
			log = append(log, recordedAt(position, 1, usage.Stream(call.CallID), call))
		}
		return log, sum, first
	}
	text := func(ctx context.Context, sql string) []string {
		GinkgoHelper()
		rows, err := b.owner.Query(ctx, sql)
		Expect(err).NotTo(HaveOccurred())
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		return lines
	}

	It("keeps what was recorded, adds what was booked, and is the same wherever batches end", func(ctx context.Context) {
		log, sum, first := randomLog(1, 90)
		whole := map[string][]string{}
		for _, size := range []int{len(log), 1, 7} {
			for _, table := range tables {
				b.exec(ctx, truncate)
				rows := b.rowsOf(ctx, projections.Ledger{}, table, log, size)
				if size == len(log) {
					whole[table] = rows
				}
				Expect(rows).To(Equal(whole[table]), "%s, %d a batch", table, size)
			}
		}
		Expect(len(whole["cost_adjustments"])).To(BeNumerically(">", 30))
		b.exec(ctx, truncate)
		b.projectedBy(ctx, projections.Ledger{}, "acme", log, 7)
		Expect(text(ctx, `select sum(cost_usd)::text from token_ledger`)).To(ConsistOf(first.String()))
		Expect(text(ctx, `select sum(coalesce(corrected_cost_usd, cost_usd))::text from token_ledger`)).To(ConsistOf(sum.String()))
		Expect(text(ctx, `select sum(spend_usd)::text || ' ' || sum(spend_usd - adjusted_usd)::text from cost_daily group by dimension`)).To(HaveEach(sum.String() + " " + first.String()))
		Expect(text(ctx, `select sum(spend_usd)::text from cost_adjusted_days`)).To(ConsistOf((sum - first).String()))
		Expect(text(ctx, `select (sum(unpriced) - (select count(*) from token_ledger where not coalesce(corrected_priced, priced)))::text from cost_daily where dimension = 'user'`)).To(ConsistOf("0"))
		Expect(text(ctx, `select l.recorded_position::text from token_ledger l where corrected_position is distinct from
			(select max(a.recorded_position) from cost_adjustments a where a.call_position = l.recorded_position)`)).To(BeEmpty(), "the last difference counts")
	})

	It("is the same live and rebuilt in one go", func(ctx context.Context) {
		log, _, _ := randomLog(2, 200)
		random := rand.New(rand.NewPCG(7, 7))
		live := b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: 9}, projections.Ledger{})
		dump := func() (all []string) {
			for _, table := range tables {
				all = append(all, text(ctx, `select to_jsonb(t)::text from `+table+` t order by 1`)...)
			}
			return all
		}
		var last int64
		for rest := log; len(rest) > 0; {
			n := min(1+random.IntN(40), len(rest))
			var events []eventstore.NewEvent
			for _, event := range rest[:n] {
				encoded, err := eventcodec.New().Encode(event.Stream, event.Payload)
				Expect(err).NotTo(HaveOccurred())
				events = append(events, encoded)
			}
			rest = rest[n:]
			result, err := b.store.Append(ctx, eventstore.Append{Tenant: "acme", Events: events, Meta: []byte(`{}`)})
			Expect(err).NotTo(HaveOccurred())
			last = result.Last
			Expect(live.Wait(ctx, "acme", last)).To(Succeed())
		}
		want := dump()
		for _, reads := range []int{5, 1000} {
			b.exec(ctx, truncate)
			Expect(b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: reads}, projections.Ledger{}).Wait(ctx, "acme", last)).To(Succeed())
			Expect(dump()).To(Equal(want), "%d a read", reads)
		}
	})

	It("hands rows over once, while a batch goes on, and those of calls first", func() {
		log, _, _ := randomLog(3, 80)
		fold := projections.Ledger{}.Fold()
		handed, corrected := 0, false
		part := func(write func(*projections.Statements)) {
			var out projections.Statements
			corrected = false
			write(&out)
			for sql, args := range out.All() {
				switch {
				case strings.HasPrefix(sql, "insert into token_ledger"):
					Expect(corrected).To(BeFalse(), "a call's row is there before it is corrected")
				case strings.HasPrefix(sql, "update token_ledger"):
					corrected = true
				case strings.HasPrefix(sql, "insert into cost_adjustments"):
					handed += len(args[2].([]int64))
				}
			}
		}
		differences := 0
		for i, event := range log {
			_, is := event.Payload.(costs.CallRepriced)
			event.Payload = projections.Pointer(event.Payload)
			before := fold.Bytes()
			Expect(fold.Add(&event)).To(Succeed())
			if is {
				differences++
				Expect(fold.Bytes()).To(BeNumerically(">", before+500))
			}
			if i%20 == 19 {
				part(fold.Part)
			}
		}
		part(fold.Write)
		Expect(handed).To(Equal(differences))
	})

	It("is stopped by what can't be booked", func() {
		random := rand.New(rand.NewPCG(1, 1))
		for _, spoil := range []func(*costs.CallRepriced){
			func(r *costs.CallRepriced) { r.CallID = "one" }, func(r *costs.CallRepriced) { r.RepricingID = "one" },
			func(r *costs.CallRepriced) { r.KeyID = "mine" }, func(r *costs.CallRepriced) { r.Parts[0].ProviderID = "openai" },
		} {
			call := randomCall(random)
			event := randomRepriced(random, &call, 1, map[int64]*domain.Amount{})
			event.StartedAt = time.Time{}
			spoil(&event)
			Expect(projections.Ledger{}.Project([]projections.Event{recordedAt(2, 2, "usage-x", event)}, &projections.Statements{})).To(MatchError(ContainSubstring("position 2")))
		}
	})
})
