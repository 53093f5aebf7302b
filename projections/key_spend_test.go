package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the key_spend projection", Label("postgres"), func() {
	It("comes to the exact sum of what each key's calls have cost, wherever batches end", func(ctx context.Context) {
		b := newBench(ctx)
		random := rand.New(rand.NewPCG(3, 4))
		ids := []string{"", uuid.NewString(), uuid.NewString(), uuid.NewString()}
		sums, calls := map[string]domain.Amount{}, map[string]int{}
		var log []projections.Event
		for position := range int64(200) {
			id := ids[random.IntN(len(ids))]
			recorded := usage.Recorded{CallID: uuid.NewString(), KeyID: id, Unpriced: true}
			if random.IntN(5) > 0 {
				cost := domain.Amount(random.Int64N(int64(3 * domain.USD)))
				recorded.CostUSD, recorded.Unpriced = cost.String(), false
				sums[id] += cost
			}
			calls[id]++
			log = append(log, recordedAt(position+1, 1, usage.Stream(recorded.CallID), recorded))
		}
		var expected []any
		for _, id := range ids[1:] {
			expected = append(expected, And(
				ContainSubstring(`"key_id": "`+id+`"`), ContainSubstring(`"spent_usd": `+sums[id].String()), ContainSubstring(fmt.Sprintf(`"calls": %d`, calls[id]))))
		}
		whole := b.rowsOf(ctx, projections.KeySpend{}, "api_key_spend", log, len(log))
		Expect(whole).To(ConsistOf(expected...))
		for _, size := range []int{1, 7, 64} {
			Expect(b.rowsOf(ctx, projections.KeySpend{}, "api_key_spend", log, size)).To(Equal(whole))
		}
		log[0].Payload = usage.Recorded{KeyID: ids[1], CostUSD: "much"}
		Expect(projections.KeySpend{}.Project(log[:1], &projections.Statements{})).NotTo(Succeed())
	})
})
