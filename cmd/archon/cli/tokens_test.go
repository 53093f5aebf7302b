package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// foreignIssuer is an OpenID Connect issuer of the tests', which may sign whatever it likes.
type foreignIssuer struct {
	url   string
	close func()

	mu        sync.Mutex
	published []jose.JSONWebKey
}

func newForeignIssuer() *foreignIssuer {
	issuer := &foreignIssuer{}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": issuer.url, "jwks_uri": issuer.url + "/keys", "authorization_endpoint": issuer.url + "/authorize",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		issuer.mu.Lock()
		defer issuer.mu.Unlock()
		answer(w, jose.JSONWebKeySet{Keys: issuer.published})
	})
	// The address is known before anything is served: an Archon of an earlier spec may still ask at a port that comes again.
	server := httptest.NewUnstartedServer(mux)
	issuer.url, issuer.close = "http://"+server.Listener.Addr().String(), server.Close
	server.Start()
	DeferCleanup(server.Close)
	return issuer
}

// publish makes these the issuer's keys.
func (i *foreignIssuer) publish(signers ...*signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = nil
	for _, s := range signers {
		i.published = append(i.published, s.key.Public())
	}
}

// signer signs tokens with one key.
type signer struct {
	key       jose.JSONWebKey
	algorithm jose.SignatureAlgorithm
}

func rsaSigner(id string) *signer {
	GinkgoHelper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	Expect(err).NotTo(HaveOccurred())
	return &signer{jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}, jose.RS256}
}

// sign makes a token of claims.
func (s *signer) sign(claims map[string]any) string {
	GinkgoHelper()
	maker, err := jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: s.key}, (&jose.SignerOptions{}).WithType("JWT"))
	Expect(err).NotTo(HaveOccurred())
	payload, err := json.Marshal(claims)
	Expect(err).NotTo(HaveOccurred())
	signed, err := maker.Sign(payload)
	Expect(err).NotTo(HaveOccurred())
	token, err := signed.CompactSerialize()
	Expect(err).NotTo(HaveOccurred())
	return token
}

// with is claims with some of them changed; a nil takes a claim away.
func claimsWith(claims, changes map[string]any) map[string]any {
	changed := maps.Clone(claims)
	for name, value := range changes {
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
	}
	return changed
}

