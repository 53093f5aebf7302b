package domain

import (
	"bytes"
	"strings"
	"time"
)

// Scanner reads JSON in the form in which json.Marshal writes most events: in the order of fields, without space, and
// without escapes in what it decodes. Once something else comes it has failed, and reads on in vain; the event is then
// read in the ordinary way, so that a Scanner is only ever faster.
type Scanner struct {
	rest   []byte
	failed bool
}

// Scan makes a Scanner.
func Scan(data []byte) Scanner { return Scanner{rest: data} }

// Done tells whether everything has been read and nothing failed.
func (s *Scanner) Done() bool { return !s.failed && len(s.rest) == 0 }

// Failed tells whether something has come that a Scanner does not read.
func (s *Scanner) Failed() bool { return s.failed }

// Fail makes it fail.
func (s *Scanner) Fail() { s.failed = true }

// Literal reads what must come next.
func (s *Scanner) Literal(want string) {
	if s.failed || len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		s.failed = true
		return
	}
	s.rest = s.rest[len(want):]
}

// Has reads what may come next, and tells whether it did.
func (s *Scanner) Has(maybe string) bool {
	if s.failed || len(s.rest) < len(maybe) || string(s.rest[:len(maybe)]) != maybe {
		return false
	}
	s.rest = s.rest[len(maybe):]
	return true
}

// Text reads a string of printable ASCII, which stays a part of the data.
func (s *Scanner) Text() []byte {
	s.Literal(`"`)
	end := bytes.IndexByte(s.rest, '"')
	if s.failed || end < 0 {
		s.failed = true
		return nil
	}
	text := s.rest[:end]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			s.failed = true
			return nil
		}
	}
	s.rest = s.rest[end+1:]
	return text
}

// OptionalText reads a text, if it comes with its name.
func (s *Scanner) OptionalText(name string) []byte {
	if !s.Has(name) {
		return nil
	}
	return s.Text()
}

// Boolean reads true or false.
func (s *Scanner) Boolean() bool {
	if s.Has("true") {
		return true
	}
	s.Literal("false")
	return false
}

// Time reads a time.
func (s *Scanner) Time() time.Time {
	var at time.Time
	if text := s.Text(); !s.failed && at.UnmarshalText(text) != nil {
		s.failed = true
	}
	return at
}

// Integer reads a whole number that is not negative and has at most 18 digits, which fit.
func (s *Scanner) Integer() int64 {
	const ten, most = 10, 18
	var value int64
	length := 0
	if s.failed {
		return 0
	}
	for length < len(s.rest) && isDigit(s.rest[length]) {
		if length == most {
			s.failed = true
			return 0
		}
		value = value*ten + int64(s.rest[length]-'0')
		length++
	}
	if length == 0 || (length > 1 && s.rest[0] == '0') {
		s.failed = true
		return 0
	}
	s.rest = s.rest[length:]
	return value
}

// OptionalInteger reads a number, if it comes with its name.
func (s *Scanner) OptionalInteger(name string) int64 {
	if !s.Has(name) {
		return 0
	}
	return s.Integer()
}

// Value reads any value but null, which stays a part of the data. It has been found to be JSON, and may have escapes.
func (s *Scanner) Value() []byte {
	end := bad
	if !s.failed && len(s.rest) > 0 && s.rest[0] != 'n' {
		end = skipValue(s.rest, 0, maxScanDepth)
	}
	if end == bad {
		s.failed = true
		return nil
	}
	value := s.rest[:end]
	s.rest = s.rest[end:]
	return value
}

// The functions that skip take where something begins and return where it ends, or bad where it is not JSON or has space
// in it. Values that are only kept are most of an event, so this is where its time goes.
const bad = -1

// maxScanDepth bounds how deep values may lie in each other.
const maxScanDepth = 64

func skipValue(data []byte, at, depth int) int {
	if at >= len(data) {
		return bad
	}
	switch data[at] {
	case '"':
		return skipText(data, at)
	case '{':
		return skipList(data, at, depth, '}')
	case '[':
		return skipList(data, at, depth, ']')
	case 't':
		return skipWord(data, at, "true")
	case 'f':
		return skipWord(data, at, "false")
	case 'n':
		return skipWord(data, at, "null")
	}
	return skipNumber(data, at)
}

func skipWord(data []byte, at int, word string) int {
	if end := at + len(word); end <= len(data) && string(data[at:end]) == word {
		return end
	}
	return bad
}

// skipList reads an array or an object, up to what ends it.
func skipList(data []byte, at, depth int, ends byte) int {
	at++
	if at < len(data) && data[at] == ends {
		return at + 1
	}
	for depth > 0 {
		if ends == '}' {
			at = skipText(data, at)
			if at == bad || at >= len(data) || data[at] != ':' {
				return bad
			}
			at++
		}
		at = skipValue(data, at, depth-1)
		if at == bad || at >= len(data) {
			return bad
		}
		switch data[at] {
		case ends:
			return at + 1
		case ',':
			at++
		default:
			return bad
		}
	}
	return bad
}

// skipText reads a string, whatever is in it.
func skipText(data []byte, at int) int {
	if at >= len(data) || data[at] != '"' {
		return bad
	}
	for at++; at < len(data); at++ {
		c := data[at]
		if c > '"' && c != '\\' {
			continue
		}
		switch {
		case c == '"':
			return at + 1
		case c < ' ':
			return bad
		case c == '\\':
			length := escapeLength(data[at:])
			if length == 0 {
				return bad
			}
			at += length - 1
		}
	}
	return bad
}

// escapeLength is how long the escape is that text begins with, 0 where it is none.
func escapeLength(text []byte) int {
	const short, long = len(`\n`), len(`\u0000`)
	if len(text) < short {
		return 0
	}
	if text[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, text[1]) < 0 {
			return 0
		}
		return short
	}
	if len(text) < long {
		return 0
	}
	for _, c := range text[short:long] {
		if !isDigit(c) && (c|' ' < 'a' || c|' ' > 'f') {
			return 0
		}
	}
	return long
}

// skipNumber reads a number of any size.
func skipNumber(data []byte, at int) int {
	has := func(c byte) bool { return at < len(data) && data[at] == c }
	if has('-') {
		at++
	}
	if has('0') {
		at++
	} else if at = skipDigits(data, at); at == bad {
		return bad
	}
	if has('.') {
		if at = skipDigits(data, at+1); at == bad {
			return bad
		}
	}
	if has('e') || has('E') {
		at++
		if has('+') || has('-') {
			at++
		}
		return skipDigits(data, at)
	}
	return at
}

// skipDigits reads one digit or more.
func skipDigits(data []byte, at int) int {
	begins := at
	for at < len(data) && isDigit(data[at]) {
		at++
	}
	if at == begins {
		return bad
	}
	return at
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
