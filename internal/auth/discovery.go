package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// maxAnswerBytes bounds the discovery document and the key set; real ones are a few kilobytes.
	maxAnswerBytes = 1 << 20
	// maxKeys bounds how many signatures one token without a key id may cost.
	maxKeys = 64
	// maxCauseBytes bounds what an error quotes of an issuer's answer.
	maxCauseBytes = 300
)

// discoveryError is a reading of the issuer that failed, told in one bounded line: go-oidc's errors hold whole answers.
type discoveryError struct{ cause string }

func (e *discoveryError) Error() string { return e.cause }

func newDiscoveryError(err error) error {
	if mismatch, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return &discoveryError{fmt.Sprintf("the discovery document is of the issuer %.200q; set exactly that as the issuer if it is meant", mismatch.Discovered)}
	}

	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}

		return r
	}, err.Error())

	return &discoveryError{strings.ToValidUTF8(line[:min(len(line), maxCauseBytes)], "")}
}

// read fetches the discovery document and, from where that says, the keys.
func (r *remoteKeys) read(ctx context.Context) (*ring, error) {
	// Taken before the keys are asked for, so that their age is never told too low.
	asked := r.now()

	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.issuer)
	if err != nil {
		return nil, newDiscoveryError(err)
	}

	var document struct {
		KeysURL    string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, newDiscoveryError(err)
	}

	published, err := r.readKeys(ctx, document.KeysURL)
	if err != nil {
		return nil, newDiscoveryError(err)
	}

	keys := newRing(agreedAlgorithms(document.Algorithms), published, asked)
	if len(keys.algorithms) == 0 || len(keys.keys) == 0 {
		return nil, errNoKeys
	}

	return keys, nil
}

// agreedAlgorithms are those that both the issuer and Archon accept. OpenID Connect makes RS256 the one of an issuer
// that names none.
func agreedAlgorithms(offered []string) []jose.SignatureAlgorithm {
	if len(offered) == 0 {
		return []jose.SignatureAlgorithm{jose.RS256}
	}

	return slices.DeleteFunc(acceptedAlgorithms(), func(a jose.SignatureAlgorithm) bool { return !slices.Contains(offered, string(a)) })
}

var errKeySet = errors.New("the key set can't be read")

// readKeys fetches a JSON Web Key Set. As RFC 7517 asks, it passes over keys of kinds that it does not know.
func (r *remoteKeys) readKeys(ctx context.Context, keysURL string) ([]jose.JSONWebKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, keysURL, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make request for keys: %w", err)
	}

	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	// An HTTP cache on the way could hide a rotation.
	request.Header.Set("Cache-Control", "no-cache")

	response, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { _ = response.Body.Close() }()

	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answered %s", errKeySet, request.URL.Redacted(), response.Status)
	}

	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeySet, err)
	}

	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: it has more than %d keys", errKeySet, maxKeys)
	}

	keys := make([]jose.JSONWebKey, 0, len(set.Keys))

	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(raw, &key); err == nil {
			keys = append(keys, key)
		}
	}

	return keys, nil
}

// boundedClient returns a copy of client whose answers end after maxAnswerBytes and which, for an https issuer, follows
// no link and no redirect to plain http.
func boundedClient(client *http.Client, httpsOnly bool) *http.Client {
	bounded := *cmp.Or(client, &http.Client{})
	bounded.Transport = boundedTransport{base: bounded.Transport, httpsOnly: httpsOnly}

	return &bounded
}

type boundedTransport struct {
	base      http.RoundTripper
	httpsOnly bool
}

var errPlainHTTP = errors.New("an https issuer leads to a plain http address")

func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.httpsOnly && request.URL.Scheme != "https" {
		return nil, errPlainHTTP
	}

	response, err := cmp.Or(t.base, http.DefaultTransport).RoundTrip(request)
	if err != nil {
		return nil, err //nolint:wrapcheck // A transport returns its base's error; the client wraps it.
	}

	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswerBytes), response.Body}

	return response, nil
}
