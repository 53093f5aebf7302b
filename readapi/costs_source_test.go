package readapi_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/readapi"
)

var _ = Describe("sums of costs", Label("postgres"), func() {
	It("are those of the calls that were recorded by then, whatever the span and the position", func(ctx context.Context) {
		const calls, asked = 240, 120
		f, random := newFixture(ctx), rand.New(rand.NewPCG(11, 12))
		first := time.Date(2026, 2, 25, 0, 0, 0, 0, time.UTC)
		ids := []string{uuid.NewString(), uuid.NewString(), ""}
		truth := make([]bill, calls)
		for i := range truth {
			truth[i] = randomBill(random, ids, first.AddDate(0, 0, i/40)) // days are recorded mostly in their order
			f.append(ctx, tenant, usage.Stream(truth[i].CallID), domain.Meta{Actor: domain.Actor{ID: "gateway", Type: domain.System}}, truth[i].Recorded)
		}
		f.project(ctx, tenant)
		_, err := f.owner.Exec(ctx, `analyze token_ledger; analyze cost_daily`)
		Expect(err).NotTo(HaveOccurred())

		dimensions := []string{"total", "provider", "model", "department", "agent", "user"}
		for range asked {
			from := first.Add(time.Duration(random.IntN(8*24)) * time.Hour)
			until := from.Add(time.Duration(1+random.IntN(6*24)) * time.Hour)
			if random.IntN(3) == 0 {
				from, until = from.Truncate(24*time.Hour), until.Truncate(24*time.Hour).AddDate(0, 0, 1)
			}
			var position *int64
			last := int64(calls)
			if random.IntN(4) > 0 {
				last = int64(random.IntN(calls + 2))
				position = &last
			}
			want := map[string]sums{}
			for i := range truth {
				if int64(i) < last && !truth[i].StartedAt.Before(from) && truth[i].StartedAt.Before(until) {
					truth[i].addTo(want)
				}
			}
			rows, err := f.owner.Query(ctx, `select dimension || '|' || day || '|' || key as name, sum(spend_usd)::text as cost, sum(prompt_tokens)::bigint as prompt,
					sum(completion_tokens)::bigint as completion, sum(requests)::bigint as requests
				from (`+readapi.SourceOf(from, until, position, dimensions)+`) s group by 1
				having sum(requests) > 0 or sum(prompt_tokens) + sum(completion_tokens) > 0 or sum(spend_usd) <> 0`, tenant, from, until, position, dimensions)
			Expect(err).NotTo(HaveOccurred())
			got := map[string]sums{}
			read, err := pgx.CollectRows(rows, pgx.RowToStructByName[struct {
				Name, Cost                   string
				Prompt, Completion, Requests int64
			}])
			Expect(err).NotTo(HaveOccurred())
			for _, row := range read {
				cost, err := domain.ParseAmount(row.Cost, domain.AmountPlaces)
				Expect(err).NotTo(HaveOccurred())
				got[row.Name] = sums{cost, row.Prompt, row.Completion, row.Requests}
			}
			Expect(got).To(Equal(want), "%s until %s, up to %d of %d", from, until, last, calls)
		}
	})
})

type sums struct {
	cost                         domain.Amount
	prompt, completion, requests int64
}

// bill is a call with the provider, model, tokens and cost of each attempt that consumed something; the first is the one
// that answered.
type bill struct {
	usage.Recorded

	lines []usage.Attempt
	costs []domain.Amount
}

func randomBill(random *rand.Rand, ids []string, day time.Time) bill {
	one := bill{Recorded: usage.Recorded{
		CallID: uuid.NewString(), Kind: usage.Chat, Outcome: usage.Succeeded, UserID: fmt.Sprint("u", random.IntN(3)),
		DepartmentID: []string{"", "research"}[random.IntN(2)], AgentID: []string{"", "scout"}[random.IntN(2)],
		StartedAt: day.Add(time.Duration(random.Int64N(int64(30 * time.Hour)))).Truncate(time.Hour), // moments meet the ends of spans
	}}
	if random.IntN(20) == 0 {
		one.StartedAt = one.StartedAt.AddDate(0, 0, -1) // recorded late
	}
	var sum domain.Amount
	for i := range 1 + max(random.IntN(5)-2, 0) {
		line := usage.Attempt{
			ProviderID: ids[random.IntN(len(ids))], Model: []string{"m", "n"}[random.IntN(2)], Tokens: domain.Tokens{Input: random.Int64N(99), Output: 1 + random.Int64N(9)},
		}
		cost := domain.Amount(random.Int64N(int64(domain.USD)))
		line.CostUSD, sum = cost.String(), sum+cost
		one.lines, one.costs = append(one.lines, line), append(one.costs, cost)
		if i > 0 {
			one.Attempts = append(one.Attempts, line)
		}
	}
	one.ProviderID, one.Model, one.Tokens, one.CostUSD = one.lines[0].ProviderID, one.lines[0].Model, one.lines[0].Tokens, sum.String()
	return one
}

func (b *bill) addTo(rows map[string]sums) {
	add := func(dimension, key string, line int, requests int64) {
		name := dimension + "|" + b.StartedAt.Format(time.DateOnly) + "|" + key
		row := rows[name]
		row.cost += b.costs[line]
		row.prompt += b.lines[line].Tokens.Prompt()
		row.completion += b.lines[line].Tokens.Completion()
		row.requests += requests
		rows[name] = row
	}
	for i := range b.lines {
		requests := int64(max(1-i, 0))
		add("provider", b.lines[i].ProviderID, i, requests)
		add("model", b.lines[i].Model, i, requests)
		for dimension, key := range map[string]string{"total": "", "department": b.DepartmentID, "agent": b.AgentID, "user": b.UserID} {
			add(dimension, key, i, requests)
		}
	}
}
