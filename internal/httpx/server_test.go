package httpx_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("the server", func() {
	listen := func(ctx context.Context, handler http.Handler) (server *httpx.Server, url string, served chan error) {
		GinkgoHelper()
		server, err := httpx.Listen(ctx, "127.0.0.1:0", handler, slog.New(slog.DiscardHandler))
		Expect(err).NotTo(HaveOccurred())
		served = make(chan error, 1)
		go func() { served <- server.Serve() }()
		return server, "http://" + server.Addr().String(), served
	}

	It("finishes requests, then ends", func(ctx SpecContext) {
		entered, release := make(chan struct{}), make(chan struct{})
		parent, stop := context.WithCancel(ctx)
		server, url, served := listen(parent, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			Expect(r.Context().Err()).NotTo(HaveOccurred(), "requests outlive the signal that stops the server")
			_, _ = io.WriteString(w, "done")
		}))
		answers := make(chan string, 1)
		go func() {
			defer GinkgoRecover()
			answer, err := http.Get(url)
			Expect(err).NotTo(HaveOccurred())
			body, err := io.ReadAll(answer.Body)
			Expect(err).NotTo(HaveOccurred())
			answers <- string(body)
		}()
		Eventually(entered).Should(BeClosed())
		stop()
		ended := make(chan error, 1)
		go func() { ended <- server.Shutdown(ctx) }()
		Eventually(served).Should(Receive(BeNil()))
		Consistently(ended).WithTimeout(50 * time.Millisecond).ShouldNot(Receive())
		close(release)
		Eventually(ended).Should(Receive(BeNil()))
		Expect(<-answers).To(Equal("done"))
		_, err := net.DialTimeout("tcp", server.Addr().String(), time.Second)
		Expect(err).To(HaveOccurred())
	}, NodeTimeout(10*time.Second))

	It("ends requests that outlast its bound, with a 503 for whoever still waits", func(ctx SpecContext) {
		s := newStack()
		entered := make(chan struct{})
		s.handlers.read = func(ctx context.Context) error {
			close(entered)
			<-ctx.Done()
			return fmt.Errorf("read: %w", ctx.Err())
		}
		server, url, _ := listen(ctx, s.handler)
		statuses := make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/me", nil)
			Expect(err).NotTo(HaveOccurred())
			r.Header.Set("Authorization", "Bearer admin.acme")
			answer, err := http.DefaultClient.Do(r)
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.Body.Close()).To(Succeed())
			statuses <- answer.StatusCode
		}()
		Eventually(entered).Should(BeClosed())
		bound, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		err := server.Shutdown(bound)
		Expect(errors.Is(err, context.DeadlineExceeded)).To(BeTrue(), fmt.Sprint(err))
		Eventually(statuses).Should(Receive(Equal(503)))
	}, NodeTimeout(10*time.Second))

	It("says which address is taken", func(ctx SpecContext) {
		server, _, _ := listen(ctx, http.NotFoundHandler())
		DeferCleanup(server.Shutdown)
		_, err := httpx.Listen(ctx, server.Addr().String(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
		Expect(err).To(MatchError(ContainSubstring("address already in use")))
	})

	It("gives a client that sends 10 MB its 413, with a length, in chunks and when it asks first", func(ctx SpecContext) {
		s := newStack()
		server, url, _ := listen(ctx, s.handler)
		DeferCleanup(server.Shutdown)
		for name, body := range map[string]io.Reader{
			"length": bytes.NewReader(make([]byte, 10<<20)), "chunks": io.LimitReader(zeros{}, 10<<20),
			"expect": bytes.NewReader(make([]byte, 10<<20)), "endless": io.LimitReader(zeros{}, 1<<40),
		} {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+providersPath, body)
			Expect(err).NotTo(HaveOccurred())
			r.Header = http.Header{"Authorization": {"Bearer admin.acme"}, "Content-Type": {"application/json"}}
			if name == "expect" {
				r.Header.Set("Expect", "100-continue")
			}
			answer, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Second, DisableKeepAlives: true}}).Do(r)
			if name == "endless" && err != nil {
				continue // cut off, which is as good
			}
			Expect(err).NotTo(HaveOccurred(), name)
			text, err := io.ReadAll(answer.Body)
			Expect(err).NotTo(HaveOccurred(), name)
			Expect(answer.Body.Close()).To(Succeed())
			Expect(answer.StatusCode).To(Equal(413), name)
			Expect(json.Valid(text)).To(BeTrue(), name)
		}
	}, NodeTimeout(30*time.Second))

	It("answers a request with far too large headers and goes on", func(ctx SpecContext) {
		server, url, _ := listen(ctx, newStack().handler)
		DeferCleanup(server.Shutdown)
		connection, err := net.Dial("tcp", server.Addr().String())
		Expect(err).NotTo(HaveOccurred())
		_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 200<<10)+"\r\n\r\n")
		Expect(err).NotTo(HaveOccurred())
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.StatusCode).To(Equal(431))
		live, err := http.Get(url + "/health/live")
		Expect(err).NotTo(HaveOccurred())
		Expect(live.StatusCode).To(Equal(200))
	})
})
