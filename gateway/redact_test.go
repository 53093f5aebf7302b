package gateway_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/archonhq/archon/gateway"
)

func TestRedactSecrets(t *testing.T) {
	t.Parallel()

	const secret = `pA55/wörd+"quoted"&more=1 end`

	for name, form := range map[string]string{
		"as it is":               secret,
		"in a query":             url.QueryEscape(secret),
		"in a path":              url.PathEscape(secret),
		"in a query, lower case": `pA55%2fw%c3%b6rd%2b%22quoted%22%26more%3d1+end`,
		"in base64":              base64.StdEncoding.EncodeToString([]byte(secret)),
		"in URL-safe base64":     base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"in basic auth":          base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"in basic auth, shifted": base64.StdEncoding.EncodeToString([]byte("me:" + secret + ":")),
		"in basic auth, again":   base64.StdEncoding.EncodeToString([]byte("a:" + secret + "!!")),
		"in hex":                 hex.EncodeToString([]byte(secret)),
		"in JSON":                `pA55/wörd+\"quoted\"&more=1 end`,
		"in careful JSON":        `pA55/wörd+\"quoted\"\u0026more=1 end`,
		"in HTML":                `pA55/wörd+&#34;quoted&#34;&amp;more=1 end`,
		"its beginning":          secret[:12],
		"its end":                secret[len(secret)-12:],
		"its middle":             secret[6:20],
		"with a line break":      strings.ReplaceAll(secret, " ", "\n"),
		"with something hidden":  secret[:10] + "\u200b" + secret[10:],
	} {
		got := gateway.Redact("before "+form+" after", secret)
		for start := range len(form) - 7 {
			if strings.Contains(got, form[start:start+8]) {
				t.Errorf("%s: %q still holds %q", name, got, form[start:start+8])
			}
		}

		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: too much is gone: %q", name, got)
		}
	}
}

func TestRedactTexts(t *testing.T) {
	t.Parallel()

	for _, example := range []struct{ text, want string }{
		{"", ""},
		{"plain words stay.", "plain words stay."},
		{"Incorrect API key provided: sk-abc***************wxyz. Try again", "Incorrect API key provided: [redacted] Try again"},
		{"key sk-proj-abc…wxyz is bad", "key [redacted] is bad"},
		{"key key_8Tjw********rtUb is bad", "key [redacted] is bad"},
		{"key abcd...wxyz is bad", "key [redacted] is bad"},
		{"key ending in ...wxyz is bad", "key ending in [redacted] is bad"},
		{"please wait...", "please wait..."},
		{"AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY is bad", "[redacted] is bad"},
		{"AKIAIOSFODNN7EXAMPLE is bad", "[redacted] is bad"},
		{"token eyJhbGciOi.eyJzdWIiOiIx.c2ln is bad", "token [redacted] is bad"},
		{"sent Bearer abc and bearer q1w2e3", "sent Bearer [redacted] and bearer [redacted]"},
		{"Basic dXNlcjpwYXNz is bad", "Basic [redacted] is bad"},
		{"Missing Bearer token. Use Bearer authentication", "Missing Bearer token. Use Bearer authentication"},
		{"GET /v1?key=hunter22&x=1", "GET /v1?key=[redacted]&x=1"},
		{"api_key=hunter22, token=t", "api_key=[redacted], token=[redacted]"},
		{"hex 0123456789abcdef0123 is bad", "hex [redacted] is bad"},
		{"base64 q83vEjRWeJCrze8SNFZ4kKvN7w== is bad", "base64 [redacted] is bad"},
		{"model claude-3-5-sonnet-20241022 not found", "model claude-3-5-sonnet-20241022 not found"},
		{"see https://platform.openai.com/account/api-keys.", "see https://platform.openai.com/account/api-keys."},
		{"id e9f0c6f5-7d0e-4d9b-b7c4-6a0b0f5a1a11", "id e9f0c6f5-7d0e-4d9b-b7c4-6a0b0f5a1a11"},
		{"risk-free task-list", "risk-free task-list"},
		{"a\x00b\x1b[31mc\r\nd\te\u202ef", "a b [31mc d ef"},
		{"bad \xff\xfe bytes", "bad \uFFFD bytes"},
	} {
		if got := gateway.Redact(example.text); got != example.want {
			t.Errorf("%q: got %q, want %q", example.text, got, example.want)
		}
	}
}

func TestRedactShortAndOddSecrets(t *testing.T) {
	t.Parallel()

	for _, example := range []struct{ text, secret, want string }{
		{"Incorrect API key provided: kk.", "kk", "Incorrect API key provided: [redacted]."},
		{"key red is bad", "red", "key ### is bad"}, // the usual mark would hold it
		{"model EMPTY", "EMPTY", "model [redacted]"},
		{"aaaa", "aa", "[redacted]"},
		{"###[redacted]", "#", "[redacted][redacted]"},
		{"text", "", "text"},
	} {
		if got := gateway.Redact(example.text, example.secret); got != example.want {
			t.Errorf("%q without %q: got %q, want %q", example.text, example.secret, got, example.want)
		}
	}

	// No mark is left, and each removal brings the secret together again.
	if got := gateway.Redact("x aaaaaaaaabbbbbbbbb y", "ab", "#", "d"); got != "" {
		t.Errorf("got %q", got)
	}

	// Two secrets of which one holds the other's mark, and every mark.
	if got := gateway.Redact("x#y[z]e", "#", "e"); strings.ContainsAny(got, "#e") {
		t.Errorf("got %q", got)
	}
}

func TestRedactIsShort(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("wörter ", 100_000)

	got := gateway.Redact(long, "hunter22")
	if utf8.RuneCountInString(got) > 300 || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
		t.Errorf("got %d characters: %q", utf8.RuneCountInString(got), got)
	}

	if exact := strings.Repeat("ö", 300); gateway.Redact(exact) != exact {
		t.Error("300 characters need no cut")
	}

	huge := strings.Repeat("k3y-", 2048)
	if got := gateway.Redact(strings.Repeat(huge, 12)+huge, huge); strings.Contains(got, "k3y-k3y-") {
		t.Errorf("a huge secret shows: %q", got)
	}
}

func FuzzRedact(f *testing.F) {
	for _, seed := range [][2]string{
		{"401: bad key sk-abcdefghijklmnop", "sk-abcdefghijklmnop"},
		{"[redacted]", "redacted"},
		{"…", "…"},
		{"a", "a"},
		{"Bearer x", "Bearer"},
		{"se\x00cret", "se cret"},
		{"\xff", "\xff"},
		{"ab###cd", "b#"},
		{"401", "401"},
	} {
		f.Add(seed[0], seed[1], "###")
		f.Add(seed[0]+seed[1]+seed[0], seed[1], "other secret")
		f.Add(url.QueryEscape(seed[0]+seed[1]), seed[0], seed[1])
	}

	f.Fuzz(func(t *testing.T, text, secret, other string) {
		got := gateway.Redact(text+secret+text+other, secret, other)

		for _, s := range []string{secret, other} {
			if s != "" && strings.Contains(got, s) {
				t.Errorf("%q holds %q", got, s)
			}

			for start := range len(s) - 7 {
				if strings.Contains(got, s[start:start+8]) {
					t.Errorf("%q holds %q of %q", got, s[start:start+8], s)
				}
			}
		}

		if utf8.RuneCountInString(got) > 300 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q is too long, not UTF-8 or not plain", got)
		}
	})
}
