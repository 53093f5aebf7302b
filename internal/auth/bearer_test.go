package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/auth"
)

func request(headers ...string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
	for _, header := range headers {
		r.Header.Add("Authorization", header)
	}

	return r
}

func TestBearerToken(t *testing.T) {
	t.Parallel()

	for header, want := range map[string]string{
		"Bearer a.b-c_d~e+f/g==": "a.b-c_d~e+f/g==",
		"bearer abc":             "abc",
		"BEARER   abc  ":         "abc",
		"Bearer " + strings.Repeat("a", auth.MaxTokenBytes): strings.Repeat("a", auth.MaxTokenBytes),
	} {
		if got, err := auth.BearerToken(request(header)); err != nil || got != want {
			t.Errorf("%.40q gives %.40q, %v", header, got, err)
		}
	}
}

func TestNoBearerToken(t *testing.T) {
	t.Parallel()

	const (
		bare    = `Bearer realm="archon"`
		invalid = bare + `, error="invalid_token", error_description="`
	)

	for name, tt := range map[string]struct {
		headers   []string
		challenge string
	}{
		"none":           {nil, bare},
		"empty":          {[]string{""}, bare},
		"basic":          {[]string{"Basic YTpi"}, bare},
		"no token":       {[]string{"Bearer"}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"only spaces":    {[]string{"Bearer   "}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"only padding":   {[]string{"Bearer =="}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"two tokens":     {[]string{"Bearer a b"}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"a comma":        {[]string{"Bearer a,Bearer b"}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"a quote":        {[]string{`Bearer "a"`}, invalid + `the Authorization header is not of the form Bearer TOKEN"`},
		"two headers":    {[]string{"Bearer a", "Bearer a"}, invalid + `there is more than one Authorization header"`},
		"basic and ours": {[]string{"Basic YTpi", "Bearer a"}, invalid + `there is more than one Authorization header"`},
		"too long":       {[]string{"Bearer " + strings.Repeat("a", auth.MaxTokenBytes+1)}, invalid + `the token is longer than 16 KiB"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := auth.BearerToken(request(tt.headers...))

			var refused *auth.Error
			if got != "" || !errors.As(err, &refused) || refused.Error() != refused.Reason || refused.Challenge() != tt.challenge {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func FuzzBearerToken(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer\tabc")
	f.Add("Bearer \xff")

	f.Fuzz(func(t *testing.T, header string) {
		token, err := auth.BearerToken(request(header))

		var refused *auth.Error
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("got %v", err)
		}

		if err == nil && (token == "" || len(token) > auth.MaxTokenBytes || strings.ContainsAny(token, " \t\r\n,\"") || !strings.HasSuffix(strings.TrimRight(header, " "), token)) {
			t.Fatalf("took %q from %q", token, header)
		}
	})
}
