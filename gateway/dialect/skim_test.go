package dialect

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// Walking finds what decoding finds.
func FuzzSkimming(f *testing.F) {
	for _, text := range []string{
		`{}`, `[]`, `{"a":1,"b":[1,{"c":"d\"}"}],"e":null}`, ` { "a" : "\\" , "\u0062" : [ ] , "" : -1e5 } `, `[1,"a",{"b":[[]]},true]`,
		`"text"`, `{"a":{"b":{"c":"]}"}}}`, `[`, `{"a"`, `{"a":`, `{"a":"\`, `{,}`, `[,]`, `{"a" 1}`,
	} {
		f.Add([]byte(text))
	}

	f.Fuzz(func(t *testing.T, text []byte) {
		keys, values := walk(text)
		if !json.Valid(text) || !utf8.Valid(text) {
			return // only that it ends, without a panic
		}

		var (
			object map[string]json.RawMessage
			array  []json.RawMessage
		)

		switch kindOf(text) {
		case '{':
			if err := json.Unmarshal(text, &object); err != nil {
				t.Fatal(err)
			}

			last := map[string][]byte{}
			for i, key := range keys {
				last[key] = values[i]
			}

			if len(last) != len(object) {
				t.Errorf("got %d keys, want %d", len(last), len(object))
			}

			for key, value := range object {
				if !bytes.Equal(last[key], value) {
					t.Errorf("%q: got %s, want %s", key, last[key], value)
				}
			}
		case '[':
			if err := json.Unmarshal(text, &array); err != nil {
				t.Fatal(err)
			}

			if len(values) != len(array) {
				t.Fatalf("got %d values, want %d", len(values), len(array))
			}

			for i := range array {
				if !bytes.Equal(values[i], array[i]) {
					t.Errorf("%d: got %s, want %s", i, values[i], array[i])
				}
			}
		default:
			if len(values) != 0 {
				t.Errorf("found %q in a scalar", values)
			}
		}
	})
}

func walk(text []byte) (keys []string, values [][]byte) {
	for key, value := range members(text) {
		keys, values = append(keys, string(key)), append(values, value)
		if start := offset(text, value); !bytes.Equal(text[start:start+len(value)], value) {
			panic("a value that is not where it says it is")
		}
	}

	for value := range elements(text) {
		values = append(values, value)
	}

	return keys, values
}

func TestTexts(t *testing.T) {
	t.Parallel()

	for raw, want := range map[string]string{
		`"a"`: "a", `""`: "", `"a\nb\u00e4\"\\"`: "a\nbä\"\\", `1`: "", `null`: "", ``: "", `"`: "",
	} {
		if got := textOf([]byte(raw)); got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}
