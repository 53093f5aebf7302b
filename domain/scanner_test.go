package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/archonhq/archon/domain"
)

func FuzzAValueIsJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e+3,{"b":"c\u00e4\n"}],"d":true}`, `{}`, `[]`, `"x"`, `0`, `-0`, `01`, `1.`, `1e`, `-`, `true`, `truth`, `nul`, `{"a":}`, `{"a"}`, `[1,]`, `[,]`, `{,}`, `"`, `"\`, `"\u12"`, `"\x"`,
		`[[[[`, `{"a":1}}`, `1 `, "\"\t\"", `"ä"`, "\"\xff\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		scanner := domain.Scan(data)
		value := scanner.Value()
		if scanner.Done() && (string(value) != string(data) || !json.Valid(data)) {
			t.Fatalf("%q was taken for JSON", data)
		}
	})
}

func TestAScannerThatHasFailedReadsNothing(t *testing.T) {
	t.Parallel()
	scanner := domain.Scan([]byte(`7"x"true"2026-03-01T12:00:00Z"{}`))
	if scanner.Literal("8"); !scanner.Failed() {
		t.Fatal("it has not failed")
	}
	if scanner.Integer() != 0 || scanner.Text() != nil || scanner.Boolean() || !scanner.Time().IsZero() || scanner.Value() != nil || scanner.Has("7") ||
		scanner.OptionalInteger("7") != 0 || scanner.OptionalText("7") != nil || scanner.Done() {
		t.Error("it went on")
	}
}

func TestTokensAddUp(t *testing.T) {
	t.Parallel()
	one := domain.Tokens{Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4, Reasoning: 5}
	if sum := one.Plus(one); sum != (domain.Tokens{Input: 2, CacheRead: 4, CacheWrite: 6, Output: 8, Reasoning: 10}) {
		t.Errorf("%+v", sum)
	}
}
