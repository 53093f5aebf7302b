package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the budgets projection", Label("postgres"), func() {
	It("builds the budgets that a plain fold gives, wherever batches end", func(ctx context.Context) {
		b := newBench(ctx)
		random := rand.New(rand.NewPCG(9, 9))
		var log []projections.Event
		states, versions := map[budgets.Subject]budgets.State{}, map[budgets.Subject]int64{}
		for i := range 80 {
			subject := budgets.Subject{Level: budgets.Levels()[random.IntN(4)], ID: []string{"a", "b'; --"}[random.IntN(2)]}
			var event domain.Event = budgets.Removed{Subject: subject}
			if random.IntN(4) > 0 {
				set := budgets.Set{Subject: subject, Config: budgets.Config{
					Budget: domain.Amount(random.Int64N(int64(budgets.MaxBudget/budgets.MicroUSD))) * budgets.MicroUSD, Warn: budgets.Percent(1 + random.Int64N(100_000)),
					Period: []budgets.Period{budgets.Monthly, budgets.Quarterly}[random.IntN(2)],
				}}
				if random.IntN(2) == 0 {
					set.Block = new(budgets.Percent(1 + random.Int64N(100_000)))
				}
				if subject.Level == budgets.Department {
					set.Department = []string{"", "Research"}[random.IntN(2)]
				}
				event = set
			}
			versions[subject]++
			states[subject] = budgets.Decider().Evolve(states[subject], event)
			log = append(log, recordedAt(int64(i+1), versions[subject], budgets.Stream(subject), event))
		}
		whole := b.rowsOf(ctx, projections.Budgets{}, "budgets", log, len(log))
		for _, size := range []int{1, 7} {
			Expect(b.rowsOf(ctx, projections.Budgets{}, "budgets", log, size)).To(Equal(whole))
		}
		var expected []any
		for subject, state := range states {
			matcher := []any{
				fmt.Sprintf(`"level": "%s"`, subject.Level), fmt.Sprintf(`"subject_id": "%s"`, subject.ID), fmt.Sprintf(`"id": "%s"`, budgets.BudgetID(subject)),
				fmt.Sprintf(`"version": %d,`, versions[subject]),
			}
			if state.Exists {
				matcher = append(matcher, `"removed_at": null`, fmt.Sprintf(`"budget_usd": %s,`, state.Budget.String()[:len(state.Budget.String())-4]), fmt.Sprintf(`"period": "%s"`, state.Period),
					fmt.Sprintf(`"warn_threshold_pct": %d.%02d,`, state.Warn/100, state.Warn%100))
				if state.Block == nil {
					matcher = append(matcher, `"block_threshold_pct": null`)
				} else {
					matcher = append(matcher, fmt.Sprintf(`"block_threshold_pct": %d.%02d`, *state.Block/100, *state.Block%100))
				}
			} else {
				matcher = append(matcher, `"removed_at": "`)
			}
			all := make([]OmegaMatcher, len(matcher))
			for i, text := range matcher {
				all[i] = ContainSubstring(text.(string))
			}
			expected = append(expected, And(all...))
		}
		Expect(whole).To(ConsistOf(expected...))
	})
})
