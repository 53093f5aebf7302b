package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

const (
	maxHeaderNameBytes  = 128
	maxHeaderValueBytes = 4096
	maxCustomHeaders    = 32
)

// Why a custom header is refused. The texts may be shown; none holds the name or value.
var (
	ErrHeaderName     = errors.New("the name must be a header name: letters, digits and hyphens, at most 128 bytes")
	ErrHeaderReserved = errors.New("this header can't be set here")
	ErrHeaderValue    = errors.New("the value must be printable ASCII on one line without spaces around it, at most 4096 bytes")
	ErrHeaderAuth     = errors.New("this header carries the provider's own credential")
	ErrHeaderTwice    = errors.New("this header is given twice")
	ErrHeaderCount    = errors.New("at most 32 custom headers are allowed")
)

// ValidateHeader checks one custom header: a token as its name, one printable
// line as its value, and none that frames the message, belongs to the
// connection, or is set by the gateway itself.
func ValidateHeader(name, value string) error {
	switch {
	case name == "" || len(name) > maxHeaderNameBytes || strings.ContainsFunc(name, notTokenRune):
		return ErrHeaderName
	case isReservedHeader(http.CanonicalHeaderKey(name)):
		return ErrHeaderReserved
	case len(value) > maxHeaderValueBytes || !isPrintableASCII(value) || value != strings.TrimSpace(value):
		return ErrHeaderValue
	default:
		return nil
	}
}

// ValidateHeaders checks all custom headers of a provider and returns the
// problems by header name, values left out; none is nil. The type's credential
// header is refused too, since two of them would be a gamble on which one counts.
// credentials may be nil; only the header field of custom matters.
func ValidateHeaders(t ProviderType, credentials, headers map[string]string) map[string]string {
	problems := make(map[string]string)
	seen := make(map[string]bool, len(headers))

	if len(headers) > maxCustomHeaders {
		problems["custom_headers"] = ErrHeaderCount.Error()
	}

	for name, value := range headers {
		canonical := http.CanonicalHeaderKey(name)

		err := validateCustomHeader(t, credentials, name, value)
		if err == nil && seen[canonical] {
			err = ErrHeaderTwice
		}

		seen[canonical] = true

		if errors.Is(err, ErrHeaderName) {
			name = "custom_headers" // the name itself may hold anything, so it is not repeated
		}

		if err != nil {
			problems[name] = err.Error()
		}
	}

	if len(problems) == 0 {
		return nil
	}

	return problems
}

func validateCustomHeader(t ProviderType, credentials map[string]string, name, value string) error {
	if err := ValidateHeader(name, value); err != nil {
		return err
	}

	canonical := http.CanonicalHeaderKey(name)
	if canonical == authHeaderName(t, credentials) ||
		t == Anthropic && canonical == http.CanonicalHeaderKey(anthropicVersionHeader) {
		return ErrHeaderAuth
	}

	return nil
}

// isReservedHeader names headers that frame a message (smuggling), belong to one
// connection, or are the gateway's own. Accept-Encoding is one of those because
// setting it turns transparent decompression off.
func isReservedHeader(canonical string) bool {
	return strings.HasPrefix(canonical, "Proxy-") || slices.Contains([]string{
		"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Upgrade",
		"Http2-Settings", "Expect", "Content-Type", "Content-Encoding", "Accept", "Accept-Encoding", "X-Correlation-Id",
	}, canonical)
}

func notTokenRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func isPrintableASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
