package plane_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

// outcomes are what became of a call's attempts.
func outcomes(recorded usage.Recorded) []string {
	list := []string{}
	for _, attempt := range recorded.Attempts {
		list = append(list, attempt.Outcome)
	}
	return list
}

var _ = Describe("A call", func() {
	It("is answered and recorded with what it consumed and cost, and nothing of what was said", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("the-answer-3c")))
		result, problem := w.Chat(ctx, w.call(""))
		Expect(problem).ToNot(HaveOccurred())
		Expect(result.Content).To(Equal("the-answer-3c"))
		Expect(result.Position).To(BeEquivalentTo(1))
		recorded := w.one()
		Expect(recorded.Outcome).To(Equal(usage.Succeeded))
		Expect(recorded.Tokens.Input).To(BeEquivalentTo(100))
		Expect(recorded.Source).To(Equal("provider"))
		Expect(recorded.CostUSD).To(Equal("0.0000270000"), "100 at 0.15 and 20 at 0.60 USD a million")
		Expect(recorded.Unpriced).To(BeFalse())
		Expect(outcomes(recorded)).To(Equal([]string{"succeeded"}))
		Expect(recorded.FirstTokenUS).To(BeNumerically(">", 0))
		Expect(recorded.LatencyUS).To(BeNumerically(">=", recorded.FirstTokenUS))
		everything, err := json.Marshal(recorded)
		Expect(err).NotTo(HaveOccurred())
		for _, private := range []string{prompt, "the-answer-3c", secret} {
			Expect(string(everything)).NotTo(ContainSubstring(private))
			Expect(w.logged.String()).NotTo(ContainSubstring(private))
		}
	})

	DescribeTable("goes down the chain on a failure that is a trigger, and stays where it is not",
		func(ctx context.Context, first gatewaytest.Behaviour, expected []string, status int) {
			w := newWorld()
			w.upstream("a", gateway.OpenAI, first)
			w.upstream("b", gateway.Anthropic, gatewaytest.Chat(reply("from b")))
			result, problem := w.Chat(ctx, w.call(""))
			if status == http.StatusOK {
				Expect(problem).ToNot(HaveOccurred())
				Expect(result.Content).To(Equal("from b"))
			} else {
				Expect(problem).To(HaveOccurred())
				Expect(problem.Status).To(Equal(status))
			}
			recorded := w.one()
			Expect(outcomes(recorded)).To(Equal(expected))
			Expect(recorded.Status).To(Equal(status))
		},
		Entry("500", gatewaytest.Failing(500), []string{"server_error", "succeeded"}, 200),
		Entry("503", gatewaytest.Failing(503), []string{"server_error", "succeeded"}, 200),
		Entry("429", gatewaytest.RateLimited(0), []string{"rate_limit", "succeeded"}, 200),
		Entry("a wrong key, which no trigger names", gatewaytest.Failing(401), []string{"dead", "succeeded"}, 200),
		Entry("silence", gatewaytest.Hang(), []string{"timeout", "succeeded"}, 200),
		Entry("a broken connection", gatewaytest.Abort(), []string{"server_error", "succeeded"}, 200),
		Entry("a web page", gatewaytest.Garbage(), []string{"server_error", "succeeded"}, 200),
		Entry("a request that the provider does not take", gatewaytest.Failing(400), []string{"bad_request"}, 400),
		Entry("a content policy that the chain does not name", gatewaytest.Chat(gatewaytest.Reply{Text: "x", FinishReason: "content_filter"}), []string{"content_policy"}, 400),
	)

	It("follows the chain on a content policy where that is a trigger", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: "x", FinishReason: "content_filter"}))
		w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
		w.change(func(c *plane.Configuration) { c.Fallback.Triggers = append(c.Fallback.Triggers, "content_policy") })
		result, problem := w.Chat(ctx, w.call(""))
		Expect(problem).ToNot(HaveOccurred())
		Expect(result.Content).To(Equal("from b"))
	})

	It("asks the last provider once more, and says how it failed when that is in vain", func(ctx context.Context) {
		w := newWorld()
		server := w.upstream("a", gateway.OpenAI, gatewaytest.Failing(500))
		_, problem := w.Chat(ctx, w.call(""))
		Expect(problem.Status).To(Equal(http.StatusBadGateway))
		Expect(server.Requests()).To(HaveLen(2))
		Expect(outcomes(w.one())).To(Equal([]string{"server_error", "server_error"}))
		Expect(w.one().Outcome).To(Equal(usage.Failed))

		limited := newWorld()
		limited.upstream("a", gateway.OpenAI, gatewaytest.RateLimited(7*time.Second))
		_, problem = limited.Chat(ctx, limited.call(""))
		Expect(problem.Status).To(Equal(http.StatusTooManyRequests))
		Expect(problem.RetryAfter).To(BeNumerically("~", 7*time.Second, time.Second))
		Expect(outcomes(limited.one())).To(Equal([]string{"rate_limit"}), "7 s are too long to wait here")
	})

	It("passes providers over whose breaker is open, and is refused at once where there is nobody else", func(ctx context.Context) {
		w := newWorld()
		server := w.upstream("a", gateway.OpenAI, gatewaytest.Failing(503))
		w.change(func(c *plane.Configuration) { c.Fallback.Breaker.FailureThreshold = 2 })
		_, problem := w.Chat(ctx, w.call("")) // two attempts
		Expect(problem.Status).To(Equal(http.StatusBadGateway))
		_, problem = w.Chat(ctx, w.call(""))
		Expect(problem.Status).To(Equal(http.StatusServiceUnavailable))
		Expect(problem.RetryAfter).To(BeNumerically("~", time.Minute, 5*time.Second))
		Expect(server.Requests()).To(HaveLen(2))
		calls := w.calls()
		Expect(outcomes(calls[1])).To(Equal([]string{"breaker_open"}))
	})

	It("is refused where nobody can serve it, with the decision on record", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")), func(p *plane.Provider) { p.Config.Capabilities = nil })
		_, problem := w.Chat(ctx, w.call(`,"response_format":{"type":"json_object"}`))
		Expect(problem.Code).To(Equal("no_provider"))
		Expect(string(w.one().Decision)).To(ContainSubstring("json_mode"))
	})

	It("goes on to the next provider where the credentials of one can't be read", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")), func(p *plane.Provider) { p.Secret.SecretVersion = 0 })
		w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
		result, problem := w.Chat(ctx, w.call(""))
		Expect(problem).ToNot(HaveOccurred())
		Expect(result.Content).To(Equal("from b"))
		Expect(outcomes(w.one())).To(Equal([]string{"credentials_unavailable", "succeeded"}))
	})

	It("is not answered where it can't be recorded", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		w.recordErr = errors.New("the log is away")
		result, problem := w.Chat(ctx, w.call(""))
		Expect(result).To(BeNil())
		Expect(problem.Status).To(Equal(http.StatusServiceUnavailable))

		stream, problem := w.StreamChat(ctx, w.call(`,"stream":true`))
		Expect(problem).ToNot(HaveOccurred())
		defer stream.Close(ctx)
		_, err := drain(ctx, stream)
		Expect(err).NotTo(MatchError(io.EOF), "the client would take the answer for complete")
	})

	It("is recorded after its answer where that is wanted", func(ctx context.Context) {
		w := newWorld(func(c *plane.Config) { c.Async = true })
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		_, problem := w.Chat(ctx, w.call(""))
		Expect(problem).ToNot(HaveOccurred())
		Eventually(w.calls).WithTimeout(bound).Should(HaveLen(1))
	})

	It("that uses a model without a price is recorded as unpriced, and somebody is told", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.Custom, gatewaytest.Chat(reply("x")), func(p *plane.Provider) { p.Config.SupportedModels = []string{"house-model"} })
		call := w.call("")
		call.Chat.Model = "" // whichever the provider has
		_, problem := w.Chat(ctx, call)
		Expect(problem).ToNot(HaveOccurred())
		Expect(w.one().Unpriced).To(BeTrue())
		Expect(w.one().CostUSD).To(BeEmpty())
		Eventually(func() []string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.unpriced
		}).WithTimeout(bound).Should(Equal([]string{"custom/house-model"}))
	})

	It("whose client has gone is taken in and recorded all the same", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply(strings.Repeat("word ", 50))))
		gone, leave := context.WithCancel(ctx)
		stream, problem := w.StreamChat(gone, w.call(`,"stream":true`))
		Expect(problem).ToNot(HaveOccurred())
		leave()
		stream.Close(gone)
		recorded := w.one()
		Expect(recorded.Outcome).To(Equal(usage.Cancelled))
		Expect(recorded.Tokens.Output).To(BeEquivalentTo(20), "what the provider bills")
	})
})

