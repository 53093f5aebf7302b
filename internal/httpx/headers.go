package httpx

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// MaxIdempotencyKeyBytes bounds an Idempotency-Key.
const MaxIdempotencyKeyBytes = 255

// maxHeaderBytes bounds the other headers that are parsed here.
const maxHeaderBytes = 1024

// What can be wrong with a header. The texts are shown and hold nothing of it.
var (
	errIdempotencyKey = errors.New("must be one header of 1 to 255 printable ASCII characters")
	errIfMatch        = errors.New(`must be * or a list of strong entity tags such as "3"`)
	errMinPosition    = errors.New("must be one whole number of at least 0")
	errTooLong        = errors.New("must be at most 1024 bytes long")
)

// IfMatch is a parsed If-Match.
type IfMatch struct {
	// Any is `*`, which holds for whatever exists.
	Any bool
	// Versions are the versions that the tags name; tags that are no version are left out, since nothing matches them.
	Versions []int64
}

// Matches says whether a resource that exists at a version is meant.
func (m *IfMatch) Matches(version int64) bool { return m.Any || slices.Contains(m.Versions, version) }

// parseIdempotencyKey returns the key, or an empty one where there is no header.
func parseIdempotencyKey(header http.Header) (string, error) {
	sent := header.Values(HeaderIdempotencyKey)
	if len(sent) == 0 {
		return "", nil
	}
	if len(sent) > 1 || sent[0] == "" || len(sent[0]) > MaxIdempotencyKeyBytes || !isPrintable(sent[0]) {
		return "", errIdempotencyKey
	}
	return sent[0], nil
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(char rune) bool { return char < ' ' || char > '~' })
}

// parseIfMatch returns nil where there is no header. Weak tags are an error: If-Match compares strongly (RFC 9110, 13.1.1),
// so that no weak one could ever match and the client is mistaken.
func parseIfMatch(header http.Header) (*IfMatch, error) {
	sent := header.Values(HeaderIfMatch)
	if len(sent) == 0 {
		return nil, nil //nolint:nilnil // absent is no error and has no value
	}
	text := strings.Trim(strings.Join(sent, ","), " \t")
	if len(text) > maxHeaderBytes {
		return nil, errTooLong
	}
	if text == "*" {
		return &IfMatch{Any: true}, nil
	}
	match := &IfMatch{}
	for more := true; more; more = text != "" {
		tag, rest, ok := cutTag(text)
		if !ok {
			return nil, errIfMatch
		}
		if version, err := strconv.ParseInt(tag, decimal, 64); err == nil {
			match.Versions = append(match.Versions, version)
		}
		text = rest
	}
	return match, nil
}

// cutTag takes the first strong entity tag off a list, without its quotes, and the comma behind it.
func cutTag(list string) (tag, rest string, ok bool) {
	if !strings.HasPrefix(list, `"`) {
		return "", "", false
	}
	tag, rest, ok = strings.Cut(list[1:], `"`)
	if !ok || strings.ContainsFunc(tag, func(char rune) bool { return char <= ' ' || char == '\x7f' }) {
		return "", "", false
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" {
		return tag, "", true
	}
	if rest[0] != ',' {
		return "", "", false
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	return tag, rest, rest != ""
}

// prefersAsync looks for respond-async among the preferences (RFC 7240); names are case-insensitive, others don't count.
func prefersAsync(header http.Header) bool {
	for _, line := range header.Values(HeaderPrefer) {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
				return true
			}
		}
	}
	return false
}

// parseMinPosition returns 0 where there is no header.
func parseMinPosition(header http.Header) (int64, error) {
	sent := header.Values(HeaderMinPosition)
	if len(sent) == 0 {
		return 0, nil
	}
	if len(sent) > 1 || strings.Trim(sent[0], "0123456789") != "" {
		return 0, errMinPosition
	}
	position, err := strconv.ParseInt(sent[0], decimal, 64)
	if err != nil {
		return 0, errMinPosition
	}
	return position, nil
}
