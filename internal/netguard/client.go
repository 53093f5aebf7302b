package netguard

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrRedirect is returned by a client of [NewClient] for a redirect that is not
// followed: to another origin, to another method, one too many, or one that
// can't be read. It says nothing of where the redirect pointed to.
var ErrRedirect = errors.New("the server redirects elsewhere")

// Options tunes [NewClient]; the zero value is fit for calls to an API.
type Options struct {
	// DialTimeout bounds name resolution and connecting. Default 5 s.
	DialTimeout time.Duration
	// TLSHandshakeTimeout bounds the TLS handshake. Default 5 s.
	TLSHandshakeTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for an answer's first byte after
	// the request was sent. Default 30 s.
	ResponseHeaderTimeout time.Duration
	// Timeout bounds a whole call, its body included. Default none, because a
	// streamed answer may take minutes: bound each call by its context.
	Timeout time.Duration
	// IdleConnTimeout is how long an unused connection is kept. Default 90 s.
	IdleConnTimeout time.Duration
	// MaxIdleConns bounds unused connections in all. Default 100.
	MaxIdleConns int
	// MaxIdleConnsPerHost bounds unused connections to one host. Default 16.
	MaxIdleConnsPerHost int
	// MaxResponseHeaderBytes bounds an answer's header. Default 64 KiB.
	MaxResponseHeaderBytes int64
	// RootCAs are the certificate authorities to trust. Default the system's.
	RootCAs *x509.CertPool
}

const (
	defaultDialTimeout           = 5 * time.Second
	defaultTLSHandshakeTimeout   = 5 * time.Second
	defaultResponseHeaderTimeout = 30 * time.Second
	defaultIdleConnTimeout       = 90 * time.Second
	defaultMaxIdleConns          = 100
	defaultMaxIdleConnsPerHost   = 16
	defaultMaxResponseHeader     = 64 << 10

	// maxRedirects allows for a missing slash and a moved path, not for a chase.
	maxRedirects = 3
)

// NewClient returns a client that connects only where policy allows, asks no
// proxy, and follows at most three redirects, each within its own origin
// (scheme, host and port), so that no header ever reaches another one. A call
// that is refused fails with an error that matches [ErrRefused] or
// [ErrRedirect]; show errors with [Explain], because their own text may quote
// the URL. The client is safe for concurrent use and keeps connections alive:
// make one and share it.
func NewClient(policy Policy, options Options) *http.Client {
	policy.Allowed = slices.Clone(policy.Allowed)

	dialer := &net.Dialer{
		Timeout: cmp.Or(options.DialTimeout, defaultDialTimeout),
		Control: policy.Control,
	}

	return &http.Client{
		Transport: guarded{&http.Transport{
			Proxy:                  nil, // a proxy would dial in our place, unchecked
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: options.RootCAs},
			TLSHandshakeTimeout:    cmp.Or(options.TLSHandshakeTimeout, defaultTLSHandshakeTimeout),
			ResponseHeaderTimeout:  cmp.Or(options.ResponseHeaderTimeout, defaultResponseHeaderTimeout),
			IdleConnTimeout:        cmp.Or(options.IdleConnTimeout, defaultIdleConnTimeout),
			MaxIdleConns:           cmp.Or(options.MaxIdleConns, defaultMaxIdleConns),
			MaxIdleConnsPerHost:    cmp.Or(options.MaxIdleConnsPerHost, defaultMaxIdleConnsPerHost),
			MaxResponseHeaderBytes: cmp.Or(options.MaxResponseHeaderBytes, defaultMaxResponseHeader),
		}},
		CheckRedirect: checkRedirect,
		Timeout:       options.Timeout,
	}
}

// guarded turns redirects away before http.Client reads them, since its errors
// quote a Location that it can't parse.
type guarded struct{ *http.Transport }

// RoundTrip sends one request and refuses an answer that redirects elsewhere.
func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := g.Transport.RoundTrip(request)
	if err != nil {
		return nil, err //nolint:wrapcheck // http.Client wraps it; a second layer would say the same.
	}

	if !isRedirect(response.StatusCode) || response.Header.Get("Location") == "" {
		return response, nil
	}

	target, err := response.Location()
	if err != nil || !sameOrigin(request.URL, target) {
		_ = response.Body.Close() // nothing of it is wanted

		return nil, ErrRedirect
	}

	return response, nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

// checkRedirect bounds the chain (guarded has checked the origin of each hop) and
// keeps the method: a POST that silently
// becomes a GET would be read as an answer to the POST.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || request.Method != via[0].Method {
		return ErrRedirect
	}

	return nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && b.User == nil &&
		strings.EqualFold(a.Hostname(), b.Hostname()) && effectivePort(a) == effectivePort(b)
}

func effectivePort(u *url.URL) string {
	if u.Scheme == "https" {
		return cmp.Or(u.Port(), "443")
	}

	return cmp.Or(u.Port(), "80")
}
