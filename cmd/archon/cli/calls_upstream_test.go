package cli_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Providers that fail", Label("e2e"), Ordered, ContinueOnFailure, func() {
	// silence is how long a provider may keep silent here: more than a healthy one needs on a busy machine.
	const silence = "1500ms"
	var place *installation

	BeforeAll(func() {
		place = install("ARCHON_CALL_FIRST_BYTE_TIMEOUT="+silence, "ARCHON_CALL_IDLE_TIMEOUT="+silence, "ARCHON_LOG_LEVEL=debug")
		place.start()
	})

	// failing is a customer whose first provider is of a type and behaves in a way, and whose second one is well.
	failing := func(kind gateway.ProviderType, behaviour gatewaytest.Behaviour) (c *customer, key, first, second string, healthy *gatewaytest.Server) {
		GinkgoHelper()
		c = place.customer()
		broken := chatting(kind, "from a")
		healthy = chatting(gateway.OpenAI, "from b")
		first = c.registers("A", string(kind), broken.URL)
		second = c.registers("B", "openai", healthy.URL)
		key, _ = c.makesKey(nil)
		broken.Behave(behaviour)
		return c, key, first, second, healthy
	}

	DescribeTable("before the first byte send the call down the chain, plain and streamed",
		func(kind gateway.ProviderType, behaviour gatewaytest.Behaviour, outcome string) {
			c, key, first, second, _ := failing(kind, behaviour)
			c.chains(100, 60, 1, allTriggers, first, second)
			c.sends(first)
			answers := make([]completion, 2)
			atOnce(len(answers), func(index int) { answers[index] = c.mustChat(key, talk("hello", object{"stream": index == 1})) })
			for _, answer := range answers {
				Expect(answer.status).To(Equal(http.StatusOK), answer.body)
				Expect(answer.text).To(Equal("from b"), "%v", answer.events)
				Expect(answer.whole).To(BeTrue())
			}
			log := c.calls()
			Expect(log).To(HaveLen(2))
			for _, call := range log {
				Expect(call.Attempts).To(HaveLen(2))
				Expect(call.Attempts[0].ProviderID).To(Equal(first))
				// Both at once: what the first one came to may keep the second one from asking.
				Expect(outcomesOf(call)).To(Or(Equal([]string{outcome, "succeeded"}), Equal([]string{"breaker_open", "succeeded"})))
				Expect(call.Outcome).To(Equal(calls.Succeeded))
				Expect(call.ProviderID).To(Equal(second))
			}
			Expect(append(outcomesOf(log[0]), outcomesOf(log[1])...)).To(ContainElement(outcome))
		},
		Entry("silent", gateway.OpenAI, gatewaytest.Hang(), "timeout"),
		Entry("silent after the header", gateway.OpenAI, gatewaytest.HangAfterHeader(), "timeout"),
		Entry("closing the connection", gateway.OpenAI, gatewaytest.Abort(), "server_error"),
		Entry("500", gateway.OpenAI, gatewaytest.Failing(500), "server_error"),
		Entry("503", gateway.Google, gatewaytest.Failing(503), "server_error"),
		Entry("529 of Anthropic's", gateway.Anthropic, gatewaytest.Failing(529), "server_error"),
		Entry("429 with Retry-After", gateway.OpenAI, gatewaytest.RateLimited(9*time.Second), "rate_limit"),
		Entry("429 without Retry-After", gateway.Mistral, gatewaytest.RateLimited(0), "rate_limit"),
		Entry("401, which no trigger names", gateway.OpenAI, gatewaytest.Failing(401), "dead"),
		Entry("a web page under 200", gateway.OpenAI, gatewaytest.Garbage(), "server_error"),
		Entry("broken JSON under 200", gateway.OpenAI, gatewaytest.Answer(200, `{"choices":[{"mess`), "server_error"),
		Entry("an error under 200", gateway.OpenAI, gatewaytest.ErrorInAnswer(), "server_error"),
	)

	It("refusing connections send the call down the chain, too", func() {
		c, key, _, second, _ := failing(gateway.OpenAI, gatewaytest.Hang())
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		Expect(listener.Close()).To(Succeed())
		gone := c.registers("Gone", "openai", "http://"+listener.Addr().String())
		c.chains(100, 60, 1, allTriggers, second)
		c.sends(gone)
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("from b"))
		Expect(outcomesOf(c.calls()[0])).To(Equal([]string{"server_error", "succeeded"}))
	})

	DescribeTable("with nobody behind them are reported in OpenAI's format",
		func(kind gateway.ProviderType, behaviour gatewaytest.Behaviour, status int, code, retryAfter, then string) {
			c, key, first, _, healthy := failing(kind, behaviour)
			c.chains(100, 60, 1, allTriggers)
			c.sends(first)
			for _, streamed := range []bool{false, true} {
				answer := c.mustChat(key, talk("hello", object{"stream": streamed}))
				if streamed && then != "" {
					status, code = http.StatusServiceUnavailable, then
				}
				Expect(answer.status).To(Equal(status), answer.body)
				Expect(answer.code()).To(MatchRegexp("^("+code+")$"), answer.body)
				if !streamed {
					Expect(answer.header.Get("Retry-After")).To(MatchRegexp("^" + retryAfter + "$"))
				}
			}
			Expect(posts(healthy)).To(BeEmpty())
			for _, call := range c.calls() {
				Expect(call.Outcome).To(Equal(calls.Failed))
				Expect(call.Tokens.Total()).To(BeZero())
				if status == http.StatusGatewayTimeout { // it was given up while it may have been working
					Expect(call.Attempts[0].Source).To(Equal("estimated"))
					Expect(call.CostUSD).To(And(Not(BeEmpty()), Equal(call.Attempts[0].CostUSD)))
					continue
				}
				Expect(call.CostUSD).To(BeEmpty())
			}
		},
		Entry("500", gateway.OpenAI, gatewaytest.Failing(500), 502, "server_error", "", ""),
		Entry("529", gateway.Anthropic, gatewaytest.Failing(529), 502, "overloaded_error", "", ""),
		Entry("silence", gateway.OpenAI, gatewaytest.Hang(), 504, "first_byte_timeout", "", ""),
		Entry("a web page", gateway.OpenAI, gatewaytest.Garbage(), 502, "bad_answer|stream_cut", "", ""),
		Entry("429 for 9 s", gateway.OpenAI, gatewaytest.RateLimited(9*time.Second), 429, "rate_limit_exceeded", "9", "providers_unavailable"),
		Entry("429", gateway.OpenAI, gatewaytest.RateLimited(0), 429, "rate_limit_exceeded", `[1-5]`, "providers_unavailable"),
		Entry("401", gateway.OpenAI, gatewaytest.Failing(401), 502, "provider_refused", "", "providers_unavailable"),
		Entry("400, which is the caller's", gateway.OpenAI, gatewaytest.Failing(400), 400, "invalid_request_error", "", ""),
	)

	DescribeTable("after the first byte end the stream with an error, and nobody else is asked",
		func(kind gateway.ProviderType, behaviour gatewaytest.Behaviour, outcome string) {
			c, key, first, second, healthy := failing(kind, behaviour)
			c.chains(100, 60, 1, allTriggers, first, second)
			c.sends(first)
			answer := c.mustChat(key, talk("hello", object{"stream": true}))
			Expect(answer.status).To(Equal(http.StatusOK))
			Expect(answer.text).To(And(Not(BeEmpty()), HavePrefix("one"), Not(Equal("one two three four"))))
			Expect(answer.whole).To(BeFalse(), "no [DONE]: %v", answer.events)
			conformProblem("the last event", answer.events[len(answer.events)-1])
			Expect(posts(healthy)).To(BeEmpty())
			call := c.calls()[0]
			Expect(outcomesOf(call)).To(Equal([]string{outcome}))
			Expect(call.Outcome).To(Equal(calls.Incomplete))
			Expect(call.CallID).To(Equal(answer.callID()))
			Expect(call.Tokens.Total()).To(BeNumerically(">", 0), "what has come so far is counted")
			Expect(call.Source).To(BeElementOf("estimated", "provider"))
		},
		Entry("cut", gateway.OpenAI, gatewaytest.CutMidAnswer(long()), "server_error"),
		Entry("ended as if all were well", gateway.OpenAI, gatewaytest.EndMidAnswer(long()), "server_error"),
		Entry("ended as if all were well, by Google", gateway.Google, gatewaytest.EndMidAnswer(long()), "server_error"),
		Entry("an error event under 200", gateway.OpenAI, gatewaytest.ErrorMidAnswer(long()), "server_error"),
		Entry("an error event under 200, of Anthropic's", gateway.Anthropic, gatewaytest.ErrorMidAnswer(long()), "server_error"),
		Entry("silence", gateway.OpenAI, gatewaytest.HangMidAnswer(long()), "timeout"),
	)

	DescribeTable("in the middle of an answer that is not streamed send the call down the chain", func(behaviour gatewaytest.Behaviour, outcome string) {
		c, key, first, second, _ := failing(gateway.OpenAI, behaviour)
		c.chains(100, 60, 1, allTriggers, first, second)
		c.sends(first)
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("from b"))
		Expect(outcomesOf(c.calls()[0])).To(Equal([]string{outcome, "succeeded"}))
	},
		Entry("cut", gatewaytest.CutMidAnswer(long()), "server_error"),
		Entry("ended as if all were well", gatewaytest.EndMidAnswer(long()), "server_error"),
		Entry("silence", gatewaytest.HangMidAnswer(long()), "timeout"),
	)

	DescribeTable("send nothing down a chain that does not name the trigger", func(behaviour gatewaytest.Behaviour, trigger string, status int) {
		c, key, first, second, healthy := failing(gateway.OpenAI, behaviour)
		others := []string{}
		for _, other := range allTriggers {
			if other != trigger {
				others = append(others, other)
			}
		}
		c.chains(100, 60, 1, others, first, second)
		c.sends(first)
		refused := c.mustChat(key, talk("hello"))
		Expect(refused.status).To(Equal(status), refused.body)
		Expect(posts(healthy)).To(BeEmpty())
		Expect(outcomesOf(c.calls()[0])).To(Equal([]string{trigger}))
	},
		Entry("server_error", gatewaytest.Failing(500), "server_error", 502),
		Entry("rate_limit", gatewaytest.RateLimited(9*time.Second), "rate_limit", 429),
		Entry("timeout", gatewaytest.Failing(504), "timeout", 504),
		Entry("content_policy", gatewaytest.Chat(gatewaytest.Reply{Text: "x", FinishReason: "content_filter"}), "content_policy", 400),
	)

	It("that filter content send the call down a chain that names this trigger", func() {
		c, key, first, second, _ := failing(gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: "x", FinishReason: "content_filter"}))
		c.chains(100, 60, 1, allTriggers, first, second)
		c.sends(first)
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("from b"))
		Expect(outcomesOf(c.calls()[0])).To(Equal([]string{"content_policy", "succeeded"}))
	})

	It("that report no usage have it estimated, and say so", func() {
		for _, kind := range []gateway.ProviderType{gateway.OpenAI, gateway.Anthropic} {
			c, key, first, _, _ := failing(kind, gatewaytest.Chat(gatewaytest.Reply{Text: "one two three four", NoUsage: true}))
			c.sends(first)
			for _, streamed := range []bool{false, true} {
				answer := c.mustChat(key, talk("hello, how do you do?", object{"stream": streamed}))
				Expect(answer.text).To(Equal("one two three four"), answer.body)
			}
			for _, call := range c.calls() {
				Expect(call.Source).To(Equal("estimated"))
				Expect(call.Tokens.Prompt()).To(BeNumerically(">", 0))
				Expect(call.Tokens.Completion()).To(BeNumerically(">", 0))
				Expect(call.Unpriced || call.CostUSD != "").To(BeTrue())
			}
		}
	})

	It("that send megabytes in a piece are passed on whole", func() {
		text := strings.Repeat("lorem ipsum ", 4<<20/12)
		c, key, first, _, _ := failing(gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: text, Chunks: 4}))
		c.sends(first)
		for _, streamed := range []bool{false, true} {
			answer := c.mustChat(key, talk("hello", object{"stream": streamed}))
			Expect(answer.whole).To(BeTrue(), answer.problem())
			Expect(answer.text).To(HaveLen(len(text)))
		}
	})

	It("are taken in to the end where the client goes away, and what they count is recorded", func() {
		for _, streamed := range []bool{true, false} {
			c := place.customer()
			upstream := newPausing()
			c.sends(c.registers("Slow", "openai", upstream.URL))
			key, _ := c.makesKey(nil)
			ctx, leave := context.WithCancel(context.Background())
			left := make(chan completion, 1)
			go func() { left <- c.chat(ctx, key, talk("hello", object{"stream": streamed})) }()
			Eventually(upstream.begun).WithTimeout(bound).Should(Receive())
			leave()
			var got completion
			Eventually(left).WithTimeout(bound).Should(Receive(&got))
			Expect(got.whole).To(BeFalse())
			c.must(http.MethodGet, "/health", "", nil) // by now the node knows that the other connection has gone
			close(upstream.goOn)
			Eventually(c.calls).WithTimeout(bound).Should(HaveLen(1))
			call := c.calls()[0]
			Expect(call.Outcome).To(Equal(calls.Cancelled))
			Expect(call.Source).To(Equal("provider"))
			Expect(call.Tokens.Prompt()).To(BeEquivalentTo(12))
			Expect(call.Tokens.Completion()).To(BeEquivalentTo(7))
			Expect(call.CostUSD).NotTo(BeEmpty())
		}
	})

	It("leave a log that agrees with the decisions made again, and that verifies", func() {
		place.expectReplayToAgree()
	})
})

// long is an answer that comes in pieces enough to be cut between them.
func long() gatewaytest.Reply { return gatewaytest.Reply{Text: "one two three four", Chunks: 4} }

// expectReplayToAgree runs `archon routing replay` over everything that is in the log, and verifies it.
func (i *installation) expectReplayToAgree() {
	GinkgoHelper()
	stdout, stderr, code := i.run("routing", "replay")
	Expect(code).To(Equal(good), stdout+stderr)
	Expect(stdout).To(MatchRegexp(`[1-9]\d* `))
	stdout, stderr, code = i.run("audit", "verify")
	Expect(code).To(Equal(good), stdout+stderr)
}
