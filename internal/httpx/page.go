package httpx

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Bounds of a page; the document says the same.
const (
	DefaultLimit = 100
	MaxLimit     = 500
)

// Limit is how many entries a page holds, where the request was checked against the document: the default for nil.
func Limit(sent *int) int {
	if sent == nil {
		return DefaultLimit
	}
	return min(max(*sent, 1), MaxLimit)
}

// cursorVersion is that of the cursors which are made now; others are refused.
const cursorVersion = 1

// maxCursorBytes is the document's bound.
const maxCursorBytes = 2048

type cursor struct {
	Version int `json:"v"`
	// List keeps a cursor of one list from being used on another.
	List string          `json:"l"`
	Key  json.RawMessage `json:"k"`
}

// EncodeCursor makes the opaque, URL-safe cursor that continues a list after key. Whoever can decode it sees key, so it
// holds only what the client may see.
func EncodeCursor(list string, key any) (string, error) {
	encodedKey, err := json.Marshal(key)
	if err != nil {
		return "", fmt.Errorf("encode a cursor's key: %w", err)
	}
	encoded, err := json.Marshal(cursor{Version: cursorVersion, List: list, Key: encodedKey})
	if err != nil {
		return "", fmt.Errorf("encode a cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(encoded), nil
}

// DecodeCursor reads the key of a cursor that [EncodeCursor] made for the same list. It says false where the client sent
// none, and fails with a 400 invalid_cursor where it sent anything else.
func DecodeCursor(sent *string, list string, key any) (found bool, err error) {
	if sent == nil {
		return false, nil
	}
	if len(*sent) > maxCursorBytes {
		return false, invalidCursor()
	}
	encoded, err := base64.RawURLEncoding.Strict().DecodeString(*sent)
	if err != nil || CheckJSON(encoded) != nil {
		return false, invalidCursor()
	}
	var decoded cursor
	if decodeStrictly(encoded, &decoded) != nil || decoded.Version != cursorVersion || decoded.List != list {
		return false, invalidCursor()
	}
	if decodeStrictly(decoded.Key, key) != nil {
		return false, invalidCursor()
	}
	return true, nil
}

func invalidCursor() *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: CodeInvalidCursor,
		Message: "The cursor is not one that this list gave out.", Details: map[string]any{"cursor": "is not valid"},
	}
}

// decodeStrictly decodes one JSON value whose fields must all be known.
func decodeStrictly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return ErrJSONSyntax
	}
	return nil
}
