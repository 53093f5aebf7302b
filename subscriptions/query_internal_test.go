package subscriptions

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/httpx"
)

// Whatever the query, it is either refused with 400, without a word of a ticket or an unknown name in it, or means what a
// reader of it would say.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "after=0", "streams=provider-*,key-1&types=x.*&after=4711", "ticket=v1.abc", "after=-1", "after=01", "streams=", "streams=a&streams=b", "%zz", "a;b", "token=secret",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		asked, err := parse(raw)
		if err != nil {
			var refused *httpx.Error
			if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || asked.after != -1 || asked.ticket != "" {
				t.Fatalf("%q: %v, %+v", raw, err, asked)
			}
			for name := range refused.Details {
				if !strings.Contains("streams types after ticket (query)", name) {
					t.Fatalf("%q: the answer repeats %q", raw, name)
				}
			}
			return
		}
		values, err := url.ParseQuery(raw)
		if err != nil || len(values) > 4 || asked.ticket != values.Get("ticket") || (asked.after >= 0) != values.Has("after") {
			t.Fatalf("%q was read as %+v", raw, asked)
		}
		if asked.streams.All() && values.Get("streams") != "" && !strings.Contains(","+values.Get("streams")+",", ",*,") {
			t.Fatalf("%q lets every stream through", raw)
		}
	})
}

func TestTokensAmongSubprotocols(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln"
	for offered, want := range map[string][2]string{
		"":                               {"", ""},
		"archon.v1":                      {"", "archon.v1"},
		token:                            {token, token},
		"bearer." + token:                {token, "bearer." + token},
		"archon.v1, " + token:            {token, "archon.v1"},
		token + ",archon.v1":             {token, "archon.v1"},
		"a.b.c, " + token:                {token, "a.b.c"},
		token + ", " + token + "x, chat": {token, token + "x"},
		"eyJonly.two":                    {"", "eyJonly.two"},
	} {
		header := http.Header{}
		if offered != "" {
			header.Set(headerProtocol, offered)
		}
		found, protocol := tokenOffered(header)
		if got := [2]string{found, protocol}; got != want {
			t.Errorf("%q: got %q, want %q", offered, got, want)
		}
	}
}