var _ = Describe("A stream", func() {
	It("is passed on piece by piece and recorded before its end", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.Google, gatewaytest.Chat(reply("one two three")))
		stream, problem := w.StreamChat(ctx, w.call(`,"stream":true`))
		Expect(problem).ToNot(HaveOccurred())
		defer stream.Close(ctx)
		Expect(w.calls()).To(BeEmpty())
		chunks, err := drain(ctx, stream)
		Expect(err).To(MatchError(io.EOF))
		Expect(len(chunks)).To(BeNumerically(">", 1))
		recorded := w.one()
		Expect(recorded.Outcome).To(Equal(usage.Succeeded))
		Expect(recorded.Streamed).To(BeTrue())
		Expect(recorded.Tokens.Total()).To(BeEquivalentTo(120))
	})

	DescribeTable("fails over before its first piece",
		func(ctx context.Context, first gatewaytest.Behaviour) {
			w := newWorld()
			w.upstream("a", gateway.OpenAI, first)
			w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
			stream, problem := w.StreamChat(ctx, w.call(`,"stream":true`))
			Expect(problem).ToNot(HaveOccurred())
			defer stream.Close(ctx)
			chunks, err := drain(ctx, stream)
			Expect(err).To(MatchError(io.EOF))
			Expect(chunks).NotTo(BeEmpty())
			Expect(w.one().Attempts).To(HaveLen(2))
			Expect(w.one().Outcome).To(Equal(usage.Succeeded))
		},
		Entry("on an error", gatewaytest.Failing(500)),
		Entry("on an error inside a 200", gatewaytest.ErrorInAnswer()),
		Entry("on silence after the header", gatewaytest.HangAfterHeader()),
	)

	DescribeTable("never changes its provider afterwards: it ends with an error, and is recorded as incomplete",
		func(ctx context.Context, behaviour func(gatewaytest.Reply) gatewaytest.Behaviour) {
			w := newWorld()
			w.upstream("a", gateway.OpenAI, behaviour(gatewaytest.Reply{Text: strings.Repeat("word ", 100), Chunks: 20}))
			other := w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
			stream, problem := w.StreamChat(ctx, w.call(`,"stream":true`))
			Expect(problem).ToNot(HaveOccurred())
			defer stream.Close(ctx)
			chunks, err := drain(ctx, stream)
			Expect(chunks).NotTo(BeEmpty())
			var broken *plane.Problem
			Expect(errors.As(err, &broken)).To(BeTrue())
			Expect(other.Requests()).To(BeEmpty())
			recorded := w.one()
			Expect(recorded.Outcome).To(Equal(usage.Incomplete))
			Expect(recorded.Tokens.Output).To(BeNumerically(">", 0), "estimated from what came")
		},
		Entry("on a cut", gatewaytest.CutMidAnswer),
		Entry("on an end that is none", gatewaytest.EndMidAnswer),
		Entry("on an error in it", gatewaytest.ErrorMidAnswer),
		Entry("on silence", gatewaytest.HangMidAnswer),
	)
})
