package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/archonhq/archon/internal/auth"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2025, 2, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.now = c.now.Add(d)
}

// issuer is an OpenID Connect issuer on localhost whose answers tests change.
type issuer struct {
	server *httptest.Server

	mu sync.Mutex
	// keys is what it publishes.
	keys []any
	// document is the discovery document; empty for a good one.
	document map[string]any
	away     bool
	hang     chan struct{}
	reads    map[string]int
}

func newIssuer(keys ...jose.JSONWebKey) *issuer {
	i := &issuer{reads: map[string]int{}}
	i.Publish(keys...)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.serve(func() any { return i.document }))
	mux.HandleFunc("GET /keys", i.serve(func() any { return map[string]any{"keys": i.keys} }))
	mux.HandleFunc("GET /text", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	mux.HandleFunc("GET /redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/keys", http.StatusFound)
	})
	i.server = httptest.NewServer(mux)
	i.document = map[string]any{
		"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "ES384", "EdDSA", "PS256", "HS256", "none"},
	}

	return i
}

func (i *issuer) serve(body func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.reads[r.URL.Path]++
		away, hang := i.away, i.hang
		content, err := json.Marshal(body())
		i.mu.Unlock()

		if away || err != nil {
			panic(http.ErrAbortHandler)
		}

		if hang != nil {
			<-hang
		}

		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(content)
	}
}

// Publish replaces the published keys.
func (i *issuer) Publish(keys ...jose.JSONWebKey) {
	raw := make([]any, len(keys))
	for n, key := range keys {
		if raw[n] = key; !isSymmetric(key) {
			raw[n] = key.Public()
		}
	}

	i.PublishRaw(raw...)
}

// PublishRaw replaces the published keys by anything that encodes as JSON.
func (i *issuer) PublishRaw(keys ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.keys = keys
}

// Document changes a field of the discovery document.
func (i *issuer) Document(field string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.document[field] = value
}

// GoAway makes the issuer cut every connection, or stop doing so.
func (i *issuer) GoAway(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.away = away
}

// Hang makes the issuer answer only when release is called.
func (i *issuer) Hang() (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()

	hang := make(chan struct{})
	i.hang = hang

	return sync.OnceFunc(func() {
		i.mu.Lock()
		defer i.mu.Unlock()

		i.hang = nil
		close(hang)
	})
}

// Reads is how often a path was asked for.
func (i *issuer) Reads(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()

	return i.reads[path]
}

func isSymmetric(key jose.JSONWebKey) bool {
	_, ok := key.Key.([]byte)

	return ok
}

// must returns a value that can't fail to be made in a test.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}

	return value
}

func rsaKey(id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 2048)), KeyID: id, Algorithm: "RS256", Use: "sig"}
}

func ecKey(id string, curve elliptic.Curve) jose.JSONWebKey {
	return jose.JSONWebKey{Key: must(ecdsa.GenerateKey(curve, rand.Reader)), KeyID: id}
}

func edKey(id string) jose.JSONWebKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)

	return jose.JSONWebKey{Key: must[crypto.Signer](private, err), KeyID: id}
}

// sign returns a compact token of any payload.
func sign(key any, keyID string, algorithm jose.SignatureAlgorithm, payload []byte) string {
	options := &jose.SignerOptions{}
	if keyID != "" {
		options = options.WithHeader("kid", keyID)
	}

	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options))

	return must(must(signer.Sign(payload)).CompactSerialize())
}

// goodClaims are those of a token that is accepted at now.
func goodClaims(iss string, now time.Time) map[string]any {
	return map[string]any{
		"iss": iss, "sub": "ada", "aud": "archon", "tenant_id": "acme", "roles": []string{"admin"}, "name": "Ada Lovelace",
		"exp": jwt.NewNumericDate(now.Add(time.Hour)), "nbf": jwt.NewNumericDate(now), "iat": jwt.NewNumericDate(now),
	}
}

// token signs good claims with changes; a nil change leaves a claim out.
func token(key jose.JSONWebKey, iss string, now time.Time, changes map[string]any) string {
	algorithm := jose.RS256

	switch private := key.Key.(type) {
	case *ecdsa.PrivateKey:
		algorithm = jose.ES256
		if private.Curve == elliptic.P384() {
			algorithm = jose.ES384
		}
	case ed25519.PrivateKey:
		algorithm = jose.EdDSA
	}

	claims := goodClaims(iss, now)
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })

	return sign(key.Key, key.KeyID, algorithm, must(json.Marshal(claims)))
}

// staticIssuer is an issuer in this process.
type staticIssuer struct {
	url  string
	keys []jose.JSONWebKey
}

func (s staticIssuer) URL() string             { return s.url }
func (s staticIssuer) Keys() []jose.JSONWebKey { return s.keys }

// embedded returns a verifier with one key, and that key.
func embedded(tb testing.TB, now func() time.Time) (*auth.Verifier, jose.JSONWebKey) {
	tb.Helper()

	key := rsaKey("k1")

	verifier, err := auth.NewEmbeddedVerifier(
		staticIssuer{url: "http://localhost/oidc", keys: []jose.JSONWebKey{key.Public()}},
		auth.Config{Audience: "archon", Now: now},
	)
	if err != nil {
		tb.Fatal(err)
	}

	return verifier, key
}
