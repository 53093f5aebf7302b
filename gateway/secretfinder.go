package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretFinder finds secrets in text: short ones as a whole, longer ones by any
// fragment of theirs, which covers the cut and half-masked forms that providers
// echo.
type secretFinder struct {
	short     []string
	fragments map[string]struct{}
}

func newSecretFinder(secrets []string) secretFinder {
	finder := secretFinder{fragments: make(map[string]struct{})}

	for _, secret := range secrets {
		for _, form := range encodings(secret) {
			finder.add(form)
		}
	}

	return finder
}

func (f *secretFinder) add(form string) {
	if len(form) < fragmentBytes {
		f.short = append(f.short, form)

		return
	}

	for start := range len(form) - fragmentBytes + 1 {
		f.fragments[form[start:start+fragmentBytes]] = struct{}{}
	}
}

// marked tells for each byte of text whether it belongs to a secret.
func (f *secretFinder) marked(text string) []bool {
	marks := make([]bool, len(text))

	cover := func(start, length int) {
		for i := start; i < start+length; i++ {
			marks[i] = true
		}
	}

	if len(f.fragments) > 0 {
		for start := range len(text) - fragmentBytes + 1 {
			if _, found := f.fragments[text[start:start+fragmentBytes]]; found {
				cover(start, fragmentBytes)
			}
		}
	}

	for _, form := range f.short {
		for start := range len(text) - len(form) + 1 {
			if strings.HasPrefix(text[start:], form) {
				cover(start, len(form))
			}
		}
	}

	return marks
}

func (f *secretFinder) finds(text string) bool { return slices.Contains(f.marked(text), true) }

// remove replaces each marked stretch with mark.
func (f *secretFinder) remove(text, mark string) string {
	var kept strings.Builder

	inside := false

	for i, marked := range f.marked(text) {
		if !marked {
			kept.WriteByte(text[i])
		} else if !inside {
			kept.WriteString(mark)
		}

		inside = marked
	}

	return strings.ToValidUTF8(kept.String(), "") // a fragment may have ended within a character
}

// harmlessMark is what stands for something removed: the first of a few that
// holds no secret itself.
func (f *secretFinder) harmlessMark() string {
	for _, mark := range []string{"[redacted]", "###"} {
		if !f.finds(mark) {
			return mark
		}
	}

	return ""
}

var upperEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// encodings are the forms in which a secret may come back.
func encodings(secret string) []string {
	forms := []string{secret, oneLine(secret)}

	const shortestEncoded = 4 // an encoded "a" is two letters that any text holds
	if len(secret) >= shortestEncoded {
		raw := []byte(secret)
		forms = append(forms, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), html.EscapeString(secret))
		forms = append(forms, jsonForms(secret)...)
		forms = append(forms, base64Forms(raw)...)

		for _, escaped := range []string{url.QueryEscape(secret), url.PathEscape(secret)} {
			forms = append(forms, escaped, upperEscape.ReplaceAllStringFunc(escaped, strings.ToLower))
		}
	}

	slices.Sort(forms)

	return slices.DeleteFunc(slices.Compact(forms), func(form string) bool { return form == "" })
}

func jsonForms(secret string) []string {
	var plain strings.Builder

	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)

	escaped, err := json.Marshal(secret)
	if err != nil || encoder.Encode(secret) != nil { //nolint:errchkjson // checked; a string always encodes
		return nil // a string always encodes
	}

	return []string{unquote(string(escaped)), unquote(strings.TrimSuffix(plain.String(), "\n"))}
}

func unquote(quoted string) string { return quoted[1 : len(quoted)-1] }

// base64Forms also covers a secret within something longer ("user:key"), where
// it starts at any of three alignments and its edges mix with what is around it.
func base64Forms(raw []byte) []string {
	const alignments = 3

	var forms []string

	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, encoding.EncodeToString(raw))

		for before := range alignments {
			shifted := encoding.EncodeToString(append(make([]byte, before), raw...))
			first := [alignments]int{0, 2, 3}[before] // characters that hold bits of what is before
			inner := shifted[first : len(shifted)-1]

			if len(inner) >= fragmentBytes {
				forms = append(forms, inner)
			}
		}
	}

	return forms
}
