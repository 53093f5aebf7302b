package domain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TextProblem says what is wrong with a text that may be empty and has at most maxRunes characters; "" where nothing is.
func TextProblem(text string, maxRunes int) string {
	switch {
	case utf8.RuneCountInString(text) > maxRunes:
		return fmt.Sprintf("must be at most %d characters long", maxRunes)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// NameProblem is TextProblem for a text that must say something.
func NameProblem(name string, maxRunes int) string {
	if strings.TrimSpace(name) == "" {
		return "must not be empty"
	}
	return TextProblem(name, maxRunes)
}
