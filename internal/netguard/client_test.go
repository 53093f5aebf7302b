package netguard_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/netguard"
)

func serve(handler http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handler)
	DeferCleanup(server.Close)

	return server
}

func get(client *http.Client, address string) (int, string, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", "Bearer hunter22")
	request.Header.Set("X-Custom", "hunter22")

	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}

	defer func() { _ = response.Body.Close() }()

	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())

	return response.StatusCode, string(body), nil
}

func reachedFlag() (*atomic.Bool, http.HandlerFunc) {
	var reached atomic.Bool

	return &reached, func(http.ResponseWriter, *http.Request) { reached.Store(true) }
}

var _ = Describe("the address that is dialled", func() {
	It("is refused where the policy does not allow it, before a byte is sent", func() {
		reached, handler := reachedFlag()
		server := serve(handler)

		_, _, err := get(netguard.NewClient(netguard.Policy{}, netguard.Options{}), server.URL)

		Expect(err).To(MatchError(netguard.ErrRefused))
		Expect(netguard.Explain(err)).To(Equal("the address is refused: a loopback address, which is not allowed here"))
		Expect(reached.Load()).To(BeFalse())
	})

	It("is judged after the name was resolved", func() {
		reached, handler := reachedFlag()
		server := serve(handler)
		_, port, err := net.SplitHostPort(server.Listener.Addr().String())
		Expect(err).NotTo(HaveOccurred())

		address := "http://localhost:" + port

		_, _, err = get(netguard.NewClient(netguard.Policy{}, netguard.Options{}), address)
		Expect(err).To(MatchError(netguard.ErrRefused))
		Expect(reached.Load()).To(BeFalse())

		status, _, err := get(netguard.NewClient(loopback(), netguard.Options{}), address)
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK))
		Expect(reached.Load()).To(BeTrue())
	})

	It("is refused for metadata even when everything is allowed", func() {
		client := netguard.NewClient(everything(), netguard.Options{DialTimeout: time.Second})

		_, _, err := get(client, "http://169.254.169.254/latest/meta-data/")
		Expect(err).To(MatchError(netguard.ErrRefused))

		_, _, err = get(client, "http://[fd00:ec2::254]/latest/meta-data/")
		Expect(err).To(MatchError(netguard.ErrRefused))
	})

	It("does not change when the caller's policy slice does", func() {
		server := serve(func(http.ResponseWriter, *http.Request) {})
		policy := loopback()
		client := netguard.NewClient(policy, netguard.Options{})
		policy.Allowed[0] = policy.Allowed[1]

		_, _, err := get(client, server.URL)
		Expect(err).NotTo(HaveOccurred())
	})

	It("is dialled directly, although the suite's environment names a proxy", func() {
		_, _, err := get(netguard.NewClient(loopback(), netguard.Options{}), "http://169.254.169.254/")
		Expect(err).To(MatchError(netguard.ErrRefused))
	})
})

var _ = Describe("a redirect", func() {
	var client *http.Client

	BeforeEach(func() { client = netguard.NewClient(loopback(), netguard.Options{}) })

	It("within the origin is followed with the credentials", func() {
		var seen atomic.Value

		server := serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/v1/models", http.StatusPermanentRedirect)

				return
			}

			seen.Store(r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, r.URL.Path)
		})

		status, body, err := get(client, server.URL+"/")
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK))
		Expect(body).To(Equal("/v1/models"))
		Expect(seen.Load()).To(Equal("Bearer hunter22"))
	})

	DescribeTable("that is no business of ours is an error that tells nothing",
		func(location string) {
			server := serve(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			})

			_, _, err := get(client, server.URL)
			Expect(err).To(MatchError(netguard.ErrRedirect))
			Expect(err.Error()).NotTo(ContainSubstring(location))
			Expect(netguard.Explain(err)).To(Equal("the server redirects elsewhere, which is not followed"))
		},
		Entry("another host", "http://elsewhere.example/"),
		Entry("metadata", "http://169.254.169.254/latest/meta-data/"),
		Entry("another port", "http://127.0.0.1:1/"),
		Entry("another name of the same host", "http://localhost/"),
		Entry("the same host over TLS", "https://127.0.0.1/"),
		Entry("a file", "file:///etc/passwd"),
		Entry("gopher", "gopher://127.0.0.1/"),
		Entry("a script", "javascript:alert(1)"),
		Entry("no scheme", "//elsewhere.example/"),
		Entry("nonsense", "http://%zz secret/"),
		Entry("a broken port", "http://127.0.0.1:port/"),
	)

	It("to another origin does not reach it", func() {
		reached, handler := reachedFlag()
		other := serve(handler)
		server := serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		})

		_, _, err := get(client, server.URL)
		Expect(err).To(MatchError(netguard.ErrRedirect))
		Expect(reached.Load()).To(BeFalse())
	})

	It("to the same origin with a user name in it is an error", func() {
		server := serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://user:pass@"+r.Host+"/")
			w.WriteHeader(http.StatusFound)
		})

		_, _, err := get(client, server.URL)
		Expect(err).To(MatchError(netguard.ErrRedirect))
	})

	It("is followed three times and not a fourth", func() {
		server := serve(func(w http.ResponseWriter, r *http.Request) {
			left, err := strconv.Atoi(r.URL.Path[1:])
			if err != nil || left == 0 {
				return
			}

			http.Redirect(w, r, "/"+strconv.Itoa(left-1), http.StatusFound)
		})

		_, _, err := get(client, server.URL+"/3")
		Expect(err).NotTo(HaveOccurred())

		_, _, err = get(client, server.URL+"/4")
		Expect(err).To(MatchError(netguard.ErrRedirect))
	})

	It("that would turn a POST into a GET is an error", func() {
		server := serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/other", http.StatusFound)
			}
		})

		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader("{}"))
		Expect(err).NotTo(HaveOccurred())

		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}

		Expect(err).To(MatchError(netguard.ErrRedirect))
	})

	It("without a Location is an ordinary answer", func() {
		server := serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) })

		status, _, err := get(client, server.URL)
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusFound))
	})
})

