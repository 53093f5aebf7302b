package plane_test

import (
	"context"
	"io"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

// costOf is a decimal of a record as an amount.
func costOf(decimal string) domain.Amount {
	GinkgoHelper()
	cost, err := domain.ParseAmount(decimal, 10)
	Expect(err).NotTo(HaveOccurred())
	return cost
}

var _ = Describe("A budget", func() {
	// Of gpt-4o-mini, 1,000 output tokens cost 0.0006 USD; prompts of these specs next to nothing.
	const answerUSD = domain.Amount(600_000) * domain.NanoUSD
	budgetOf := func(w *world, answers float64) keys.Key {
		nano := int64(float64(answerUSD/domain.NanoUSD)*answers) + 50_000
		key, _ := w.key(keys.Config{BudgetNanoUSD: &nano})
		return key
	}

	It("counts every answer that a call asks for at once", func(ctx context.Context) {
		w := newWorld()
		server := w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		_, problem := w.Chat(ctx, w.with(budgetOf(w, 2), `,"max_tokens":1000,"n":3`))
		Expect(problem).To(HaveField("Code", "budget_exceeded"))
		Expect(server.Requests()).To(BeEmpty())
		_, problem = w.Chat(ctx, w.with(budgetOf(w, 3), `,"max_tokens":1000,"n":3`))
		Expect(problem).ToNot(HaveOccurred())
	})

	It("is not for what may cost more than any budget", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		most := int64(100_000_000) * int64(domain.USD/domain.NanoUSD)
		key, _ := w.key(keys.Config{BudgetNanoUSD: &most})
		_, problem := w.Chat(ctx, w.with(key, `,"max_tokens":1099511627776,"n":128`))
		Expect(problem).To(And(HaveField("Code", "budget_exceeded"), HaveField("Message", ContainSubstring("max_tokens"))))
		_, problem = w.Chat(ctx, w.with(key, ""))
		Expect(problem).ToNot(HaveOccurred())
	})

	It("is charged in full for a call that was given up while a provider worked on it", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Hang())
		next := w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		key := budgetOf(w, 1.5)
		_, problem := w.Chat(ctx, w.with(key, `,"max_tokens":1000`))
		Expect(problem).To(HaveField("Status", http.StatusGatewayTimeout))
		Expect(next.Requests()).To(BeEmpty(), "there is not enough left for another attempt")
		recorded := w.one()
		Expect(recorded.Attempts).To(HaveLen(1))
		attempt := recorded.Attempts[0]
		Expect(attempt.Source).To(Equal("estimated"))
		Expect(attempt.Tokens.Output).To(BeEquivalentTo(1000))
		Expect(costOf(attempt.CostUSD)).To(BeNumerically(">=", answerUSD))
		Expect(recorded.CostUSD).To(Equal(attempt.CostUSD))
		Expect(recorded.Tokens.Total()).To(BeZero())
		Eventually(func() string { // what is left, once it is settled
			_, problem := w.Chat(ctx, w.with(key, `,"max_tokens":1000`))
			return problem.Message
		}).WithTimeout(bound).Should(ContainSubstring("are spent or set aside"))
	})

	It("pays for both attempts where the first had to be given up", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Hang())
		w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
		result, problem := w.Chat(ctx, w.with(budgetOf(w, 2.5), `,"max_tokens":1000`))
		Expect(problem).ToNot(HaveOccurred())
		Expect(result.Content).To(Equal("from b"))
		recorded := w.one()
		Expect(recorded.Tokens.Total()).To(BeEquivalentTo(120))
		Expect(costOf(recorded.CostUSD)).To(And(
			BeNumerically(">", costOf(recorded.Attempts[0].CostUSD)), BeNumerically("<", 2*answerUSD)))
	})
})

var _ = Describe("An attempt without an answer", func() {
	It("costs what the provider has counted where it withheld its answer", func(ctx context.Context) {
		for _, stream := range []string{"", `,"stream":true`} {
			w := newWorld()
			w.upstream("a", gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{FinishReason: "content_filter", Usage: domain.Tokens{Input: 100, Output: 20}}))
			w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
			w.change(func(c *plane.Configuration) {
				c.Fallback.Triggers = []routing.Trigger{routing.Trigger(dialect.ContentPolicy)}
			})
			if stream == "" {
				_, problem := w.Chat(ctx, w.call(""))
				Expect(problem).ToNot(HaveOccurred())
			} else {
				answer, problem := w.StreamChat(ctx, w.call(stream))
				Expect(problem).ToNot(HaveOccurred())
				_, err := drain(ctx, answer)
				Expect(err).To(MatchError(io.EOF))
				answer.Close(ctx)
			}
			recorded := w.one()
			Expect(recorded.Attempts[0].Tokens.Total()).To(BeEquivalentTo(120), stream)
			Expect(recorded.Attempts[0].Source).To(Equal("provider"))
			Expect(costOf(recorded.CostUSD)).To(Equal(2 * costOf(recorded.Attempts[0].CostUSD)))
		}
	})

	It("costs nothing where the provider refused or could not be reached", func(ctx context.Context) {
		for _, behaviour := range []gatewaytest.Behaviour{
			gatewaytest.Failing(http.StatusInternalServerError), gatewaytest.RateLimited(0), gatewaytest.ErrorInAnswer(), gatewaytest.Abort(), gatewaytest.Garbage(),
		} {
			w := newWorld()
			w.upstream("a", gateway.OpenAI, behaviour)
			nano := int64(1_000_000_000)
			key, _ := w.key(keys.Config{BudgetNanoUSD: &nano})
			_, problem := w.Chat(ctx, w.with(key, ""))
			Expect(problem).To(HaveOccurred())
			Expect(w.one().CostUSD).To(BeEmpty())
		}
	})
})