// unsigned is a token with any header and signature.
func unsigned(head, claims map[string]any, signature string) string {
	GinkgoHelper()
	encode := func(value map[string]any) string {
		text, err := json.Marshal(value)
		Expect(err).NotTo(HaveOccurred())
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return encode(head) + "." + encode(claims) + "." + signature
}

var _ = Describe("Tokens", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	var issuer *foreignIssuer
	var first *signer
	var claims map[string]any

	BeforeAll(func() {
		issuer = newForeignIssuer()
		first = rsaSigner("first")
		issuer.publish(first)
		place := install("ARCHON_OIDC_ISSUER="+issuer.url, "ARCHON_OIDC_AUDIENCE=archon-api", "ARCHON_OIDC_TENANT_CLAIM=organization.id", "ARCHON_OIDC_ROLES_CLAIM=realm_access.roles")
		s = surfaceOf(place.start("serve"))
		now := time.Now().Unix()
		claims = map[string]any{
			"iss": issuer.url, "aud": []string{"account", "archon-api"}, "sub": "ada", "name": "Ada Lovelace", "iat": now, "exp": now + 600,
			"organization": map[string]any{"id": "acme"}, "realm_access": map[string]any{"roles": []string{"admin", "offline_access"}},
		}
	})

	status := func(token string) int {
		GinkgoHelper()
		return s.ask(http.MethodGet, mePath, token, nil).status
	}

	It("are taken from an issuer with claims of other names, and after it has rotated its key", func() {
		Expect(s.get(mePath, first.sign(claims)).data()).To(Equal(map[string]any{
			"tenant_id": "acme", "user_id": "ada", "name": "Ada Lovelace", "roles": []any{"admin"},
		}))
		curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		Expect(err).NotTo(HaveOccurred())
		second := &signer{jose.JSONWebKey{Key: curve, KeyID: "second", Use: "sig"}, jose.ES256}
		issuer.publish(second, first)
		Expect(status(second.sign(claims))).To(Equal(http.StatusOK), "a new key")
		Expect(status(first.sign(claims))).To(Equal(http.StatusOK), "the old one, which is still published")
		_, stderr, code := s.run("token", "--tenant", "acme", "--user", "ada", "--role", "admin")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("ARCHON_OIDC_ISSUER"))
	})

	It("that don't count are 401 with a reason, and tell nothing", func() {
		now := time.Now().Unix()
		public, err := x509.MarshalPKIXPublicKey(first.key.Public().Key)
		Expect(err).NotTo(HaveOccurred())
		confused := func(secret []byte) string {
			return (&signer{jose.JSONWebKey{Key: secret, KeyID: "first"}, jose.HS256}).sign(claims)
		}
		jwk, err := json.Marshal(first.key.Public())
		Expect(err).NotTo(HaveOccurred())
		good := first.sign(claims)
		parts := strings.Split(good, ".")
		for what, token := range map[string]string{
			"nothing":            "",
			"garbage":            "garbage",
			"three dots":         "...",
			"expired":            first.sign(claimsWith(claims, map[string]any{"exp": now - 60})),
			"no expiry":          first.sign(claimsWith(claims, map[string]any{"exp": nil})),
			"expiry as text":     first.sign(claimsWith(claims, map[string]any{"exp": "tomorrow"})),
			"not yet valid":      first.sign(claimsWith(claims, map[string]any{"nbf": now + 60})),
			"another audience":   first.sign(claimsWith(claims, map[string]any{"aud": "archon"})),
			"no audience":        first.sign(claimsWith(claims, map[string]any{"aud": nil})),
			"another issuer":     first.sign(claimsWith(claims, map[string]any{"iss": issuer.url + "/"})),
			"no issuer":          first.sign(claimsWith(claims, map[string]any{"iss": nil})),
			"no tenant":          first.sign(claimsWith(claims, map[string]any{"organization": nil})),
			"empty tenant":       first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": ""}})),
			"upper-case tenant":  first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": "Acme"}})),
			"tenant with slash":  first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": "a/b"}})),
			"tenant with dash":   first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": "-acme"}})),
			"tenant too long":    first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": strings.Repeat("a", 64)}})),
			"tenant is a list":   first.sign(claimsWith(claims, map[string]any{"organization": map[string]any{"id": []string{"acme"}}})),
			"no subject":         first.sign(claimsWith(claims, map[string]any{"sub": nil})),
			"roles are a number": first.sign(claimsWith(claims, map[string]any{"realm_access": map[string]any{"roles": 7}})),
			"unsigned":           unsigned(map[string]any{"alg": "none", "typ": "JWT"}, claims, ""),
			"unsigned, in caps":  unsigned(map[string]any{"alg": "NONE", "kid": "first"}, claims, parts[2]),
			"no signature":       parts[0] + "." + parts[1] + ".",
			"another payload":    parts[0] + "." + strings.Split(first.sign(claimsWith(claims, map[string]any{"sub": "eve"})), ".")[1] + "." + parts[2],
			"HS256 with PEM":     confused(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
			"HS256 with DER":     confused(public),
			"HS256 with JWK":     confused(jwk),
			"own key inside":     unsigned(map[string]any{"alg": "RS256", "jwk": json.RawMessage(jwk)}, claims, parts[2]),
			"unknown key id":     rsaSigner("nobody's").sign(claims),
			"wrong key":          rsaSigner("first").sign(claims),
			"basic auth":         base64.StdEncoding.EncodeToString([]byte("ada:secret")),
			"too long":           strings.Repeat("a", 17<<10),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := s.ask(method, providersPath, token, nil)
				Expect(r.status).To(Equal(http.StatusUnauthorized), what+r.body)
				Expect(r.code()).To(Equal("unauthenticated"), what)
				if len(token) > 20 {
					Expect(r.body+r.header.Get("WWW-Authenticate")).NotTo(ContainSubstring(token[:20]), what)
				}
			}
		}
		for _, authorization := range []string{"Basic " + good, "bearer", "Bearer", good, "Bearer " + good + " x", "Bearer " + good + "," + good} {
			Expect(s.ask(http.MethodGet, mePath, "", nil, header{"Authorization": authorization}).status).To(Equal(http.StatusUnauthorized), authorization[:6])
		}
		Expect(s.ask(http.MethodGet, mePath, "", nil, header{"Authorization": "bearer " + good}).status).To(Equal(http.StatusOK), "schemes have no case")
		Expect(s.ask(http.MethodGet, mePath+"?access_token="+good, "", nil).status).To(Equal(http.StatusUnauthorized), "never a token in a URL")
		Expect(status(first.sign(claimsWith(claims, map[string]any{"exp": now - 5, "nbf": now + 5})))).To(Equal(http.StatusOK), "clocks may be a little apart")
	})

	It("name the tenant, whatever the request says", func() {
		mine := first.sign(claims)
		r := s.ask(http.MethodGet, mePath, mine, nil, header{"X-Tenant-ID": "other", "X-Archon-Tenant": "other", "X-Forwarded-For": "6.6.6.6"})
		Expect(r.data()).To(HaveKeyWithValue("tenant_id", "acme"))
		named := s.ask(http.MethodPost, providersPath, mine, map[string]any{"name": "x", "type": "vllm", "base_url": "https://example.com", "tenant_id": "other"})
		Expect(named.status).To(Equal(http.StatusUnprocessableEntity))
		_, details := named.failure()
		Expect(details).To(HaveKeyWithValue("tenant_id", "is not a known field"))
		refused := s.entries(mine, "outcome=rejected&limit=1")
		Expect(refused[0]).To(HaveKeyWithValue("ip_address", "127.0.0.1"), "a proxy that nobody trusts is not believed")
	})

	It("let each role do what the document says, and nothing else", func() {
		allowed := map[string][]string{
			"any": {"", "viewer", "operator", "admin", "auditor", "admin auditor"}, "viewer": {"viewer", "operator", "admin", "auditor", "admin auditor"},
			"operator": {"operator", "admin", "admin auditor"}, "admin": {"admin", "admin auditor"}, "audit": {"auditor", "admin", "admin auditor"},
		}
		tokens := map[string]string{}
		for _, roles := range allowed["any"] {
			tokens[roles] = first.sign(claimsWith(claims, map[string]any{"realm_access": map[string]any{"roles": roles}}))
		}
		eachOperation(s.doc, func(method, template string, operation *openapi3.Operation) {
			needed, _ := operation.Extensions["x-archon-role"].(string)
			Expect(allowed).To(HaveKey(needed), template)
			for roles, token := range tokens {
				at := method + " " + template + " as " + roles
				r := s.ask(method, filled(template, uuid.NewString()), token, nil)
				if slices.Contains(allowed[needed], roles) {
					Expect(r.status).NotTo(BeElementOf(http.StatusForbidden, http.StatusUnauthorized), at)
					continue
				}
				Expect(r.status).To(Equal(http.StatusForbidden), at)
				code, details := r.failure()
				Expect(code).To(Equal("forbidden"), at)
				Expect(details).To(Equal(map[string]any{"required_role": needed}), at)
			}
		})
	})

	It("of an issuer that is away are judged by the keys that are known", func() {
		issuer.close()
		Expect(status(first.sign(claims))).To(Equal(http.StatusOK))
	})
})

// eachOperation visits the operations below /api.
func eachOperation(doc *openapi3.T, visit func(method, template string, operation *openapi3.Operation)) {
	for _, template := range doc.Paths.InMatchingOrder() {
		if !strings.HasPrefix(template, "/api/") {
			continue
		}
		operations := doc.Paths.Value(template).Operations()
		for _, method := range keys(operations) {
			visit(method, template, operations[method])
		}
	}
}

// filled is a path template with a value for every parameter.
func filled(template, value string) string {
	segments := strings.Split(template, "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, "{") {
			segments[i] = value
		}
	}
	return strings.Join(segments, "/")
}