var _ = Describe("what goes wrong on the wire", func() {
	It("is bounded before the header", func() {
		done := make(chan struct{})
		server := serve(func(_ http.ResponseWriter, _ *http.Request) { <-done })

		DeferCleanup(func() { close(done) })

		client := netguard.NewClient(loopback(), netguard.Options{ResponseHeaderTimeout: 50 * time.Millisecond})
		_, _, err := get(client, server.URL)
		Expect(netguard.Explain(err)).To(Equal("no answer in time"))
	})

	It("is bounded in the size of the header", func() {
		server := serve(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Big", strings.Repeat("x", 1<<20)) })

		_, _, err := get(netguard.NewClient(loopback(), netguard.Options{}), server.URL)
		Expect(err).To(HaveOccurred())
		Expect(netguard.Explain(err)).To(Equal("the connection failed"))
	})

	It("is named: refused, closed, not there", func() {
		client := netguard.NewClient(loopback(), netguard.Options{})

		server := serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		_, _, err := get(client, server.URL)
		Expect(netguard.Explain(err)).To(Equal("the connection was closed before the answer was complete"))

		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		Expect(listener.Close()).To(Succeed())

		_, _, err = get(client, "http://"+listener.Addr().String())
		Expect(netguard.Explain(err)).To(Equal("the connection was refused"))
	})

	It("is named for TLS, and a trusted certificate gives HTTP/2", func() {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		}))
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(&bytes.Buffer{}, "", 0)
		server.StartTLS()
		DeferCleanup(server.Close)

		_, _, err := get(netguard.NewClient(loopback(), netguard.Options{}), server.URL)
		Expect(netguard.Explain(err)).To(Equal("the server's TLS certificate is signed by an unknown authority"))

		pool := x509.NewCertPool()
		pool.AddCert(server.Certificate())
		trusting := netguard.NewClient(loopback(), netguard.Options{RootCAs: pool})
		_, body, err := get(trusting, server.URL)
		Expect(err).NotTo(HaveOccurred())
		Expect(body).To(Equal("HTTP/2.0"))

		_, port, err := net.SplitHostPort(server.Listener.Addr().String())
		Expect(err).NotTo(HaveOccurred())

		_, _, err = get(trusting, "https://localhost:"+port)
		Expect(netguard.Explain(err)).To(Equal("the server's TLS certificate is for another host name"))

		plain := serve(func(http.ResponseWriter, *http.Request) {})
		_, _, err = get(trusting, strings.Replace(plain.URL, "http:", "https:", 1))
		Expect(netguard.Explain(err)).To(Equal("the server does not speak TLS on this port"))
	})

	DescribeTable("has a short text of ours",
		func(err error, text string) {
			Expect(netguard.Explain(&url.Error{Op: "Get", URL: "http://secret.example", Err: err})).To(Equal(text))
		},
		Entry("cancelled", context.Canceled, "the call was cancelled"),
		Entry("deadline", context.DeadlineExceeded, "no answer in time"),
		Entry("no such name", &net.DNSError{Name: "secret", IsNotFound: true}, "the host name does not exist"),
		Entry("resolver away", &net.DNSError{Name: "secret", IsTemporary: true}, "the host name could not be looked up"),
		Entry("expired", x509.CertificateInvalidError{Reason: x509.Expired},
			"the server's TLS certificate has expired or is not valid yet"),
		Entry("anything else", errors.New("malformed HTTP response \"secret\""), "the connection failed"),
	)

	It("is nothing for nil", func() {
		Expect(netguard.Explain(nil)).To(BeEmpty())
	})
})
