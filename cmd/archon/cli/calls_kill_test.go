package cli_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Archon killed in the middle of calls", Label("e2e"), func() {
	const (
		rounds  = 6
		callers = 24
		// least and most bound how many whole answers a round waits for before it kills.
		least, most = 20, 150
	)

	It("has every answer that a client had the end of in its log, once, and no call that never happened", func() {
		place := install()
		running := place.start()
		c := place.customer()
		upstream := chatting(gateway.OpenAI, "one two three four")
		c.registers("Only", "openai", upstream.URL)
		key, _ := c.makesKey(nil)
		dir, owner := place.cluster(), ownerURL(place)
		w := &crowd{places: []*installation{place}, token: key}
		for round := range rounds {
			enough := w.whole() + least + rand.IntN(most-least)
			w.during(callers, func() {
				Eventually(w.whole).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
				running.kill()
				if round == rounds-1 {
					Expect(syscall.Kill(postmasterIn(dir), syscall.SIGKILL)).To(Succeed())
				}
			})
			running = place.start()
			w.reconcile(callsAt(owner, c.name), upstream)
		}
		Expect(w.cut()).To(BeNumerically(">=", rounds), "the kills must have hit callers")
		AddReportEntry("kill -9 of Archon amid callers", fmt.Sprintf("%d rounds: %d whole answers, %d cut off; %d calls in the log, %d served upstream",
			rounds, w.whole(), w.cut(), len(callsAt(owner, c.name)), len(posts(upstream))))
		place.expectVerified(c.name)
	})

	It("may lose the last calls where they are recorded after their answers, and then makes none up and none twice", func() {
		place := install("ARCHON_CALL_RECORDING=async")
		running := place.start()
		c := place.customer()
		upstream := chatting(gateway.OpenAI, "one two three four")
		c.registers("Only", "openai", upstream.URL)
		key, _ := c.makesKey(nil)
		w := &crowd{places: []*installation{place}, token: key, lossy: true}
		w.during(callers, func() {
			Eventually(w.whole).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", most))
			running.kill()
		})
		running = place.start()
		owner := ownerURL(place)
		w.reconcile(callsAt(owner, c.name), upstream)

		By("losing nothing where it is ended in order")
		before := w.whole()
		w.during(callers, func() {
			Eventually(w.whole).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", before+most))
		})
		Expect(running.terminate()).To(Equal(0), running.output.String())
		place.start()
		w.reconcile(callsAt(owner, c.name), upstream)
		known := map[string]bool{}
		for _, call := range callsAt(owner, c.name) {
			known[call.stream] = true
		}
		for _, answer := range w.answers[before:] {
			if !known[calls.Stream(answer.callID())] {
				Fail("a call that was answered before the end in order is not in the log")
			}
		}
		place.expectVerified(c.name)
	})
})

// crowd is callers who write down what they were told.
type crowd struct {
	places []*installation
	token  string
	// lossy says that calls may be missing from the log.
	lossy bool
	// refusable says that calls may be refused with 503, and streams be ended by an error.
	refusable bool

	mu sync.Mutex
	// answers are those of which the last byte came.
	answers []completion
	// sent are the correlation ids of everything that was sent.
	sent             map[string]bool
	broken, refusals int
}

func (w *crowd) whole() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.answers)
}

// cut is how many answers were cut off.
func (w *crowd) cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// refused is how many calls were refused, or ended by an error.
func (w *crowd) refused() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusals
}

// during has n callers call until act returns, and until each of them knows what became of its last call. A caller whose
// answer was cut off by a node that was killed does not call again.
func (w *crowd) during(n int, act func()) {
	GinkgoHelper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for caller := range n {
		running.Go(func() {
			defer GinkgoRecover()
			for turn := caller; ; turn++ {
				select {
				case <-stop:
					return
				default:
				}
				if !w.call(w.places[caller%len(w.places)], turn%2 == 0) {
					return
				}
			}
		})
	}
	act()
	close(stop)
	running.Wait()
}

// call makes one call and notes what came of it; false where the node has gone.
func (w *crowd) call(place *installation, streamed bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	got := place.chat(ctx, w.token, talk("count to four", object{"stream": streamed}))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent == nil {
		w.sent = map[string]bool{}
	}
	w.sent[got.correlation] = true
	switch {
	case got.broken != nil:
		w.broken++
		return false
	case got.status == http.StatusOK && got.whole:
		if got.text != "one two three four" || got.callID() == "" {
			Fail("a whole answer reads: " + got.text + " " + got.body)
		}
		w.answers = append(w.answers, got)
	case w.refusable:
		w.refusals++
		w.judge(got)
	case got.status == http.StatusOK: // the end of the connection looked like the end of the stream
		w.broken++
		return false
	default:
		Fail(fmt.Sprintf("%d %s", got.status, got.body))
	}
	return true
}

// judge looks at a refusal: one that OpenAI's clients understand, and that says when to come back.
func (w *crowd) judge(got completion) {
	if got.status == http.StatusOK {
		Expect(got.events).NotTo(BeEmpty())
		conformProblem("the event that ends a stream", got.events[len(got.events)-1])
		return
	}
	Expect(got.status).To(Equal(http.StatusServiceUnavailable), got.body)
	conformOpenAI("a refused call", got.reply)
}

// reconcile holds what callers and upstream know against the log. It compares by hand: matchers would take longer than
// the calls.
func (w *crowd) reconcile(log []recorded, upstream *gatewaytest.Server) {
	GinkgoHelper()
	streams, of := map[string]int{}, map[string]recorded{}
	for _, call := range log {
		streams[call.stream]++
		if streams[call.stream] > 1 || of[call.correlation].stream != "" {
			Fail("recorded twice: " + call.stream)
		}
		of[call.correlation] = call
		if !w.sent[call.correlation] || call.stream != calls.Stream(call.CallID) {
			Fail("a record of a call that nobody made: " + call.stream)
		}
	}
	served := map[string]int{}
	for _, request := range posts(upstream) {
		served[request.Header.Get("X-Correlation-ID")]++
	}
	succeeded := 0
	for correlation, call := range of {
		if call.Outcome != calls.Succeeded && call.Outcome != calls.Cancelled {
			continue
		}
		succeeded++
		if served[correlation] == 0 {
			Fail("recorded as served, but never asked for upstream: " + call.stream)
		}
	}
	if succeeded > len(posts(upstream)) {
		Fail("more calls recorded than served")
	}
	for _, answer := range w.answers {
		call, found := of[answer.correlation]
		switch {
		case !found && !w.lossy:
			Fail("the client had the whole of an answer that is not in the log: " + answer.callID())
		case found && (call.CallID != answer.callID() || call.Outcome != calls.Succeeded || call.Status != http.StatusOK || call.Tokens.Total() == 0):
			Fail(fmt.Sprintf("call %s is recorded as %+v", answer.callID(), call.Recorded))
		}
	}
}
