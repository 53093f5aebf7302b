package httpx_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("a refused write", func() {
	It("is recorded with the answer, which names the record's position", func() {
		s := newStack()
		s.handlers.write = func(context.Context) (httpx.Answer, error) {
			return httpx.Answer{}, &domain.Refusal{Kind: domain.Conflict, Code: "name_taken", Message: "Taken.", Details: map[string]any{"name": "is taken"}}
		}
		got := s.do(call{method: "PATCH", path: providersPath + "/p%0A1", token: "admin.acme", body: `{}`, header: headers([]string{"Idempotency-Key", "k"})})
		Expect(got.Code).To(Equal(409))
		Expect(got.Header().Get("X-Event-Position")).To(Equal("77"))
		Expect(s.book.refused).To(HaveLen(1))
		refused := s.book.refused[0]
		Expect(refused.Code).To(Equal("name_taken"))
		Expect(refused.Details).To(HaveKeyWithValue("name", "is taken"))
		Expect(refused.Request.Path).To(Equal(providersPath + "/{id}"))
		Expect(refused.Request.Principal.UserID).To(Equal("u-1"))
		Expect(refused.PathParams).To(Equal(map[string]string{"id": "p1"}), "without control characters")
		Expect(refused.Answer.Status).To(Equal(409))
		Expect(string(refused.Answer.Body)).To(Equal(got.Body.String()))
		Expect(s.book.marked).To(Equal("begun"), "the record has the context of Begin")
		Expect(s.book.done).To(Equal(1))
	})

	DescribeTable("is recorded whatever refused it", func(status int, c call) {
		s := newStack()
		c.method, c.path, c.token = "POST", providersPath+c.path, c.token+"admin.acme"
		Expect(s.do(c).Code).To(Equal(status))
		Expect(s.book.refused).To(HaveLen(1))
		Expect(s.book.refused[0].Answer.Status).To(Equal(status))
		Expect(s.handlers.reached).To(BeEmpty())
	},
		Entry("malformed", 400, call{body: "{"}),
		Entry("unknown parameter", 400, call{path: "?x=1", body: goodBody}),
		Entry("idempotency key", 400, call{body: goodBody, header: http.Header{"Idempotency-Key": {""}}}),
		Entry("if-match", 400, call{body: goodBody, header: http.Header{"If-Match": {"3"}}}),
		Entry("not acceptable", 406, call{body: goodBody, header: http.Header{"Accept": {"text/html"}}}),
		Entry("too large", 413, call{body: strings.Repeat(" ", httpx.MaxBodyBytes) + goodBody}),
		Entry("media type", 415, call{body: goodBody, header: http.Header{"Content-Type": {"text/plain"}}}),
		Entry("schema", 422, call{body: `{}`}),
	)

	It("is recorded when the role is missing", func() {
		s := newStack()
		s.do(call{method: "DELETE", path: providersPath + "/p", token: "viewer.acme"})
		Expect(s.book.refused).To(HaveLen(1))
		Expect(s.book.refused[0].Code).To(Equal("forbidden"))
		Expect(s.book.begun).To(BeEmpty(), "authorisation comes first")
	})

	It("is not recorded when it is a read, a 429, a 5xx, recorded already or a repetition", func() {
		s := newStack()
		s.get(providersPath + "?limit=0")
		s.do(call{method: "GET", path: "/api/v1/audit", token: "viewer.acme"})
		for _, err := range []error{httpx.TooManyRequests("busy", "Busy.", time.Second), errors.New("broken")} {
			s.handlers.write = func(context.Context) (httpx.Answer, error) { return httpx.Answer{}, err }
			s.post(goodBody)
		}
		s.handlers.write = func(ctx context.Context) (httpx.Answer, error) {
			httpx.MarkRecorded(ctx)
			return httpx.Answer{}, httpx.NotFound()
		}
		Expect(s.post(goodBody).Code).To(Equal(404))
		s.book.answers["k"] = httpx.NotFound().Answer()
		got := s.post(`{"other": 1}`, "Idempotency-Key", "k")
		Expect(got.Code).To(Equal(404))
		Expect(got.Header().Get("Idempotent-Replayed")).To(Equal("true"))
		Expect(s.book.refused).To(BeEmpty())
	})

	It("is answered all the same where the record fails, and where the client has gone the record is made", func() {
		s := newStack()
		s.book.recordErr = errors.New("log away")
		got := s.post(`{}`)
		Expect(got.Code).To(Equal(422))
		Expect(got.Header().Get("X-Event-Position")).To(BeEmpty())
		Expect(s.log.String()).To(ContainSubstring("refused write not recorded"))

		ctx, cancel := context.WithCancel(context.Background())
		s.handlers.write = func(context.Context) (httpx.Answer, error) { cancel(); return httpx.Answer{}, httpx.NotFound() }
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, providersPath, strings.NewReader(goodBody))
		Expect(err).NotTo(HaveOccurred())
		r.Header = http.Header{"Authorization": {"Bearer admin.acme"}, "Content-Type": {"application/json"}}
		s.handler.ServeHTTP(newDiscard(), r)
		Expect(s.book.refused).To(HaveLen(2))
	})

	It("by Begin is recorded, and Done is called", func() {
		s := newStack()
		s.book.beginErr = &domain.Refusal{Kind: domain.Invalid, Code: "idempotency_key_reused", Message: "Used."}
		got := s.post(goodBody, "Idempotency-Key", "k")
		Expect(got.Code).To(Equal(422))
		Expect(got.failure().Code).To(Equal("idempotency_key_reused"))
		Expect(s.book.refused).To(HaveLen(1))
		Expect(s.book.done).To(Equal(1))
	})
})

var _ = Describe("X-Min-Position", func() {
	quick := func(s *stack) { s.config.WaitBound = 20 * time.Millisecond }

	It("holds a read back until the position is shown", func() {
		s := newStack(quick, func(s *stack) { s.waiter.reached = 5 })
		got := s.get(providersPath, "X-Min-Position", "5")
		Expect(got.Code).To(Equal(statusReached))
		Expect(got.Header().Get("X-Projection-Lag")).To(BeEmpty())
		Expect(s.waiter.asked).To(Equal([]string{"acme listProviders"}))
		s.get(providersPath)
		s.get(providersPath, "X-Min-Position", "0")
		Expect(s.waiter.asked).To(HaveLen(1))
	})

	It("goes on with X-Projection-Lag past the bound", func() {
		s := newStack(quick)
		got := s.get("/api/v1/me", "X-Min-Position", "9223372036854775807")
		Expect(got.Code).To(Equal(statusReached))
		Expect(got.Header().Get("X-Projection-Lag")).To(Equal("true"))
	})

	It("is a 400 where it is malformed and a 503 where the wait fails", func() {
		s := newStack(quick)
		got := s.get("/api/v1/me", "X-Min-Position", "-1")
		Expect(got.Code).To(Equal(400))
		Expect(got.failure()).To(Equal(failure{
			Code: "invalid_header", Message: "The request has headers that do not fit.",
			Details: map[string]any{"X-Min-Position": "must be one whole number of at least 0"},
		}))
		s.waiter.err = io.ErrUnexpectedEOF
		Expect(s.get("/api/v1/me", "X-Min-Position", "1").Code).To(Equal(503))
	})

	It("does not wait where the bound is off", func() {
		s := newStack(func(s *stack) { s.config.WaitBound = -1 })
		Expect(s.get("/api/v1/me", "X-Min-Position", "1").Header().Get("X-Projection-Lag")).To(Equal("true"))
	})
})
