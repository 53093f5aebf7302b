package auth_test

import (
	"context"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/archonhq/archon/internal/auth"
)

// refusal returns the reason of an *auth.Error, and fails the test for any other outcome.
func refusal(t *testing.T, err error) string {
	t.Helper()

	var refused *auth.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want an *auth.Error", err)
	}

	return refused.Reason
}

func TestRefusedClaims(t *testing.T) {
	t.Parallel()

	now := newClock().Now()
	verifier, key := embedded(t, func() time.Time { return now })
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }

	for name, tt := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"expired":                {map[string]any{"exp": at(-time.Hour)}, "the token has expired"},
		"expired past leeway":    {map[string]any{"exp": at(-30 * time.Second)}, "the token has expired"},
		"no expiry":              {map[string]any{"exp": nil}, "the token has no valid time of expiry"},
		"expiry as text":         {map[string]any{"exp": "2099-01-01"}, "the token has no valid time of expiry"},
		"expiry beyond reason":   {map[string]any{"exp": 1e300}, "the token has no valid time of expiry"},
		"negative expiry":        {map[string]any{"exp": -1}, "the token has no valid time of expiry"},
		"not yet valid":          {map[string]any{"nbf": at(31 * time.Second)}, "the token is not valid yet"},
		"not before as text":     {map[string]any{"nbf": "now"}, "the token is not valid yet"},
		"wrong issuer":           {map[string]any{"iss": "http://localhost/oidc/"}, "the token is from another issuer"},
		"no issuer":              {map[string]any{"iss": nil}, "the token is from another issuer"},
		"issuer of another type": {map[string]any{"iss": []string{"http://localhost/oidc"}}, "the token is from another issuer"},
		"wrong audience":         {map[string]any{"aud": "archon2"}, "the token is for another audience"},
		"audience is exact":      {map[string]any{"aud": "archon other"}, "the token is for another audience"},
		"wrong audiences":        {map[string]any{"aud": []string{"a", "b"}}, "the token is for another audience"},
		"audience of numbers":    {map[string]any{"aud": []any{1, "archon"}}, "the token is for another audience"},
		"no audience":            {map[string]any{"aud": nil}, "the token is for another audience"},
		"no subject":             {map[string]any{"sub": nil}, "the token has no valid subject"},
		"subject in other case":  {map[string]any{"sub": nil, "Sub": "ada"}, "the token has no valid subject"},
		"empty subject":          {map[string]any{"sub": ""}, "the token has no valid subject"},
		"long subject":           {map[string]any{"sub": strings.Repeat("x", 256)}, "the token has no valid subject"},
		"NUL in subject":         {map[string]any{"sub": "a\x00b"}, "the token has no valid subject"},
		"line break in subject":  {map[string]any{"sub": "a\nb"}, "the token has no valid subject"},
		"subject as number":      {map[string]any{"sub": 7}, "the token has no valid subject"},
		"no tenant":              {map[string]any{"tenant_id": nil}, "the token has no valid tenant"},
		"tenant in other case":   {map[string]any{"tenant_id": nil, "TENANT_ID": "acme"}, "the token has no valid tenant"},
		"bad tenant":             {map[string]any{"tenant_id": "Acme"}, "the token has no valid tenant"},
		"tenants":                {map[string]any{"tenant_id": []string{"acme"}}, "the token has no valid tenant"},
		"long tenant":            {map[string]any{"tenant_id": strings.Repeat("a", 64)}, "the token has no valid tenant"},
		"roles as number":        {map[string]any{"roles": 1}, "the roles in the token are neither"},
		"roles of numbers":       {map[string]any{"roles": []any{"admin", 1}}, "the roles in the token are neither"},
		"roles as object":        {map[string]any{"roles": map[string]any{"admin": true}}, "the roles in the token are neither"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := verifier.Verify(context.Background(), token(key, "http://localhost/oidc", now, tt.changes))
			if reason := refusal(t, err); !strings.HasPrefix(reason, tt.want) {
				t.Errorf("got %q, want %q", reason, tt.want)
			}
		})
	}
}

