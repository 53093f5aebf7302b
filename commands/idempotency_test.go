package commands_test

import (
	"context"
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("An Idempotency-Key", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	once := func(key, body, name string) (httpx.Answer, error) {
		begun, err := f.begin(as(), key, body)
		if begun.Done != nil {
			defer begun.Done()
		}
		if err != nil {
			return httpx.Answer{}, err
		}
		if begun.Answer != nil {
			return *begun.Answer, nil
		}
		return f.register(begun.Context, name)
	}

	It("gives the first answer again, byte for byte, and appends nothing", func() {
		first, err := once("k1", "body", "OpenAI")
		Expect(err).NotTo(HaveOccurred())
		second, err := once("k1", "body", "OpenAI")
		Expect(err).NotTo(HaveOccurred())
		Expect(second.Body).To(MatchJSON(first.Body))
		Expect(second.Header).To(Equal(first.Header))
		Expect(second.Status).To(Equal(http.StatusCreated))
		Expect(second.Replayed).To(BeTrue())
		Expect(f.log()).To(HaveLen(3))
	})

	It("refuses another body", func() {
		_, err := once("k1", "body", "OpenAI")
		Expect(err).NotTo(HaveOccurred())
		_, err = once("k1", "other", "Other")
		Expect(refusal(err).Code).To(Equal("idempotency_key_reused"))
	})

	It("has one effect and one answer when it comes fifty times at once", func() {
		var wg sync.WaitGroup
		answers := make([]httpx.Answer, 50)
		for i := range answers {
			wg.Go(func() {
				defer GinkgoRecover()
				var err error
				answers[i], err = once("k1", "body", "OpenAI")
				Expect(err).NotTo(HaveOccurred())
			})
		}
		wg.Wait()
		for i := range answers {
			Expect(answers[i].Body).To(MatchJSON(answers[0].Body))
		}
		Expect(f.log()).To(HaveLen(3))
	})

	It("has one effect when its twins are on two nodes", func() {
		var wg sync.WaitGroup
		answers := make([]httpx.Answer, 2)
		for i := range answers {
			wg.Go(func() {
				defer GinkgoRecover()
				// A node knows the command under way on itself alone: the other one begins too.
				begun, err := f.onNode(i).begin(as(), "k1", "body")
				Expect(err).NotTo(HaveOccurred())
				defer begun.Done()
				if begun.Answer != nil {
					answers[i] = *begun.Answer
					return
				}
				answers[i], err = f.register(begun.Context, "OpenAI")
				Expect(err).NotTo(HaveOccurred())
			})
		}
		wg.Wait()
		Expect(answers[0].Body).To(MatchJSON(answers[1].Body))
		Expect(f.log()).To(HaveLen(3))
	})

	It("is remembered for a command that changed nothing", func() {
		provider := f.registered("OpenAI")
		name := "OpenAI"
		for range 2 {
			begun, err := f.begin(as(), "k2", "same")
			Expect(err).NotTo(HaveOccurred())
			if begun.Answer == nil {
				_, err = f.providers.ChangeProvider(begun.Context, api.ChangeProviderRequestObject{ID: provider.ID, Body: &api.ChangeProvider{Name: &name}})
				Expect(err).NotTo(HaveOccurred())
			} else {
				Expect(begun.Answer.Replayed).To(BeTrue())
			}
			begun.Done()
		}
		begun, err := f.begin(as(), "k2", "same")
		Expect(err).NotTo(HaveOccurred())
		Expect(begun.Answer).NotTo(BeNil())
		begun.Done()
	})

	It("is remembered with a refusal, which is recorded once", func() {
		f.registered("OpenAI")
		begun, err := f.begin(as(), "k3", "body")
		Expect(err).NotTo(HaveOccurred())
		_, refused := f.register(begun.Context, "OpenAI")
		failure := httpx.FromError(refused)
		request := httpx.From(begun.Context)
		position, err := f.writes.Record(begun.Context, httpx.Refused{Request: request, Code: failure.Code, Message: failure.Message, Answer: failure.Answer()})
		Expect(err).NotTo(HaveOccurred())
		Expect(position).To(Equal(int64(4)))
		begun.Done()

		again, err := f.begin(as(), "k3", "body")
		Expect(err).NotTo(HaveOccurred())
		defer again.Done()
		Expect(again.Answer.Status).To(Equal(http.StatusConflict))
		Expect(string(again.Answer.Body)).To(ContainSubstring("name_taken"))
		Expect(f.types()[3:]).To(Equal([]string{"audit.write_refused.v1"}))
		last := f.log()[3]
		Expect(string(last.Meta)).To(And(ContainSubstring(`"status":409`), ContainSubstring(`"id":"ada"`), ContainSubstring(`"method":"POST"`)))
		Expect(string(last.Data)).To(ContainSubstring(`"resource_type":"provider"`))
	})

	It("does not wait for a twin longer than its caller does", func() {
		begun, err := f.begin(as(), "k4", "body")
		Expect(err).NotTo(HaveOccurred())
		defer begun.Done()
		ctx, cancel := context.WithCancel(as())
		cancel()
		_, err = f.begin(ctx, "k4", "body")
		Expect(err).To(MatchError(context.Canceled))
	})

	It("does not let a flood of refusals fill the log, and counts what it leaves out", func() {
		request := httpx.From(as())
		recorded := 0
		for range 400 {
			position, err := f.writes.Record(as(), httpx.Refused{Request: request, Code: "x", Answer: httpx.Answer{Status: http.StatusConflict}})
			Expect(err).NotTo(HaveOccurred())
			if position > 0 {
				recorded++
			}
		}
		Expect(recorded).To(BeNumerically("<", 400))
		Eventually(func() int64 {
			position, err := f.writes.Record(as(), httpx.Refused{Request: request, Code: "x", Answer: httpx.Answer{Status: http.StatusConflict}})
			Expect(err).NotTo(HaveOccurred())
			return position
		}).Should(BeNumerically(">", 0))
		events := f.log()
		Expect(string(events[len(events)-1].Data)).To(ContainSubstring(`"suppressed":`))
	})
})

// onNode is the record of writes of another node on the same log.
func (f *fixture) onNode(n int) *fixture {
	if n == 0 {
		return f
	}
	return newNodeOn(f)
}
