package oidcdev_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/oidcdev"
)

var _ = Describe("the handler", func() {
	var (
		server *httptest.Server
		issuer *oidcdev.Issuer
	)

	// serve mounts the issuer of a fresh folder on a server of its own, at a path.
	serve := func(path string) {
		mux := http.NewServeMux()
		server = httptest.NewServer(mux)
		DeferCleanup(server.Close)

		var err error
		issuer, err = oidcdev.Open(oidcdev.Config{Dir: GinkgoT().TempDir(), URL: server.URL + path})
		Expect(err).NotTo(HaveOccurred())
		mux.Handle("/", issuer.Handler())
	}

	request := func(method, path string) *http.Response {
		GinkgoHelper()

		req, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, http.NoBody)
		Expect(err).NotTo(HaveOccurred())

		response, err := http.DefaultClient.Do(req)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(response.Body.Close)

		return response
	}

	DescribeTable(
		"satisfies go-oidc's discovery, key set and verifier",
		func(ctx SpecContext, path string) {
			serve(path)

			provider, err := oidc.NewProvider(ctx, issuer.URL())
			Expect(err).NotTo(HaveOccurred())

			verifier := provider.Verifier(&oidc.Config{ClientID: "archon"})
			first, err := verifier.Verify(ctx, token(issuer, claims()))
			Expect(err).NotTo(HaveOccurred())
			Expect(first.Subject).To(Equal("ada"))

			Expect(issuer.Rotate()).To(Succeed())
			_, err = verifier.Verify(ctx, token(issuer, claims()))
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("below a path", "/oidc"),
		Entry("below a path with a slash at its end", "/realms/dev/"),
		Entry("at the root", ""),
	)

	It("satisfies Archon's verifier of remote issuers", func(ctx SpecContext) {
		serve("/oidc")

		verifier, err := auth.NewVerifier(ctx, auth.Config{Issuer: issuer.URL(), Audience: "archon"})
		Expect(err).NotTo(HaveOccurred())

		principal, err := verifier.Verify(ctx, token(issuer, claims()))
		Expect(err).NotTo(HaveOccurred())
		Expect(principal.Tenant).To(Equal("acme"))
	})

	It("has a complete discovery document, all of whose endpoints answer", func() {
		serve("/oidc")

		response := request(http.MethodGet, "/oidc/.well-known/openid-configuration")
		Expect(response).To(HaveHTTPStatus(http.StatusOK))
		Expect(response).To(HaveHTTPHeaderWithValue("Content-Type", "application/json"))
		Expect(response).To(HaveHTTPHeaderWithValue("Access-Control-Allow-Origin", "*"))

		var document map[string]any
		Expect(json.NewDecoder(response.Body).Decode(&document)).To(Succeed())

		// What section 3 of OpenID Connect Discovery 1.0 makes REQUIRED of an issuer with the implicit flow alone.
		for _, required := range []string{
			"issuer", "authorization_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported",
			"id_token_signing_alg_values_supported",
		} {
			Expect(document).To(HaveKey(required))
		}

		Expect(document).NotTo(HaveKey("token_endpoint"))
		Expect(document["claims_supported"]).To(ContainElements("tenant_id", "roles", "sub"))

		for name, value := range document {
			if strings.HasSuffix(name, "_endpoint") || name == "jwks_uri" {
				path, ok := strings.CutPrefix(value.(string), server.URL)
				Expect(ok).To(BeTrue())
				Expect(request(http.MethodGet, path)).NotTo(HaveHTTPStatus(http.StatusNotFound), name)
			}
		}
	})

	It("publishes public keys only", func() {
		serve("/oidc")
		Expect(issuer.Rotate()).To(Succeed())

		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		Expect(json.NewDecoder(request(http.MethodGet, "/oidc/jwks").Body).Decode(&set)).To(Succeed())
		Expect(set.Keys).To(HaveLen(2))

		for _, key := range set.Keys {
			Expect(key).To(And(HaveKeyWithValue("kty", "RSA"), HaveKeyWithValue("use", "sig"), HaveKey("kid"), HaveKeyWithValue("alg", "RS256")))
			Expect(key).NotTo(Or(HaveKey("d"), HaveKey("p"), HaveKey("q")))
		}
	})

	It("refuses other methods, other paths and every client", func() {
		serve("/oidc")

		Expect(request(http.MethodPost, "/oidc/jwks")).To(HaveHTTPStatus(http.StatusMethodNotAllowed))
		Expect(request(http.MethodHead, "/oidc/jwks")).To(HaveHTTPStatus(http.StatusOK))
		Expect(request(http.MethodGet, "/oidc/token")).To(HaveHTTPStatus(http.StatusNotFound))
		Expect(request(http.MethodGet, "/jwks")).To(HaveHTTPStatus(http.StatusNotFound))
		Expect(request(http.MethodGet, "/oidc/authorize?redirect_uri=http://evil.example")).To(HaveHTTPStatus(http.StatusBadRequest))
		Expect(request(http.MethodPost, "/oidc/authorize")).To(HaveHTTPStatus(http.StatusBadRequest))
	})
})