func TestAcceptedClaims(t *testing.T) {
	t.Parallel()

	now := newClock().Now()
	key := rsaKey("k1")
	local := staticIssuer{url: "http://localhost/oidc", keys: []jose.JSONWebKey{key.Public()}}
	at := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) / 1000 }
	want := auth.Principal{
		Tenant: "acme", UserID: "ada", Name: "Ada Lovelace", Roles: []auth.Role{"admin"}, ExpiresAt: now.Add(time.Hour),
	}

	for name, tt := range map[string]struct {
		changes map[string]any
		claims  [2]string
		want    func(*auth.Principal)
	}{
		"good":                  {want: func(*auth.Principal) {}},
		"expired within leeway": {changes: map[string]any{"exp": at(-29 * time.Second)}, want: func(p *auth.Principal) { p.ExpiresAt = now.Add(-29 * time.Second) }},
		"fraction of a second":  {changes: map[string]any{"exp": at(1500 * time.Millisecond)}, want: func(p *auth.Principal) { p.ExpiresAt = now.Add(1500 * time.Millisecond) }},
		"soon valid":            {changes: map[string]any{"nbf": at(30 * time.Second)}, want: func(*auth.Principal) {}},
		"no nbf":                {changes: map[string]any{"nbf": nil, "iat": nil}, want: func(*auth.Principal) {}},
		"several audiences":     {changes: map[string]any{"aud": []string{"account", "archon"}}, want: func(*auth.Principal) {}},
		"longest subject":       {changes: map[string]any{"sub": strings.Repeat("ü", 127)}, want: func(p *auth.Principal) { p.UserID = strings.Repeat("ü", 127) }},
		"user name for name":    {changes: map[string]any{"name": nil, "preferred_username": "ada1"}, want: func(p *auth.Principal) { p.Name = "ada1" }},
		"unfit name":            {changes: map[string]any{"name": "a\x1b[31m"}, want: func(p *auth.Principal) { p.Name = "" }},
		"long name":             {changes: map[string]any{"name": strings.Repeat("x", 256)}, want: func(p *auth.Principal) { p.Name = "" }},
		"no roles":              {changes: map[string]any{"roles": nil}, want: func(p *auth.Principal) { p.Roles = nil }},
		"roles in text":         {changes: map[string]any{"roles": " viewer  auditor "}, want: func(p *auth.Principal) { p.Roles = []auth.Role{"auditor", "viewer"} }},
		"known roles once":      {changes: map[string]any{"roles": []string{"viewer", "offline_access", "auditor", "viewer", "Admin"}}, want: func(p *auth.Principal) { p.Roles = []auth.Role{"auditor", "viewer"} }},
		"nested roles": {
			changes: map[string]any{"roles": nil, "realm_access": map[string]any{"roles": []string{"operator"}}},
			claims:  [2]string{"", "realm_access.roles"},
			want:    func(p *auth.Principal) { p.Roles = []auth.Role{"operator"} },
		},
		"a whole key before a path": {
			changes: map[string]any{"realm_access.roles": "viewer", "realm_access": map[string]any{"roles": "admin"}},
			claims:  [2]string{"", "realm_access.roles"},
			want:    func(p *auth.Principal) { p.Roles = []auth.Role{"viewer"} },
		},
		"dots within the path": {
			changes: map[string]any{"resource_access": map[string]any{"my.client": map[string]any{"roles": "viewer"}, "my": "x"}},
			claims:  [2]string{"", "resource_access.my.client.roles"},
			want:    func(p *auth.Principal) { p.Roles = []auth.Role{"viewer"} },
		},
		"a URL": {
			changes: map[string]any{"https://acme.example/roles": []string{"viewer"}},
			claims:  [2]string{"", "https://acme.example/roles"},
			want:    func(p *auth.Principal) { p.Roles = []auth.Role{"viewer"} },
		},
		"a path that leads nowhere": {
			changes: map[string]any{"realm_access": "x"},
			claims:  [2]string{"", "realm_access.roles"},
			want:    func(p *auth.Principal) { p.Roles = nil },
		},
		"department":           {changes: map[string]any{"department": " CC 4711/ü "}, want: func(p *auth.Principal) { p.Department = "CC 4711/ü" }},
		"department in a list": {changes: map[string]any{"department": []string{"sales"}}, want: func(p *auth.Principal) { p.Department = "sales" }},
		"two departments":      {changes: map[string]any{"department": []string{"sales", "legal"}}, want: func(*auth.Principal) {}},
		"department as number": {changes: map[string]any{"department": 4711}, want: func(*auth.Principal) {}},
		"long department":      {changes: map[string]any{"department": strings.Repeat("x", 201)}, want: func(*auth.Principal) {}},
		"line break in it":     {changes: map[string]any{"department": "a\nb"}, want: func(*auth.Principal) {}},
		"nested tenant": {
			changes: map[string]any{"tenant_id": nil, "org": map[string]any{"id": "b-1_x"}},
			claims:  [2]string{"org.id", ""},
			want:    func(p *auth.Principal) { p.Tenant = "b-1_x" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			verifier, err := auth.NewEmbeddedVerifier(local, auth.Config{
				Audience: "archon", Now: func() time.Time { return now }, TenantClaim: tt.claims[0], RolesClaim: tt.claims[1],
			})
			if err != nil {
				t.Fatal(err)
			}

			got, err := verifier.Verify(context.Background(), token(key, "http://localhost/oidc", now, tt.changes))
			if err != nil {
				t.Fatal(err)
			}

			expected := want
			tt.want(&expected)

			if !slices.Equal(got.Roles, expected.Roles) || !got.ExpiresAt.Equal(expected.ExpiresAt) ||
				got.Tenant != expected.Tenant || got.Department != expected.Department || got.UserID != expected.UserID || got.Name != expected.Name {
				t.Errorf("got %+v, want %+v", got, expected)
			}
		})
	}
}

