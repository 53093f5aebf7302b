package netguard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Explain says in a short phrase why a call failed, for a person: no URL, no
// address, nothing that the server sent. It returns "" for nil.
func Explain(err error) string {
	if err == nil {
		return ""
	}

	for _, explain := range []func(error) string{explainPolicy, explainTLS, explainName, explainConnection} {
		if text := explain(err); text != "" {
			return text
		}
	}

	return "the connection failed"
}

func explainPolicy(err error) string {
	var refusal *Refusal

	switch {
	case errors.As(err, &refusal):
		return "the address is refused: " + refusal.Reason
	case errors.Is(err, ErrRedirect):
		return "the server redirects elsewhere, which is not followed"
	case errors.Is(err, context.Canceled):
		return "the call was cancelled"
	default:
		return ""
	}
}

func explainTLS(err error) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)

	switch {
	case errors.As(err, &authority):
		return "the server's TLS certificate is signed by an unknown authority"
	case errors.As(err, &hostname):
		return "the server's TLS certificate is for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's TLS certificate has expired or is not valid yet"
	case errors.As(err, &verify):
		return "the server's TLS certificate is not valid"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "the server does not speak TLS on this port"
	case errors.As(err, &alert):
		return "the server refused the TLS handshake"
	default:
		return ""
	}
}

func explainName(err error) string {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return ""
	}

	if dns.IsNotFound {
		return "the host name does not exist"
	}

	return "the host name could not be looked up"
}

func explainConnection(err error) string {
	var network net.Error

	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the host can't be reached"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was closed before the answer was complete"
	default:
		return ""
	}
}
