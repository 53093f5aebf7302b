package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

// randomRouting is a log of rulesets, whose rules come, go and come again, and of chains.
func randomRouting(seed uint64, n int) []projections.Event {
	random := rand.New(rand.NewPCG(seed, 3))
	var log []projections.Event
	versions := map[string]int64{}
	for i := range n {
		var payload eventstore.Typed
		stream := routing.RulesetStream("acme")
		if random.IntN(4) == 0 {
			stream = routing.FallbackStream("acme")
			fallback := routing.DefaultFallback()
			fallback.Breaker.FailureThreshold = i
			payload = routing.FallbackReplaced{Fallback: fallback}
		} else {
			ruleset := routing.Ruleset{Rules: []routing.Rule{}}
			for _, id := range random.Perm(4)[:random.IntN(4)] {
				ruleset.Rules = append(ruleset.Rules, routing.Rule{
					ID: fmt.Sprint("r", id), Name: fmt.Sprint("at ", i), Priority: random.Int64N(3), IsEnabled: random.IntN(2) == 0,
					Conditions: []routing.Condition{{Field: routing.LatencyTarget, Operator: routing.Less, Value: routing.Value{Number: json.Number(fmt.Sprint(i))}}},
					Action:     routing.Action{Type: routing.Direct, Targets: []routing.Target{{ProviderID: "p", Weight: routing.One / 4}}},
				})
			}
			if random.IntN(2) == 0 {
				ruleset.Default = &routing.Default{ProviderID: "p"}
			}
			payload = routing.RulesetReplaced{Ruleset: ruleset}
		}
		versions[stream]++
		log = append(log, recordedAt(int64(i+1), versions[stream], stream, payload))
	}
	return log
}

var _ = Describe("the routing projection", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	project := func(ctx context.Context, tenant string, log []projections.Event, batch int) []string {
		GinkgoHelper()
		b.projectedBy(ctx, projections.Routing{}, tenant, log, batch)
		var all []string
		for _, table := range []string{"routing_rulesets", "routing_rules", "fallback_chains"} {
			rows, err := b.owner.Query(ctx, `select '`+table+`' || (to_jsonb(t) - 'tenant_id' - case when '`+table+`' = 'fallback_chains' then 'id' else '' end)::text
				from `+table+` t where tenant_id = $1 order by 1`, tenant)
			Expect(err).NotTo(HaveOccurred())
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			Expect(err).NotTo(HaveOccurred())
			all = append(all, lines...)
		}
		return all
	}

	DescribeTable("builds the same rows wherever batches end", func(ctx context.Context, seed uint64) {
		log := randomRouting(seed, 60)
		whole := project(ctx, "whole", log, len(log))
		Expect(project(ctx, "one", log, 1)).To(Equal(whole))
		Expect(project(ctx, "some", log, 7)).To(Equal(whole))
		Expect(whole).NotTo(BeEmpty())
	}, Entry(nil, uint64(1)), Entry(nil, uint64(2)), Entry(nil, uint64(3)), Entry(nil, uint64(4)))

	It("has the columns that the contract names, with a rule's first time since it came", func(ctx context.Context) {
		log := randomRouting(5, 60)
		for i, ids := range [][]string{{"r0"}, {"r1", "r0"}, {"r0", "r1"}} { // r0 stays, at another place
			ruleset := routing.Ruleset{}
			for _, id := range ids {
				ruleset.Rules = append(ruleset.Rules, routing.Rule{ID: id, Name: fmt.Sprint(i), Conditions: []routing.Condition{}, Action: routing.Action{Targets: []routing.Target{}}})
			}
			event := log[len(log)-1]
			event.Payload, event.OccurredAt = routing.RulesetReplaced{Ruleset: ruleset}, event.OccurredAt+time.Minute.Microseconds()
			log = append(log, event)
		}
		project(ctx, "acme", log, 9)
		type row struct {
			ID, Name   string
			Priority   int64
			Conditions []routing.Condition
			Action     routing.Action
			IsEnabled  bool
			CreatedAt  time.Time
		}
		want := []row{}
		came := map[string]time.Time{}
		for _, event := range log {
			replaced, is := event.Payload.(routing.RulesetReplaced)
			if !is {
				continue
			}
			still := map[string]time.Time{}
			want = nil
			for _, rule := range replaced.Rules {
				still[rule.ID] = event.Time()
				if at, was := came[rule.ID]; was {
					still[rule.ID] = at
				}
				want = append(want, row{rule.ID, rule.Name, rule.Priority, rule.Conditions, rule.Action, rule.IsEnabled, still[rule.ID]})
			}
			came = still
		}
		got := collect[row](ctx, b, `select id, name, priority, conditions, action, is_enabled, created_at from routing_rules where tenant_id = 'acme' order by place`)
		for i := range got {
			got[i].CreatedAt = got[i].CreatedAt.UTC()
		}
		Expect(want).NotTo(BeEmpty())
		Expect(got).To(HaveLen(len(want)))
		for i := range want {
			Expect(got[i]).To(Equal(want[i]))
		}
		type chain struct {
			ID       string
			Chain    []routing.Entry
			Breaker  routing.Breaker
			Triggers []routing.Trigger
		}
		chains := collect[chain](ctx, b, `select id::text, chain, circuit_breaker_config, failover_triggers from fallback_chains where tenant_id = 'acme'`)
		Expect(chains).To(HaveLen(1))
		Expect(chains[0].ID).To(Equal(routing.FallbackID("acme")))
		Expect(chains[0].Triggers).To(Equal(routing.DefaultFallback().Triggers))
	})
})
