package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxJSONDepth bounds how deep arrays and objects of a body may be nested.
const MaxJSONDepth = 64

// What [CheckJSON] finds wrong with a body. The texts may be shown: they hold nothing of it.
var (
	ErrJSONEncoding  = errors.New("is not valid UTF-8")
	ErrJSONSyntax    = errors.New("is not one well-formed JSON value")
	ErrJSONDepth     = fmt.Errorf("is nested more than %d deep", MaxJSONDepth)
	ErrJSONNUL       = errors.New("has a NUL character in a string")
	ErrJSONSurrogate = errors.New("has half a surrogate pair in a string")
	ErrJSONDuplicate = errors.New("has the same key twice in an object")
)

// CheckJSON returns nil if body is exactly one JSON value that every JSON reader understands in the same way and that
// PostgreSQL can store: valid UTF-8, no NUL characters, no lone surrogates, no duplicate keys, at most [MaxJSONDepth] deep.
// The error is one of this package's ErrJSON….
func CheckJSON(body []byte) error {
	if !utf8.Valid(body) {
		return ErrJSONEncoding
	}
	if !json.Valid(body) {
		return ErrJSONSyntax
	}
	return (&jsonWalk{body: body}).check()
}

// jsonWalk goes once over a body whose syntax is known to be right, which is why it needs to look at brackets, commas and
// strings only.
type jsonWalk struct {
	body  []byte
	at    int
	stack []jsonLevel
}

// jsonLevel is an object or array that is not closed yet.
type jsonLevel struct {
	object bool
	// key is true where the next string of an object is a key.
	key  bool
	keys map[string]struct{}
}

func (w *jsonWalk) check() error {
	for w.at < len(w.body) {
		char := w.body[w.at]
		w.at++
		switch char {
		case '{', '[':
			if len(w.stack) == MaxJSONDepth {
				return ErrJSONDepth
			}
			w.stack = append(w.stack, jsonLevel{object: char == '{', key: char == '{'})
		case '}', ']':
			w.stack = w.stack[:len(w.stack)-1]
		case ',':
			w.top().key = w.top().object
		case '"':
			if err := w.checkString(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *jsonWalk) top() *jsonLevel { return &w.stack[len(w.stack)-1] }

// checkString goes to the end of the string whose opening quote was just passed.
func (w *jsonWalk) checkString() error {
	start, escaped := w.at, false
	for w.body[w.at] != '"' {
		if w.body[w.at] != '\\' {
			w.at++
			continue
		}
		escaped = true
		if err := w.checkEscape(); err != nil {
			return err
		}
	}
	text := w.body[start:w.at]
	w.at++
	if len(w.stack) == 0 || !w.top().key {
		return nil
	}
	w.top().key = false
	return w.top().add(text, escaped)
}

const (
	escapeBytes        = len(`\n`)
	unicodeEscapeBytes = len(`\u0000`)
)

// checkEscape goes over the escape sequence, or the pair of surrogates, that begins here.
func (w *jsonWalk) checkEscape() error {
	if w.body[w.at+1] != 'u' {
		w.at += escapeBytes
		return nil
	}
	first := w.codeUnit()
	if first == 0 {
		return ErrJSONNUL
	}
	if !utf16.IsSurrogate(first) {
		return nil
	}
	if !bytes.HasPrefix(w.body[w.at:], []byte(`\u`)) || utf16.DecodeRune(first, w.codeUnit()) == utf8.RuneError {
		return ErrJSONSurrogate
	}
	return nil
}

// codeUnit reads the \uXXXX that begins here.
func (w *jsonWalk) codeUnit() rune {
	const hexBase, hexBits = 16, 16
	digits := string(w.body[w.at+escapeBytes : w.at+unicodeEscapeBytes])
	w.at += unicodeEscapeBytes
	unit, err := strconv.ParseUint(digits, hexBase, hexBits)
	if err != nil {
		return utf8.RuneError // can't be: the syntax was checked
	}
	return rune(unit)
}

// add notes a key. Keys are compared as what they mean: "a" and "\u0061" are one.
func (l *jsonLevel) add(text []byte, escaped bool) error {
	key := string(text)
	if escaped {
		if err := json.Unmarshal([]byte(`"`+key+`"`), &key); err != nil {
			return ErrJSONSyntax
		}
	}
	if _, found := l.keys[key]; found {
		return ErrJSONDuplicate
	}
	if l.keys == nil {
		l.keys = map[string]struct{}{}
	}
	l.keys[key] = struct{}{}
	return nil
}