// forgeries are tokens with good claims that the holder of the public key alone could make.
func forgeries(key jose.JSONWebKey, now time.Time) map[string]string {
	claims := must(json.Marshal(goodClaims("http://localhost/oidc", now)))
	private, isRSA := key.Key.(*rsa.PrivateKey)
	if !isRSA {
		panic("the key is not of RSA")
	}

	pkix := must(x509.MarshalPKIXPublicKey(&private.PublicKey))
	encode := base64.RawURLEncoding.EncodeToString
	none := func(alg string) string {
		return encode([]byte(`{"alg":"`+alg+`","kid":"k1"}`)) + "." + encode(claims) + "."
	}
	good := token(key, "http://localhost/oidc", now, nil)
	parts := strings.Split(good, ".")

	return map[string]string{
		"alg none":                   none("none"),
		"alg None":                   none("None"),
		"alg NONE":                   none("NONE"),
		"no alg":                     none(""),
		"none with a signature":      strings.TrimSuffix(none("none"), ".") + "." + parts[2],
		"HS256 with PEM":             sign(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}), "k1", jose.HS256, claims),
		"HS256 with PEM, trimmed":    sign([]byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})))), "k1", jose.HS256, claims),
		"HS256 with PKIX DER":        sign(pkix, "k1", jose.HS256, claims),
		"HS256 with PKCS 1 DER":      sign(x509.MarshalPKCS1PublicKey(&private.PublicKey), "k1", jose.HS256, claims),
		"HS256 with the JWK":         sign(must(key.Public().MarshalJSON()), "k1", jose.HS256, claims),
		"HS256 with the modulus":     sign(private.N.Bytes(), "k1", jose.HS256, claims),
		"HS512 with PKIX DER":        sign(pkix, "k1", jose.HS512, claims),
		"no signature":               parts[0] + "." + parts[1] + ".",
		"other claims, same sign":    parts[0] + "." + encode([]byte(`{"sub":"eve"}`)) + "." + parts[2],
		"another key, same id":       token(rsaKey("k1"), "http://localhost/oidc", now, nil),
		"another key, no id":         token(rsaKey(""), "http://localhost/oidc", now, nil),
		"another key, unknown id":    token(rsaKey("k9"), "http://localhost/oidc", now, nil),
		"PS256 by a key for RS256":   sign(private, "k1", jose.PS256, claims),
		"ES256 under the RSA's id":   token(ecKey("k1", elliptic.P256()), "http://localhost/oidc", now, nil),
		"a key in the header":        embeddedKeyToken(claims),
		"the JSON serialisation":     must(must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)).Sign(claims)).FullSerialize(),
		"too long":                   good + strings.Repeat("A", auth.MaxTokenBytes),
		"four parts":                 good + "." + parts[2],
		"two parts":                  parts[0] + "." + parts[1],
		"empty":                      "",
		"dots":                       "..",
		"not base64":                 "!." + parts[1] + "." + parts[2],
		"white space in the middle":  parts[0] + "." + parts[1] + "\n." + parts[2],
		"a claim twice":              sign(private, "k1", jose.RS256, []byte(`{"sub":"a",`+string(claims[1:]))),
		"a list for claims":          sign(private, "k1", jose.RS256, []byte(`["sub"]`)),
		"null for claims":            sign(private, "k1", jose.RS256, []byte(`null`)),
		"nothing for claims":         sign(private, "k1", jose.RS256, nil),
		"invalid UTF-8 in a subject": sign(private, "k1", jose.RS256, []byte(strings.Replace(string(claims), `"ada"`, "\"\xff\xfe\x00\"", 1))),
	}
}

