package httpx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("/health", func() {
	var (
		log      *bytes.Buffer
		database atomic.Pointer[error]
		runs     atomic.Int32
	)
	set := func(err error) { database.Store(&err) }
	report := func(s *stack) (int, httpx.Report) {
		GinkgoHelper()
		got := s.do(call{method: "GET", path: "/health"})
		Expect(got.Header().Get("Content-Type")).To(Equal("application/json"))
		var report httpx.Report
		Expect(json.Unmarshal(got.Body.Bytes(), &report)).To(Succeed())
		return got.Code, report
	}
	checking := func(more ...httpx.Check) *stack {
		GinkgoHelper()
		checks := append([]httpx.Check{{Name: "database", Critical: true, Probe: func(context.Context) error {
			runs.Add(1)
			return *database.Load()
		}}}, more...)
		return newStack(func(s *stack) {
			s.config.Health = httpx.NewHealth(slog.New(slog.NewTextHandler(log, nil)), checks...)
		})
	}
	BeforeEach(func() {
		log = &bytes.Buffer{}
		runs.Store(0)
		set(nil)
	})

	It("is ok, without a token, while every component is", func() {
		status, got := report(checking(httpx.Check{Name: "redis", Probe: func(context.Context) error { return nil }}))
		Expect(status).To(Equal(200))
		Expect(got).To(Equal(httpx.Report{Status: "ok", Components: map[string]httpx.ComponentReport{
			"database": {Status: "ok"}, "redis": {Status: "ok"},
		}}))
	})

	It("is 503 with a reason, but without what the cause says, while a critical one is away", func() {
		set(errors.New("dial postgres://archon:SECRET@db"))
		s := checking()
		status, got := report(s)
		Expect(status).To(Equal(503))
		Expect(got).To(Equal(httpx.Report{Status: "unavailable", Reason: "database: is away", Components: map[string]httpx.ComponentReport{
			"database": {Status: "unavailable", Detail: "is away"},
		}}))
		Expect(s.do(call{method: "GET", path: "/health"}).Header().Get("Retry-After")).To(Equal("1"))
		Expect(s.do(call{method: "GET", path: "/health/live"}).Code).To(Equal(200))
	})

	It("is degraded, with 200, while another is away, and shows reasons that were made to be shown", func() {
		status, got := report(checking(
			httpx.Check{Name: "redis", Probe: func(context.Context) error { return httpx.Reason("is loading", errors.New("SECRET")) }},
			httpx.Check{Name: "vault", Probe: func(context.Context) error { panic("SECRET") }},
		))
		Expect(status).To(Equal(200))
		Expect(got.Status).To(Equal("degraded"))
		Expect(got.Reason).To(Equal("redis: is loading; vault: is away"))
		Expect(log.String()).To(ContainSubstring("is loading: SECRET"), "the log has the cause")
	})

	It("is kept for a second, and made once however many ask", func() {
		s := checking()
		report(s)
		set(errors.New("away"))
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { s.do(call{method: "GET", path: "/health"}) })
		}
		group.Wait()
		Expect(runs.Load()).To(BeEquivalentTo(1))
		Eventually(func() int { status, _ := report(s); return status }).WithTimeout(3 * time.Second).Should(Equal(503))
		Expect(runs.Load()).To(BeEquivalentTo(2))
	})

	It("logs a component's going and coming back once each", func() {
		set(errors.New("away"))
		s := checking()
		status, _ := report(s)
		Expect(status).To(Equal(503))
		Eventually(func() int { report(s); return int(runs.Load()) }).WithTimeout(3 * time.Second).Should(Equal(2))
		set(nil)
		Eventually(func() int { status, _ := report(s); return status }).WithTimeout(3 * time.Second).Should(Equal(200))
		Expect(bytes.Count(log.Bytes(), []byte("component is away"))).To(Equal(1))
		Expect(bytes.Count(log.Bytes(), []byte("component is back"))).To(Equal(1))
	})

	It("does not wait for a check that hangs, nor starts it again", func() {
		started, release := make(chan struct{}, 10), make(chan struct{})
		DeferCleanup(func() { close(release) })
		s := checking(httpx.Check{Name: "vault", Probe: func(context.Context) error {
			started <- struct{}{}
			<-release
			return nil
		}}, httpx.Check{Name: "slow", Probe: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		begin := time.Now()
		status, got := report(s)
		Expect(time.Since(begin)).To(BeNumerically("<", 4*time.Second))
		Expect(status).To(Equal(200))
		for _, name := range []string{"vault", "slow"} {
			Expect(got.Components[name]).To(Equal(httpx.ComponentReport{Status: "unavailable", Detail: "no answer within 2s"}))
		}
		Eventually(func() int32 { report(s); return runs.Load() }).WithTimeout(5 * time.Second).Should(BeEquivalentTo(2))
		Expect(started).To(HaveLen(1))
	})
})

var _ = Describe("the document and its page", func() {
	It("are served without a token, from this server alone", func() {
		s := newStack()
		got := s.do(call{method: "GET", path: "/openapi.yaml"})
		Expect(got.Code).To(Equal(200))
		Expect(got.Header().Get("Content-Type")).To(Equal("application/yaml"))
		Expect(got.Body.String()).To(HavePrefix("openapi: 3.0.3"))

		page := s.do(call{method: "GET", path: "/docs"})
		Expect(page.Code).To(Equal(200))
		Expect(page.Header().Get("Content-Type")).To(HavePrefix("text/html"))
		Expect(page.Body.String()).To(And(ContainSubstring("/openapi.yaml"), Not(MatchRegexp(`(src|href)="(https?:)?//`))))
		policy := page.Header().Get("Content-Security-Policy")
		Expect(policy).To(And(ContainSubstring("default-src 'none'"), ContainSubstring("script-src 'self' 'sha256-"), Not(MatchRegexp(`script-src[^;]*unsafe`))))

		for _, asset := range []string{"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"} {
			got := s.do(call{method: "GET", path: "/docs/" + asset})
			Expect(got.Code).To(Equal(200), asset)
			Expect(got.Body.Len()).To(BeNumerically(">", 1000), asset)
		}
		Expect(s.do(call{method: "GET", path: "/docs/nothing.js"}).Code).To(Equal(404))
	})
})
