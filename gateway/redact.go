package gateway

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxRedactedRunes bounds what [Redact] returns: a sentence or two.
	maxRedactedRunes = 300
	// maxRedactInputBytes bounds its work; what follows would be cut off anyway.
	maxRedactInputBytes = 64 << 10
	// fragmentBytes is the shortest part of a secret that is worth hiding, and
	// that is not an ordinary word by chance.
	fragmentBytes = 8
	// maxRedactPasses is more than enough for what removing one secret reveals of another.
	maxRedactPasses = 4

	ellipsis = "…"
)

// Redact makes text from elsewhere safe to show: the secrets are gone, in every
// usual encoding and any part of them of 8 or more bytes, and so is everything
// that looks like a key (sk-…, AIza…, Bearer …, long random runs, keys already
// masked with stars or dots); control characters are spaces. The result is valid
// UTF-8 of at most 300 characters, on one line. Empty secrets are ignored. Where a
// secret can't be kept out (a single letter, say) the result is "".
func Redact(text string, secrets ...string) string {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" })
	finder := newSecretFinder(secrets)
	mark := finder.harmlessMark()
	clean := oneLine(text)

	for range maxRedactPasses {
		clean = removeKeyLike(finder.remove(clean, mark), mark)
		short := shorten(clean)

		if !finder.finds(short) && !containsAny(short, secrets) {
			return short
		}
	}

	return ""
}

func containsAny(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(text, secret) })
}

// oneLine comes first, so that nothing invisible stands between the letters of a secret.
func oneLine(text string) string {
	if len(text) > maxRedactInputBytes {
		text = text[:maxRedactInputBytes]
	}

	text = strings.ToValidUTF8(text, string(unicode.ReplacementChar))
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return -1 // invisible: zero-width, bidirectional override …
		}
	}, text)

	return strings.Join(strings.Fields(text), " ")
}

func shorten(text string) string {
	if utf8.RuneCountInString(text) <= maxRedactedRunes {
		return text
	}

	runes := []rune(text)[:maxRedactedRunes-1]

	return strings.TrimSpace(string(runes)) + ellipsis
}

// What keys look like. Known ones are found by their prefix, others by being
// masked already, by where they stand, or by being long and random.
var (
	keyPrefix = regexp.MustCompile(`(?i)\b(?:sk|pk|rk|ak|gsk|xai|pplx|nvapi|hf|gh[opsu]|glpat|xox[abeprs]|r8)[-_][\w*.…+/=-]{3,}`)
	keyFormat = regexp.MustCompile(`\b(?:AIza[\w-]+|AKIA[0-9A-Z]{8,}|ya29\.[\w.-]+|eyJ[\w-]{6,}(?:\.[\w-]+)*)`)
	keyMasked = regexp.MustCompile(`[^\s"'<>]*(?:\*{2,}|•{2,})[^\s"'<>]*|[^\s"'<>]*(?:…|\.{3,})[\w-]{3,}`)
	keyScheme = regexp.MustCompile(`(?i)\b(bearer|basic)\s+([\w.~+/=*-]+)`)
	keyAssign = regexp.MustCompile(`(?i)\b((?:api[-_]?)?key|access_token|token|secret|password)=[^\s"'&,;]+`)
	longRun   = regexp.MustCompile(`[\w+/=-]{20,}`)
)

func removeKeyLike(text, mark string) string {
	for _, pattern := range []*regexp.Regexp{keyPrefix, keyFormat, keyMasked} {
		text = pattern.ReplaceAllLiteralString(text, mark)
	}

	text = keyScheme.ReplaceAllStringFunc(text, func(match string) string {
		parts := keyScheme.FindStringSubmatch(match)
		if isSchemeWord(parts[2]) {
			return match
		}

		return parts[1] + " " + mark
	})
	text = keyAssign.ReplaceAllString(text, "${1}="+mark)

	return longRun.ReplaceAllStringFunc(text, func(run string) string {
		if looksRandom(run) {
			return mark
		}

		return run
	})
}

// isSchemeWord keeps "Missing Bearer token" readable.
func isSchemeWord(word string) bool {
	return slices.Contains([]string{
		"token", "tokens", "auth", "authentication", "authorization", "header", "scheme", "format", "realm", "or", "is",
	}, strings.ToLower(strings.TrimRight(word, ".")))
}

// looksRandom tells a key from a model's name or a path: it has a long stretch
// of letters and digits mixed, without the dashes and slashes that part words.
func looksRandom(run string) bool {
	const randomStretch = 16

	return slices.ContainsFunc(strings.FieldsFunc(run, func(r rune) bool { return r == '-' || r == '/' }),
		func(part string) bool {
			return len(part) >= randomStretch && strings.ContainsAny(part, "0123456789") &&
				strings.ContainsFunc(part, unicode.IsLetter)
		})
}
