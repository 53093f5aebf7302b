package oidcdev

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// discovery is the part of OpenID Connect Discovery 1.0's document that is true of this issuer.
type discovery struct {
	Issuer string `json:"issuer"`
	// AuthorizationEndpoint is REQUIRED by section 3 of the specification, and common clients refuse a document without
	// it. So it is named, and answers as any authorization endpoint answers a client that it does not know. The token
	// endpoint may be left out where the implicit flow is the only one, and there is none here: hence the one response
	// type below.
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	KeysURL               string   `json:"jwks_uri"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	SigningAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	Scopes                []string `json:"scopes_supported"`
	Claims                []string `json:"claims_supported"`
}

func (i *Issuer) discovery() discovery {
	base := strings.TrimSuffix(i.URL(), "/")

	return discovery{
		Issuer:                i.URL(),
		AuthorizationEndpoint: base + authorizePath,
		KeysURL:               base + keysPath,
		ResponseTypes:         []string{"id_token"},
		GrantTypes:            []string{"implicit"},
		SubjectTypes:          []string{"public"},
		SigningAlgorithms:     []string{string(jose.RS256)},
		Scopes:                []string{"openid"},
		Claims:                append(ownClaims(), i.tenantClaim, i.rolesClaim),
	}
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/jwks"
	authorizePath = "/authorize"
)

// Handler serves the discovery document, the keys and the authorization endpoint below the path of the issuer's URL. It
// expects whole paths: mounted at /oidc/ it needs no http.StripPrefix.
func (i *Issuer) Handler() http.Handler {
	base := strings.TrimSuffix(i.url.Path, "/")
	mux := http.NewServeMux()

	mux.HandleFunc("GET "+base+discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, i.discovery())
	})
	mux.HandleFunc("GET "+base+keysPath, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, jose.JSONWebKeySet{Keys: i.Keys()})
	})
	mux.HandleFunc("GET "+base+authorizePath, refuseClient)
	mux.HandleFunc("POST "+base+authorizePath, refuseClient)

	return mux
}

// writeJSON answers with public data, which scripts of any origin may read.
func writeJSON(w http.ResponseWriter, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)

		return
	}

	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Access-Control-Allow-Origin", "*")
	// A rotated key must be seen by the next request for it.
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")

	// A caller that went away can't be told.
	_, _ = w.Write(content)
}

// refuseClient tells the person in front of the browser, and does not redirect: RFC 6749, section 4.1.2.1, for a
// client that is not registered, and none can be.
func refuseClient(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "No client is registered with this issuer. Get a token with `archon token`.", http.StatusBadRequest)
}
