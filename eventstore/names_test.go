package eventstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/eventstore"
)

func TestNamesMatch(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                     "provider-1 providername-1 key-1 prov_der-1",
		"*":                    "provider-1 providername-1 key-1 prov_der-1",
		"key-1,*":              "provider-1 providername-1 key-1 prov_der-1",
		"provider-1":           "provider-1",
		"provider-":            "",
		"provider-*":           "provider-1",
		"provider*":            "provider-1 providername-1",
		"prov_der*":            "prov_der-1",
		"key-1,providername-*": "providername-1 key-1",
		"KEY-1":                "",
		"%":                    "",
		"%*":                   "",
		" key-1":               "",
	} {
		names, err := eventstore.ParseNames(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		}
		var matched []string
		for _, name := range []string{"provider-1", "providername-1", "key-1", "prov_der-1"} {
			if names.Match(name) {
				matched = append(matched, name)
			}
		}
		if got := strings.Join(matched, " "); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}

func TestNamesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, list := range []string{
		",", "a,", ",a", "a,,b", "a*b", "**", "*a", "a,b*c*", "a\x00", "a\xff", strings.Repeat("a", eventstore.MaxNameBytes+1), strings.Repeat("a,", 50) + "a",
	} {
		if names, err := eventstore.ParseNames(list); !errors.Is(err, eventstore.ErrPatterns) || !names.All() {
			t.Errorf("%q: got %v, %v", list, names, err)
		}
	}
	if _, err := eventstore.ParseNames(strings.Repeat("a,", 49) + "a"); err != nil {
		t.Error(err)
	}
}

// What a list selects is what its parts select, one by one; and it is read again as it is written.
func FuzzParseNames(f *testing.F) {
	for _, seed := range []string{"", "*", "provider-*,key-1", "a,b,c*", "%_\\*", "a**"} {
		f.Add(seed, "provider-1")
	}
	f.Fuzz(func(t *testing.T, list, name string) {
		names, err := eventstore.ParseNames(list)
		if err != nil {
			return
		}
		parts := strings.Split(list, ",")
		want := list == "" || slices.ContainsFunc(parts, func(part string) bool {
			prefix, isPrefix := strings.CutSuffix(part, "*")
			return part == name || (isPrefix && strings.HasPrefix(name, prefix))
		})
		if names.Match(name) != want {
			t.Fatalf("%q matches %q: %v, want %v", list, name, !want, want)
		}
		again, err := eventstore.ParseNames(names.String())
		if err != nil || again.Match(name) != want || again.String() != names.String() {
			t.Fatalf("%q was written as %q: %v", list, names.String(), err)
		}
	})
}

func ExampleParseNames() {
	names, _ := eventstore.ParseNames("provider-*,ruleset-1")
	fmt.Println(names.Match("provider-7"), names.Match("ruleset-1"), names.Match("ruleset-12"))
	// Output: true true false
}
