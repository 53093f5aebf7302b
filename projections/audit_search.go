package projections

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxSearchBytes bounds the text that a row is searched by.
const maxSearchBytes = 4 << 10

// searchText is what a row is searched by. The data of telemetry is numbers in the main, and there is a lot of it.
func searchText(event *Event, action, actor string, telemetry bool) string {
	var text strings.Builder
	for _, part := range []string{event.Type, action, event.Stream, actor} {
		text.WriteString(part)
		text.WriteByte(' ')
	}
	if !telemetry {
		for value := range jsonStrings(event.Data) {
			if text.Len() > maxSearchBytes {
				break
			}
			text.WriteString(value)
			text.WriteByte(' ')
		}
	}
	return storableText(strings.ToLower(strings.TrimSuffix(text.String(), " ")), maxSearchBytes)
}

// jsonStrings lists the strings of a JSON document that are values and not names. It takes any bytes: what is not JSON
// yields what looks like strings in it.
func jsonStrings(document []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		rest := document
		for {
			start := bytes.IndexByte(rest, '"')
			if start < 0 {
				return
			}
			rest = rest[start:]
			end, escaped := endOfString(rest)
			if end < 0 {
				return
			}
			token := rest[:end]
			rest = bytes.TrimLeft(rest[end:], " \t\r\n")
			if len(rest) > 0 && rest[0] == ':' {
				continue
			}
			if !yield(unquote(token, escaped)) {
				return
			}
		}
	}
}

// endOfString is the length of the string literal that text begins with, or -1 where it does not end.
func endOfString(text []byte) (end int, escaped bool) {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			return i + 1, escaped
		}
	}
	return -1, escaped
}

func unquote(token []byte, escaped bool) string {
	plain := string(token[1 : len(token)-1])
	if !escaped {
		return plain
	}
	var text string
	if json.Unmarshal(token, &text) != nil {
		return plain
	}
	return text
}
