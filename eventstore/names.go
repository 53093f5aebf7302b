package eventstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxPatterns bounds how many patterns a selection has: each event is compared with all of them.
const maxPatterns = 50

// anything, at the end of a pattern, stands for whatever follows.
const anything = "*"

// ErrPatterns says that names can't be selected as asked for; its text continues "The filter …".
var ErrPatterns = errors.New("is not a list of names")

// Names selects streams, or event types, by name: those that are in it, and those that begin with one of its prefixes.
// The zero value selects all.
type Names struct {
	exact, prefixes []string
}

// ParseNames reads a comma-separated list of names, where a trailing * makes one a prefix; an empty list selects all. It
// fails with ErrPatterns.
func ParseNames(list string) (Names, error) {
	var names Names
	if list == "" {
		return names, nil
	}
	if strings.Count(list, ",") >= maxPatterns {
		return names, fmt.Errorf("%w: it has more than %d", ErrPatterns, maxPatterns)
	}
	all := false
	for name := range strings.SplitSeq(list, ",") {
		prefix, isPrefix := strings.CutSuffix(name, anything)
		switch {
		case name == "":
			return Names{}, fmt.Errorf("%w: one is empty", ErrPatterns)
		case !storable(name):
			return Names{}, fmt.Errorf("%w: one is longer than %d bytes or not text", ErrPatterns, MaxNameBytes)
		case strings.Contains(prefix, anything):
			return Names{}, fmt.Errorf("%w: a * may only be the last character of one", ErrPatterns)
		case isPrefix && prefix == "":
			all = true
		case isPrefix:
			names.prefixes = append(names.prefixes, prefix)
		default:
			names.exact = append(names.exact, name)
		}
	}
	if all {
		return Names{}, nil
	}
	return names, nil
}

// All tells whether every name is selected.
func (n Names) All() bool { return len(n.exact) == 0 && len(n.prefixes) == 0 }

// Match tells whether a name is selected.
func (n Names) Match(name string) bool {
	return n.All() || slices.Contains(n.exact, name) ||
		slices.ContainsFunc(n.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// String is the list that ParseNames reads, exact names first.
func (n Names) String() string {
	list := slices.Clone(n.exact)
	for _, prefix := range n.prefixes {
		list = append(list, prefix+anything)
	}
	return strings.Join(list, ",")
}

// one is the only name that is selected, where it is one.
func (n Names) one() (name string, only bool) {
	if len(n.exact) != 1 || len(n.prefixes) > 0 {
		return "", false
	}
	return n.exact[0], true
}

// patterns are the prefixes as LIKE reads them.
func (n Names) patterns() []string {
	special := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
	patterns := make([]string, len(n.prefixes))
	for i, prefix := range n.prefixes {
		patterns[i] = special.Replace(prefix) + "%"
	}
	return patterns
}
