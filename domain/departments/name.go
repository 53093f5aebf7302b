package departments

import (
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// Bounds of a department; the document says the same.
const (
	maxNameRunes = 200
	// MaxIDBytes is the longest id.
	MaxIDBytes = 100
)

// Prefixes of this context's streams.
const (
	StreamPrefix     = "department-"
	nameStreamPrefix = "departmentname-"
)

// nameSpace is the UUID namespace in which names become stream ids; it must never change.
var nameSpace = uuid.MustParse("0f0a7f52-6c2d-5b6e-9a55-6d1f3d1f7c2b")

// Stream is the stream of a department.
func Stream(id string) string { return StreamPrefix + id }

// NameStream is the stream that makes a name unique: whoever claims the name writes to it, so two cannot.
func NameStream(name string) string {
	return nameStreamPrefix + uuid.NewSHA1(nameSpace, []byte(folded(name))).String()
}

// ValidID tells whether a text can be a department's id: 1 to 100 of letters, digits and . _ - : @ (ASCII), beginning with a
// letter or digit, so that it needs no escaping in a path or a header and can be what an identity provider says in a claim.
func ValidID(id string) bool {
	if id == "" || len(id) > MaxIDBytes || strings.ContainsRune("._-:@", rune(id[0])) {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@") == ""
}

func idProblem(id string) string {
	if ValidID(id) {
		return ""
	}
	return "must be 1 to 100 letters, digits and any of . _ - : @, and begin with a letter or digit; leave it out and one is made"
}

func nameProblem(name string) string { return domain.NameProblem(name, maxNameRunes) }

// normalised is the form in which a name is stored: one space between words, none around them.
func normalised(name string) string { return strings.Join(strings.Fields(name), " ") }

// folded is what names that count as the same have in common: each character stands for all of its cases.
func folded(name string) string {
	return strings.Map(func(char rune) rune {
		least := char
		for other := unicode.SimpleFold(char); other != char; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, normalised(name))
}
