package cli_test

import (
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Calls under a budget that is nearly spent", Label("e2e"), func() {
	const (
		limitUSD = 0.0001
		output   = 20
		// places are those of a recorded cost.
		places = 10
	)

	// spent is what a customer's calls have cost, according to the log.
	spent := func(c *customer) (sum domain.Amount, answered int) {
		GinkgoHelper()
		for _, call := range c.calls() {
			if call.CostUSD == "" {
				continue
			}
			cost, err := domain.ParseAmount(call.CostUSD, places)
			Expect(err).NotTo(HaveOccurred())
			sum += cost
			answered++
		}
		return sum, answered
	}

	It("overspend nothing where hundreds come at once, and nothing after Redis was lost", func() {
		server := newRedisServer()
		server.start()
		place := install(server.env())
		running := place.start()
		c := place.customer()
		upstream := chatting(gateway.OpenAI, "x")
		c.registers("Only", "openai", upstream.URL)
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "x", Usage: domain.Tokens{Input: 1, Output: output}}))
		key, _ := c.makesKey(object{"budget_usd": limitUSD})
		limit, err := domain.ParseAmount("0.0001", places)
		Expect(err).NotTo(HaveOccurred())

		const many = 200
		answers := make([]completion, many)
		atOnce(many, func(index int) {
			answers[index] = c.mustChat(key, talk("hello", object{"max_tokens": output, "stream": index%2 == 0}))
		})
		passed := 0
		for _, answer := range answers {
			if answer.status == http.StatusOK && answer.whole {
				passed++
				continue
			}
			Expect(answer.status).To(Equal(http.StatusTooManyRequests), answer.body)
			Expect(answer.code()).To(Equal("budget_exceeded"))
			Expect(answer.body).To(ContainSubstring(`"insufficient_quota"`))
		}
		refused := func() (sum int64) {
			for _, call := range c.calls() {
				if call.Outcome == calls.Refused {
					Expect(call.Code).To(Equal("budget_exceeded"))
					sum += 1 + call.Suppressed
				}
			}
			return sum
		}
		Eventually(refused).WithTimeout(bound).Should(BeNumerically(">=", 1))
		Expect(refused()).To(BeNumerically("<=", many-passed))
		sum, answered := spent(c)
		Expect(passed).To(And(BeNumerically(">", 0), Equal(answered), BeNumerically("<", many)))
		Expect(sum).To(BeNumerically("<=", limit))
		Expect(posts(upstream)).To(HaveLen(passed), "who was refused has cost nothing")

		By("spending what was set aside and not needed, and no more")
		one := sum / domain.Amount(answered)
		Eventually(func() domain.Amount { // settling follows the answer
			c.mustChat(key, talk("hello", object{"max_tokens": output}))
			now, _ := spent(c)
			return now
		}).WithTimeout(bound).Should(BeNumerically(">", limit-3*one))
		Eventually(func() int { return c.mustChat(key, talk("hello", object{"max_tokens": output})).status }).
			WithTimeout(bound).Should(Equal(http.StatusTooManyRequests))
		sum, answered = spent(c)
		Expect(sum).To(BeNumerically("<=", limit))

		By("knowing it all from the log once Redis has forgotten it")
		running.kill()
		server.kill()
		server.start()
		place.start()
		atOnce(many, func(index int) {
			answers[index] = c.mustChat(key, talk("hello", object{"max_tokens": output}))
		})
		for _, answer := range answers {
			Expect(answer.status).To(Equal(http.StatusTooManyRequests), answer.body)
		}
		after, _ := spent(c)
		Expect(after).To(Equal(sum))
		AddReportEntry("a budget of 0.0001 USD", fmt.Sprintf("%d calls of %d at once, %s USD after %d calls", passed, many, sum, answered))
		place.expectReplayToAgree()
	})
})
