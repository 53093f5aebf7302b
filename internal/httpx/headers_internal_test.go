package httpx

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseIfMatch(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]*IfMatch{
		`"3"`:                    {Versions: []int64{3}},
		` "3" `:                  {Versions: []int64{3}},
		`*`:                      {Any: true},
		`"1", "2" ,"5"`:          {Versions: []int64{1, 2, 5}},
		`"not-a-version"`:        {},
		`"not,a version", "3"`:   nil,
		`"a,b", "3"`:             {Versions: []int64{3}},
		`"99999999999999999999"`: {},
		``:                       nil,
		` `:                      nil,
		`,`:                      nil,
		`3`:                      nil,
		`W/"3"`:                  nil,
		`"3", W/"4"`:             nil,
		`"3`:                     nil,
		`"3""4"`:                 nil,
		`"3",`:                   nil,
		`*, "3"`:                 nil,
		`"` + strings.Repeat("a", maxHeaderBytes) + `"`: nil,
	} {
		got, err := parseIfMatch(http.Header{HeaderIfMatch: {sent}})
		if (err != nil) != (want == nil) || (want != nil && !reflect.DeepEqual(got, want)) {
			t.Errorf("parseIfMatch(%.40q) = %+v, %v; want %+v", sent, got, err, want)
		}
	}
	if got, err := parseIfMatch(http.Header{}); got != nil || err != nil {
		t.Errorf("without a header: %v, %v", got, err)
	}
	got, err := parseIfMatch(http.Header{HeaderIfMatch: {`"1"`, `"2"`}})
	if err != nil || !slices.Equal(got.Versions, []int64{1, 2}) {
		t.Errorf("two lines: %+v, %v", got, err)
	}
	if !got.Matches(2) || got.Matches(3) || !(&IfMatch{Any: true}).Matches(9) {
		t.Error("Matches does not compare")
	}
}

func FuzzParseIfMatch(f *testing.F) {
	for _, seed := range []string{`"3"`, `*`, `"1", "2"`, `W/"3"`, `"`, `,`, `"a,b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		match, err := parseIfMatch(http.Header{HeaderIfMatch: {sent}})
		if err != nil {
			return
		}
		// What was taken means the same when it is written in the one spelling that we send.
		var tags []string
		for _, version := range match.Versions {
			tags = append(tags, ETag(version))
			if !strings.Contains(sent, `"`) {
				t.Errorf("a version without a tag in %q", sent)
			}
		}
		if match.Any || len(tags) == 0 {
			return
		}
		again, err := parseIfMatch(http.Header{HeaderIfMatch: {strings.Join(tags, ", ")}})
		if len(tags) <= 40 && (err != nil || !slices.Equal(again.Versions, match.Versions)) {
			t.Errorf("%q: %v, %v", sent, again, err)
		}
	})
}

func TestParseIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "a b", strings.Repeat("x", MaxIdempotencyKeyBytes), `"8f14e45f"`} {
		if got, err := parseIdempotencyKey(http.Header{HeaderIdempotencyKey: {good}}); err != nil || got != good {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range [][]string{{""}, {"a", "b"}, {strings.Repeat("x", MaxIdempotencyKeyBytes+1)}, {"ä"}, {"a\tb"}, {"\x7f"}, {"\xff"}} {
		if _, err := parseIdempotencyKey(http.Header{HeaderIdempotencyKey: bad}); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func TestParseMinPosition(t *testing.T) {
	t.Parallel()
	if got, err := parseMinPosition(http.Header{HeaderMinPosition: {"4711"}}); err != nil || got != 4711 {
		t.Errorf("4711: %d, %v", got, err)
	}
	for _, bad := range [][]string{{""}, {"-1"}, {"+1"}, {"1.0"}, {"1e3"}, {"0x1"}, {" 1"}, {"1_0"}, {"9223372036854775808"}, {"1", "2"}} {
		if _, err := parseMinPosition(http.Header{HeaderMinPosition: bad}); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func TestPrefersAsync(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]bool{
		"respond-async": true, "Respond-Async": true, "return=minimal, respond-async; x=1": true, "wait=10,respond-async": true,
		"respond-asynchronously": false, "": false, `x="respond-async"`: false,
	} {
		if got := prefersAsync(http.Header{HeaderPrefer: {sent}}); got != want {
			t.Errorf("%q: %v", sent, got)
		}
	}
	if !prefersAsync(http.Header{HeaderPrefer: {"wait=1", "respond-async"}}) {
		t.Error("not found on the second line")
	}
}

func TestAcceptsJSON(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]bool{
		"application/json": true, "*/*": true, "application/*": true, "text/html, application/xhtml+xml, */*;q=0.8": true,
		"application/json; charset=utf-8": true, "APPLICATION/JSON": true, "": true, " , ": true, "text/html": false, "application/xml": false,
		"application/json;q=0": false, "*/*, application/json;q=0": false, "application/json;q=0, */*": false, "application/*;q=0, application/json": true,
		"text/*": false, "application/json;q=0.1": true, "rubbish": false, ";;": false,
	} {
		if got := accepts(http.Header{"Accept": {sent}}, mediaTypeJSON); got != want {
			t.Errorf("%q: %v", sent, got)
		}
	}
	if !accepts(http.Header{}, mediaTypeJSON) {
		t.Error("without Accept")
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"direct":                            {"203.0.113.7:1234", nil, "203.0.113.7"},
		"an untrusted peer can claim a lot": {"203.0.113.7:1234", []string{"198.51.100.1"}, "203.0.113.7"},
		"behind one proxy":                  {"10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"behind two":                        {"10.0.0.1:1", []string{"198.51.100.1, 10.9.9.9"}, "198.51.100.1"},
		"what stands left is a claim":       {"10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1, 10.9.9.9"}, "198.51.100.1"},
		"several lines":                     {"10.0.0.1:1", []string{"198.51.100.1", "10.9.9.9"}, "198.51.100.1"},
		"no header":                         {"10.0.0.1:1", nil, "10.0.0.1"},
		"rubbish":                           {"10.0.0.1:1", []string{"<script>"}, "10.0.0.1"},
		"with port":                         {"10.0.0.1:1", []string{"198.51.100.1:99"}, "198.51.100.1"},
		"IPv6":                              {"[2001:db8::1]:1", []string{"2a00::1"}, "2a00::1"},
		"IPv4 in IPv6":                      {"[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"a socket":                          {"@", nil, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = test.peer
		r.Header["X-Forwarded-For"] = test.forwarded
		if got := clientIP(r, trusted); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{"curl/8": "curl/8", "a\x00b\r\nc": "abc", "a\xffb": "a\ufffdb", "ééé": "éé"} {
		if got := cleanText(sent, 5); got != want && !(sent == "curl/8" && got == want[:5]) {
			t.Errorf("%q: %q", sent, got)
		}
	}
}

func TestShowable(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]bool{
		"name": true, "rate_limit_rpm": true, "X-Api-Version-2": true, "sk-proj-a1b2c3d4e5f6": false, "": false,
		"a b": false, "Größe": false, strings.Repeat("a", maxShownName+1): false, "sk.live": false, "7": true,
	} {
		if got := showable(name); (got == name) != shown {
			t.Errorf("%q: %q", name, got)
		}
	}
	if join("supported_models", strconv.Itoa(999)) != "supported_models.999" {
		t.Error("an index is hidden")
	}
}
