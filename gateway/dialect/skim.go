package dialect

import (
	"bytes"
	"encoding/json"
	"iter"
)

// The functions here walk through JSON that is known to be valid, without decoding it: what passes through a gateway
// is mostly none of its business. Given anything else they don't panic, but what they find means nothing. What they return lies within what they were given; nobody may append to it.

// members are the keys and values of an object, the keys decoded; of anything else there are none.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		at := skipSpace(object, 0)
		if at >= len(object) || object[at] != '{' {
			return
		}

		for at = skipSpace(object, at+1); at < len(object) && object[at] == '"'; at = skipSpace(object, at+1) {
			end := skipValue(object, at)
			key := plainKey(object[at:end])
			start := skipSpace(object, skipSpace(object, end)+1) // past the colon

			if start >= len(object) {
				return
			}

			end = skipValue(object, start)
			if !yield(key, object[start:end]) {
				return
			}

			at = skipSpace(object, end)
		}
	}
}

// elements are the values of an array; of anything else there are none.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) {
		at := skipSpace(array, 0)
		if at >= len(array) || array[at] != '[' {
			return
		}

		for at = skipSpace(array, at+1); at < len(array) && array[at] != ']'; at = skipSpace(array, at+1) {
			end := skipValue(array, at)
			if !yield(array[at:end]) {
				return
			}

			at = skipSpace(array, end)
		}
	}
}

// member is the value of key in an object, nil where there is none.
func member(object []byte, key string) []byte {
	for name, value := range members(object) {
		if string(name) == key {
			return value
		}
	}

	return nil
}

// offset is where part, which a walk through data found, begins in it.
func offset(data, part []byte) int { return cap(data) - cap(part) }

// given tells a value from none and from null.
func given(value []byte) bool { return len(value) > 0 && value[0] != 'n' }

// kindOf is the first byte of a value, which tells its kind: { [ " t f n, or a digit or minus; 0 where there is none.
func kindOf(value []byte) byte {
	if at := skipSpace(value, 0); at < len(value) {
		return value[at]
	}

	return 0
}

// textOf is a JSON string decoded, "" for anything else.
func textOf(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}

	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}

	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}

	return text
}

// plainKey is a quoted key without quotes and escapes.
func plainKey(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}

	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}

	return []byte(textOf(quoted))
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\t' || data[at] == '\r') {
		at++
	}

	return at
}

// skipValue is where the value ends that starts there.
func skipValue(data []byte, at int) int {
	switch data[at] {
	case '"':
		return skipString(data, at)
	case '{', '[':
		return skipNested(data, at)
	}

	end := at + 1 // at least one byte, so that a walk always gets on
	for end < len(data) && !isDelimiter(data[end]) {
		end++
	}

	return end
}

func isDelimiter(b byte) bool {
	switch b {
	case ',', '}', ']', ':', ' ', '\n', '\t', '\r':
		return true
	}

	return false
}

func skipString(data []byte, at int) int {
	for at++; at < len(data); at++ {
		next := bytes.IndexByte(data[at:], '"')
		if next < 0 {
			return len(data)
		}

		end := at + next
		escapes := 0

		for back := end - 1; back >= at && data[back] == '\\'; back-- {
			escapes++
		}

		if escapes%2 == 0 {
			return end + 1
		}

		at = end
	}

	return len(data)
}

func skipNested(data []byte, at int) int {
	depth := 0

	for at < len(data) {
		switch data[at] {
		case '"':
			at = skipString(data, at)

			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}

		at++

		if depth == 0 {
			return at
		}
	}

	return len(data)
}