// embeddedKeyToken is signed by a key that it brings along.
func embeddedKeyToken(claims []byte) string {
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: rsaKey("k1").Key}, &jose.SignerOptions{EmbedJWK: true}))

	return must(must(signer.Sign(claims)).CompactSerialize())
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()

	now := newClock().Now()
	verifier, key := embedded(t, func() time.Time { return now })

	for name, forged := range forgeries(key, now) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			principal, err := verifier.Verify(context.Background(), forged)
			if reason := refusal(t, err); principal.UserID != "" || strings.ContainsAny(reason, "\"\\") {
				t.Errorf("got %+v, %q", principal, reason)
			}

			if len(forged) > 0 && strings.Contains(err.Error(), forged) {
				t.Error("the token is in the error")
			}
		})
	}
}

func TestDepartmentClaimOfAnotherName(t *testing.T) {
	t.Parallel()

	now, key := newClock().Now(), rsaKey("k1")
	verifier := must(auth.NewEmbeddedVerifier(staticIssuer{url: "http://localhost/oidc", keys: []jose.JSONWebKey{key.Public()}}, auth.Config{
		Audience: "archon", Now: func() time.Time { return now }, DepartmentClaim: "organization.unit",
	}))

	got, err := verifier.Verify(context.Background(), token(key, "http://localhost/oidc", now, map[string]any{
		"department": "not this", "organization": map[string]any{"unit": "sales"},
	}))
	if err != nil || got.Department != "sales" {
		t.Errorf("got %q, %v", got.Department, err)
	}
}

func TestVerifierConfiguration(t *testing.T) {
	t.Parallel()

	for name, cfg := range map[string]auth.Config{
		"no issuer":   {Audience: "archon"},
		"no host":     {Audience: "archon", Issuer: "https://"},
		"scheme":      {Audience: "archon", Issuer: "file:///etc"},
		"no audience": {Issuer: "http://127.0.0.1:1"},
	} {
		if _, err := auth.NewVerifier(context.Background(), cfg); !errors.Is(err, auth.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}

	if _, err := auth.NewEmbeddedVerifier(staticIssuer{}, auth.Config{}); !errors.Is(err, auth.ErrConfig) {
		t.Errorf("embedded: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	now := newClock().Now()
	verifier, key := embedded(f, func() time.Time { return now })

	f.Add(token(key, "http://localhost/oidc", now, nil), []byte(`{"sub":"ada"}`))

	for _, forged := range forgeries(key, now) {
		f.Add(forged, []byte(`{"exp":1e308,"aud":[[]]}`))
	}

	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		for _, candidate := range []string{text, sign(key.Key, key.KeyID, jose.RS256, payload)} {
			principal, err := verifier.Verify(context.Background(), candidate)

			var refused *auth.Error
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}

			if err == nil && (!auth.ValidTenantID(principal.Tenant) || !auth.ValidUserID(principal.UserID) || !principal.ExpiresAt.Add(auth.Leeway).After(now)) {
				t.Fatalf("accepted %+v", principal)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	now := newClock().Now()
	verifier, key := embedded(b, func() time.Time { return now })
	text := token(key, "http://localhost/oidc", now, nil)

	b.ReportAllocs()

	for b.Loop() {
		if _, err := verifier.Verify(context.Background(), text); err != nil {
			b.Fatal(err)
		}
	}
}
