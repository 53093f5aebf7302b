package domain

import (
	"bytes"
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

// Peek is the next byte, 0 where there is none.
func (s *Scanner) Peek() byte {
	if s.failed || len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

// maxScanDepth bounds how deep Value goes.
const maxScanDepth = 64

// Value reads any value but null, which stays a part of the data. It has been found to be JSON, and may have escapes.
func (s *Scanner) Value() []byte {
	before := s.rest
	if s.Peek() == 'n' {
		s.failed = true
	}
	s.value(maxScanDepth)
	if s.failed {
		return nil
	}
	return before[:len(before)-len(s.rest)]
}

func (s *Scanner) value(depth int) {
	switch s.Peek() {
	case '{', '[':
		if depth == 0 {
			s.failed = true
			return
		}
		s.list(depth)
	case '"':
		s.skipText()
	case 't':
		s.Literal("true")
	case 'f':
		s.Literal("false")
	case 'n':
		s.Literal("null")
	default:
		s.skipNumber()
	}
}

// list reads an array or an object.
func (s *Scanner) list(depth int) {
	ends, named := "]", s.rest[0] == '{'
	if named {
		ends = "}"
	}
	s.rest = s.rest[1:]
	if s.Has(ends) {
		return
	}
	for !s.failed {
		if named {
			s.skipText()
			s.Literal(":")
		}
		s.value(depth - 1)
		if s.Has(ends) {
			return
		}
		s.Literal(",")
	}
}

// skipText reads a string, whatever is in it.
func (s *Scanner) skipText() {
	if s.Peek() != '"' {
		s.failed = true
		return
	}
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return
		case c < ' ':
			s.failed = true
			return
		case c == '\\':
			length := escapeLength(s.rest[i:])
			if length == 0 {
				s.failed = true
				return
			}
			i += length - 1
		}
	}
	s.failed = true
}

// escapeLength is how long the escape is that text begins with, 0 where it is none.
func escapeLength(text []byte) int {
	const short, long = len(`\n`), len(`\u0000`)
	if len(text) < short {
		return 0
	}
	if text[1] != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), text[1]) < 0 {
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
func (s *Scanner) skipNumber() {
	s.Has("-")
	if !s.Has("0") {
		s.skipDigits()
	}
	if s.Has(".") {
		s.skipDigits()
	}
	if s.Has("e") || s.Has("E") {
		if !s.Has("+") {
			s.Has("-")
		}
		s.skipDigits()
	}
}

// skipDigits reads one digit or more.
func (s *Scanner) skipDigits() {
	length := 0
	for length < len(s.rest) && isDigit(s.rest[length]) {
		length++
	}
	if length == 0 {
		s.failed = true
		return
	}
	s.rest = s.rest[length:]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
