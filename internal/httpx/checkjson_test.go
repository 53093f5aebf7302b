package httpx_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/archonhq/archon/internal/httpx"
)

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"object":                        {`{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}`, nil},
		"scalar":                        {` "a" `, nil},
		"escapes":                       {`{"a\"b": "\\u0000 \n \u00e9 \ud83d\ude00"}`, nil},
		"same text as key and value":    {`{"a": "a", "b": ["a", "a"]}`, nil},
		"empty objects":                 {`[{}, {}, []]`, nil},
		"as deep as may be":             {nested(httpx.MaxJSONDepth), nil},
		"too deep":                      {nested(httpx.MaxJSONDepth + 1), httpx.ErrJSONDepth},
		"far too deep":                  {nested(200_000), httpx.ErrJSONSyntax},
		"too deep in objects":           {strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), httpx.ErrJSONDepth},
		"nothing":                       {``, httpx.ErrJSONSyntax},
		"cut off":                       {`{"a": "b`, httpx.ErrJSONSyntax},
		"trailing garbage":              {`{} x`, httpx.ErrJSONSyntax},
		"two values":                    {`{}{}`, httpx.ErrJSONSyntax},
		"comma at the end":              {`[1,]`, httpx.ErrJSONSyntax},
		"single quotes":                 {`{'a': 1}`, httpx.ErrJSONSyntax},
		"NaN":                           {`[NaN]`, httpx.ErrJSONSyntax},
		"byte order mark":               {"\ufeff{}", httpx.ErrJSONSyntax},
		"raw NUL":                       {"{\"a\": \"\x00\"}", httpx.ErrJSONSyntax},
		"raw control character":         {"{\"a\": \"\n\"}", httpx.ErrJSONSyntax},
		"escaped NUL":                   {`{"a": "b\u0000c"}`, httpx.ErrJSONNUL},
		"escaped NUL in a key":          {`{"\u0000": 1}`, httpx.ErrJSONNUL},
		"invalid UTF-8":                 {"{\"a\": \"\xff\"}", httpx.ErrJSONEncoding},
		"surrogate as UTF-8":            {"\"\xed\xa0\x80\"", httpx.ErrJSONEncoding},
		"lone high surrogate":           {`"\ud83d"`, httpx.ErrJSONSurrogate},
		"lone low surrogate":            {`"\ude00"`, httpx.ErrJSONSurrogate},
		"surrogates the wrong way":      {`"\ude00\ud83d"`, httpx.ErrJSONSurrogate},
		"high surrogate before another": {`"\ud83d\n"`, httpx.ErrJSONSurrogate},
		"duplicate key":                 {`{"a": 1, "a": 2}`, httpx.ErrJSONDuplicate},
		"duplicate key, spelt twice":    {`{"a": 1, "\u0061": 2}`, httpx.ErrJSONDuplicate},
		"duplicate key further in":      {`[{"b": {"a": 1, "c": [], "a": 2}}]`, httpx.ErrJSONDuplicate},
		"duplicate empty key":           {`{"": 1, "": 2}`, httpx.ErrJSONDuplicate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := httpx.CheckJSON([]byte(test.body)); !errors.Is(got, test.want) {
				t.Errorf("CheckJSON(%.80q) = %v, want %v", test.body, got, test.want)
			}
		})
	}
}

// FuzzCheckJSON holds CheckJSON against Go's decoder: whatever it lets through is JSON, and decodes to a value that holds
// no NUL and no replacement character that was not sent.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"\u0061\ud83d\ude00",{}]}`, `{"a":1,"a":2}`, `"\u0000"`, "\xff", nested(65), `{"a`, `[1,2] 3`, `"\ud800"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := httpx.CheckJSON(body)
		var value any
		decodeErr := json.Unmarshal(body, &value)
		if err != nil {
			if errors.Is(err, httpx.ErrJSONSyntax) && decodeErr == nil {
				t.Errorf("refused as malformed, but Go decodes it")
			}
			return
		}
		if decodeErr != nil || !utf8.Valid(body) {
			t.Fatalf("let through what does not decode: %v", decodeErr)
		}
		walkStrings(value, func(text string) {
			if strings.ContainsRune(text, 0) {
				t.Errorf("let a NUL through")
			}
			if strings.ContainsRune(text, utf8.RuneError) && !strings.Contains(string(body), "\ufffd") && !strings.Contains(strings.ToLower(string(body)), `\ufffd`) {
				t.Errorf("let half a surrogate pair through")
			}
		})
	})
}

func walkStrings(value any, visit func(string)) {
	switch value := value.(type) {
	case string:
		visit(value)
	case []any:
		for _, item := range value {
			walkStrings(item, visit)
		}
	case map[string]any:
		for key, item := range value {
			visit(key)
			walkStrings(item, visit)
		}
	}
}
