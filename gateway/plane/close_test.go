package plane_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

var _ = Describe("Closing the plane", func() {
	It("waits for calls, and within its bound for no longer: those are recorded as they stand", func(ctx context.Context) {
		w := newWorld()
		server := w.upstream("a", gateway.OpenAI, gatewaytest.HangMidAnswer(gatewaytest.Reply{Text: "some text", Chunks: 8}))
		w.Plane.Dialect = dialect.NewClient(client(), "archon-test", dialect.Timeouts{}) // timeouts that nobody waits for
		ended := make(chan *plane.Problem)
		go func() {
			_, problem := w.Chat(ctx, w.call(""))
			ended <- problem
		}()
		Eventually(server.Requests).WithTimeout(bound).Should(HaveLen(1))
		bounded, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		Expect(w.Plane.Close(bounded)).To(MatchError(context.DeadlineExceeded))
		recorded := w.one()
		Expect(recorded.Outcome).To(Equal(usage.Failed))
		Expect(recorded.Attempts[0].Outcome).To(Equal("cancelled"))
		Expect(recorded.Attempts[0].Tokens.Input).To(BeNumerically(">", 0), "the provider was working")
		Expect(<-ended).To(HaveOccurred())
	})

	It("waits for a stream until it is closed", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("one two three")))
		stream, problem := w.StreamChat(ctx, w.call(`,"stream":true`))
		Expect(problem).ToNot(HaveOccurred())
		closed := make(chan error, 1)
		go func() { closed <- w.Plane.Close(ctx) }()
		Consistently(closed).WithTimeout(100 * time.Millisecond).ShouldNot(Receive())
		stream.Close(ctx)
		Eventually(closed).WithTimeout(bound).Should(Receive(Succeed()))
		Expect(w.calls()).To(HaveLen(1))
	})
})

var _ = Describe("Samples", func() {
	It("are recorded, at the end also of spans that are not over", func(ctx context.Context) {
		w := newWorld()
		w.config.Samples.Add(w.tenant, "p", time.Second, true)
		running, stop := context.WithCancel(ctx)
		stop()
		Expect(w.config.Samples.Run(running)).To(Succeed())
		Expect(w.samples).To(BeEmpty())
		w.config.Samples.Flush(ctx)
		Expect(w.samples).To(ConsistOf(And(HaveField("Requests", BeEquivalentTo(1)), HaveField("Errors", BeEquivalentTo(1)))))
		w.config.Samples.Record = func(ctx context.Context, _ string, _ providers.Sampled) error { return ctx.Err() }
		w.config.Samples.Add(w.tenant, "p", time.Second, true)
		w.config.Samples.Flush(running)
		Expect(w.logged.String()).To(ContainSubstring("health samples dropped"))
	})
})
