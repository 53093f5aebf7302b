package prices

import (
	"iter"
	"strings"
	"time"
)

// maxModelBytes bounds the names that are looked for; no model's is that long.
const maxModelBytes = 200

// known yields the names that a model may be priced under: its own, then, from the longest to the shortest, each prefix
// whose rest is dates and versions alone. The rest is cut off at -, @ or :, piece by piece, so the search ends at the first
// piece that is neither.
func known(model string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(model) > maxModelBytes || !yield(model) {
			return
		}
		rest := model
		for {
			cut := suffixAt(rest)
			if cut <= 0 || !yield(rest[:cut]) {
				return
			}
			rest = rest[:cut]
		}
	}
}

// suffixAt is where the last date or version of a name begins, with the character before it; -1 where it ends in neither.
func suffixAt(model string) int {
	for _, length := range []int{len("2006-01-02"), len("20060102"), len("01-2006"), len("0102"), len("001")} {
		cut := len(model) - length - 1
		if cut > 0 && isBoundary(model[cut]) && isDate(model[cut+1:]) {
			return cut
		}
	}
	cut := strings.LastIndexAny(model, "-@:")
	if cut > 0 && isVersion(model[cut+1:]) {
		return cut
	}
	// v2:0 is one version in two pieces.
	if major := strings.LastIndexAny(model[:max(cut, 0)], "-@:"); major > 0 && isDigits(model[cut+1:]) && isVersion(model[major+1:cut]) {
		return major
	}
	return -1
}

func isBoundary(c byte) bool { return c == '-' || c == '@' || c == ':' }

// isDate takes the forms in which providers put a day or a month into a name, and Google's three-digit revisions, which
// begin with a zero.
func isDate(text string) bool {
	if len(text) == len("001") {
		return text[0] == '0' && isDigits(text)
	}
	for _, layout := range []string{time.DateOnly, "20060102", "01-2006", "0102", "0601"} {
		if _, err := time.Parse(layout, text); err == nil {
			return len(text) == len(layout)
		}
	}
	return false
}

// isVersion takes v1, v1.2 and so on. A number without the v is part of a model's name: claude-opus-5-1 is another model
// than claude-opus-5.
func isVersion(text string) bool {
	number, is := strings.CutPrefix(text, "v")
	if !is {
		return false
	}
	for part := range strings.SplitSeq(number, ".") {
		if !isDigits(part) {
			return false
		}
	}
	return true
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
