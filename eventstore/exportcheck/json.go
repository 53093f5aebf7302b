package exportcheck

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The lines are read by a reader of our own: encoding/json takes names in whatever case, the last one of a name that stands twice, and
// half a surrogate pair as U+FFFD, where other readers take something else. Two readers must not see two events in one line. What
// is accepted here is JSON (RFC 8259) of valid UTF-8 without any of those.

// maxDepth bounds the nesting of members that are skipped.
const maxDepth = 64

var errSyntax = errors.New("is not JSON")

// reader reads one line; at is where it is.
type reader struct {
	line []byte
	at   int
}

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s at byte %d", errSyntax, fmt.Sprintf(format, args...), r.at+1)
}

// peek returns the next byte that is no white space, 0 at the end.
func (r *reader) peek() byte {
	for r.at < len(r.line) {
		switch r.line[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return r.line[r.at]
		}
	}
	return 0
}

func (r *reader) expect(c byte) error {
	if r.peek() != c || r.at >= len(r.line) {
		return r.errorf("expected %q", c)
	}
	r.at++
	return nil
}

// object reads an object and hands over each member's name, with the reader at its value.
func (r *reader) object(member func(name []byte) error) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	if r.peek() == '}' {
		r.at++
		return nil
	}
	var buffer [64]byte
	for {
		r.peek()
		name, err := r.text(buffer[:0])
		if err != nil {
			return err
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		r.peek()
		if err := member(name); err != nil {
			return err
		}
		if r.peek() == '}' {
			r.at++
			return nil
		}
		if err := r.expect(','); err != nil {
			return err
		}
	}
}

// list reads a list, with the reader at each element.
func (r *reader) list(element func() error) error {
	if err := r.expect('['); err != nil {
		return err
	}
	if r.peek() == ']' {
		r.at++
		return nil
	}
	for {
		r.peek()
		if err := element(); err != nil {
			return err
		}
		if r.peek() == ']' {
			r.at++
			return nil
		}
		if err := r.expect(','); err != nil {
			return err
		}
	}
}

// ordinary tells which bytes stand for themselves in a string.
var ordinary = func() (table [256]bool) { //nolint:gochecknoglobals // a table that nobody writes to
	for c := range table {
		table[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return table
}()

// text reads a string. The result is a piece of the line where it has no escapes, else it is appended to buffer.
func (r *reader) text(buffer []byte) ([]byte, error) {
	if r.at >= len(r.line) || r.line[r.at] != '"' {
		return nil, r.errorf("expected a string")
	}
	r.at++
	plain := true
	for {
		begin := r.at
		for r.at < len(r.line) && ordinary[r.line[r.at]] {
			r.at++
		}
		if r.at == len(r.line) {
			return nil, r.errorf("a string without an end")
		}
		run := r.line[begin:r.at]
		c := r.line[r.at]
		r.at++
		switch {
		case c == '"' && plain:
			return run, nil
		case c == '"':
			return append(buffer, run...), nil
		case c != '\\':
			return nil, r.errorf("a control character in a string")
		}
		plain = false
		buffer = append(buffer, run...)
		var err error
		if buffer, err = r.escape(buffer); err != nil {
			return nil, err
		}
	}
}

// escape reads what follows a backslash.
func (r *reader) escape(buffer []byte) ([]byte, error) { //nolint:gocyclo // a table
	if r.at == len(r.line) {
		return nil, r.errorf("a string without an end")
	}
	c := r.line[r.at]
	r.at++
	switch c {
	case '"', '\\', '/':
		return append(buffer, c), nil
	case 'b':
		return append(buffer, '\b'), nil
	case 'f':
		return append(buffer, '\f'), nil
	case 'n':
		return append(buffer, '\n'), nil
	case 'r':
		return append(buffer, '\r'), nil
	case 't':
		return append(buffer, '\t'), nil
	case 'u':
		char, err := r.hex4()
		if err != nil {
			return nil, err
		}
		if !utf16.IsSurrogate(char) {
			return utf8.AppendRune(buffer, char), nil
		}
		if r.at+1 < len(r.line) && r.line[r.at] == '\\' && r.line[r.at+1] == 'u' {
			r.at += 2
			second, err := r.hex4()
			if err != nil {
				return nil, err
			}
			if pair := utf16.DecodeRune(char, second); pair != utf8.RuneError {
				return utf8.AppendRune(buffer, pair), nil
			}
		}
		return nil, r.errorf("half a surrogate pair")
	}
	return nil, r.errorf("an unknown escape")
}

func (r *reader) hex4() (rune, error) {
	const digits = 4
	if len(r.line)-r.at < digits {
		return 0, r.errorf("a cut escape")
	}
	var value rune
	for _, c := range r.line[r.at : r.at+digits] {
		switch {
		case c >= '0' && c <= '9':
			value = value<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			value = value<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			value = value<<4 | rune(c-'A'+10)
		default:
			return 0, r.errorf("an escape that is not hexadecimal")
		}
	}
	r.at += digits
	return value, nil
}

// number reads the text of a number.
func (r *reader) number() ([]byte, error) {
	begin := r.at
	digits := func() bool {
		from := r.at
		for r.at < len(r.line) && r.line[r.at] >= '0' && r.line[r.at] <= '9' {
			r.at++
		}
		return r.at > from
	}
	is := func(chars ...byte) bool {
		for _, c := range chars {
			if r.at < len(r.line) && r.line[r.at] == c {
				r.at++
				return true
			}
		}
		return false
	}
	is('-')
	if !is('0') && !digits() {
		return nil, r.errorf("expected a number")
	}
	if is('.') && !digits() {
		return nil, r.errorf("a number without digits after the point")
	}
	if is('e', 'E') {
		is('+', '-')
		if !digits() {
			return nil, r.errorf("a number without an exponent")
		}
	}
	return r.line[begin:r.at], nil
}

// integer reads an integer of 64 bits, without fraction and exponent.
func (r *reader) integer() (int64, error) {
	text, err := r.number()
	if err != nil {
		return 0, err
	}
	value, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || string(text) == "-0" {
		return 0, r.errorf("not an integer of 64 bits")
	}
	return value, nil
}

// skip reads past any value.
func (r *reader) skip(depth int) error {
	if depth > maxDepth {
		return r.errorf("nested too deeply")
	}
	switch c := r.peek(); {
	case c == '{':
		return r.object(func([]byte) error { return r.skip(depth + 1) })
	case c == '[':
		return r.list(func() error { return r.skip(depth + 1) })
	case c == '"':
		_, err := r.text(nil)
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.number()
		return err
	}
	for _, word := range []string{"true", "false", "null"} {
		if rest := r.line[r.at:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			r.at += len(word)
			return nil
		}
	}
	return r.errorf("expected a value")
}

// end fails where something follows.
func (r *reader) end() error {
	if r.peek() != 0 || r.at < len(r.line) {
		return r.errorf("something follows")
	}
	return nil
}
