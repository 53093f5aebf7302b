package projections

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/archonhq/archon/eventstore"
)

func TestJSONStringsAreTheValuesAndNotTheNames(t *testing.T) {
	t.Parallel()
	for document, want := range map[string][]string{
		``:    nil,
		`{}`:  nil,
		`"a"`: {"a"},
		`{"name":"a","n":1,"list":["b","c"],"deep":{"x":{"y":"d"}}}`: {"a", "b", "c", "d"},
		`{"name" : "a", "b"  :"c"}`:                                  {"a", "c"},
		`{"q":"say \"hi\": \\","e":""}`:                              {`say "hi": \`, ""},
		`{"k\"ey":"v\u00e4"}`:                                        {"vä"},
		`"cut off`:                                                   nil,
		`"cut off\`:                                                  nil,
		`"bad \escape"`:                                              {`bad \escape`},
	} {
		if got := slices.Collect(jsonStrings([]byte(document))); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", document, got, want)
		}
	}
}

func FuzzJSONStringsAgreeWithAParser(f *testing.F) {
	f.Add([]byte(`{"a":"b","c":["d",{"e":"f\u0041"}]}`))
	f.Add([]byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, document []byte) {
		got := slices.Collect(jsonStrings(document))
		text := searchText(&Event{Recorded: eventstore.Recorded{Data: document}}, "", "", false)
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") || len(text) > maxSearchBytes {
			t.Fatalf("not storable: %q", text)
		}
		if !json.Valid(document) || !utf8.Valid(document) {
			return
		}
		decoder := json.NewDecoder(strings.NewReader(string(document)))
		var want []string
		for wantNames := newNames(); ; {
			token, err := decoder.Token()
			if err != nil {
				break
			}
			if value, isString := token.(string); wantNames.next(token) && isString {
				want = append(want, value)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", document, got, want)
		}
	})
}

// names tells the values in a stream of tokens from the names of an object's fields: for each open object or list it
// keeps whether it is an object, and whether a name comes next.
type names struct {
	stack []struct{ object, named bool }
}

func newNames() *names { return &names{} }

// next tells whether the token is a scalar value.
func (n *names) next(token json.Token) bool {
	delimiter, is := token.(json.Delim)
	if !is {
		return n.value()
	}
	if delimiter == '}' || delimiter == ']' {
		n.stack = n.stack[:len(n.stack)-1]
		return false
	}
	n.value()
	n.stack = append(n.stack, struct{ object, named bool }{object: delimiter == '{'})
	return false
}

// value moves on behind a token, and tells whether it stood where a value stands.
func (n *names) value() bool {
	if len(n.stack) == 0 || !n.stack[len(n.stack)-1].object {
		return true
	}
	top := &n.stack[len(n.stack)-1]
	top.named = !top.named
	return !top.named
}

func TestResourceOf(t *testing.T) {
	t.Parallel()
	const id = "0190a1b2-0000-7000-8000-000000000001"
	for stream, want := range map[string][2]string{
		"provider-" + id:              {"provider", id},
		"two-words-" + id:             {"two-words", id},
		"ruleset":                     {"ruleset", ""},
		"-" + id:                      {"-" + id, ""},
		id:                            {id, ""},
		"provider-" + id[1:] + "g":    {"provider-" + id[1:] + "g", ""},
		"provider_" + id:              {"provider_" + id, ""},
		"":                            {"", ""},
		"provider-urn:uuid:" + id[9:]: {"provider-urn:uuid:" + id[9:], ""},
	} {
		if noun, got := resourceOf(stream); noun != want[0] || got != want[1] {
			t.Errorf("%s: %s, %s", stream, noun, got)
		}
	}
}

func TestStorableText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "abc": "abc", "abcdef": "abcd", "abcä": "abc", "a\x00b": "a\uFFFD", "\xff\xff": "\uFFFD"} {
		if got := storableText(text, 4); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
