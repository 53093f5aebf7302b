package httpx_test

import (
	"encoding/base64"
	"errors"
	"regexp"
	"testing"

	"github.com/archonhq/archon/internal/httpx"
)

type pageKey struct {
	Name string `json:"n"`
	ID   string `json:"i"`
}

func TestCursor(t *testing.T) {
	t.Parallel()
	key := pageKey{Name: "Größe/?&=+ \"x\"", ID: "1"}
	cursor, err := httpx.EncodeCursor("providers", key)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(cursor) {
		t.Errorf("cursor %q is not URL-safe", cursor)
	}
	var got pageKey
	if found, err := httpx.DecodeCursor(&cursor, "providers", &got); err != nil || !found || got != key {
		t.Errorf("DecodeCursor = %v, %v, key %v", found, err, got)
	}
	if found, err := httpx.DecodeCursor(nil, "providers", &got); err != nil || found {
		t.Errorf("DecodeCursor(nil) = %v, %v", found, err)
	}
	if _, err := httpx.EncodeCursor("providers", func() {}); err == nil {
		t.Error("EncodeCursor took a function")
	}
}

func TestCursorRefused(t *testing.T) {
	t.Parallel()
	raw := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	other, err := httpx.EncodeCursor("jobs", pageKey{})
	if err != nil {
		t.Fatal(err)
	}
	for name, cursor := range map[string]string{
		"of another list":  other,
		"empty":            "",
		"no base64":        "§",
		"no JSON":          raw("x"),
		"another version":  raw(`{"v":2,"l":"providers","k":{"n":"","i":""}}`),
		"no key":           raw(`{"v":1,"l":"providers"}`),
		"key of a type":    raw(`{"v":1,"l":"providers","k":{"n":1,"i":""}}`),
		"unknown field":    raw(`{"v":1,"l":"providers","k":{"n":"","i":"","x":1}}`),
		"unknown envelope": raw(`{"v":1,"l":"providers","x":1,"k":{"n":"","i":""}}`),
		"with NUL":         raw(`{"v":1,"l":"providers","k":{"n":"\u0000","i":""}}`),
		"too long":         string(make([]byte, 3000)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused *httpx.Error
			if _, err := httpx.DecodeCursor(&cursor, "providers", &pageKey{}); !errors.As(err, &refused) || refused.Code != httpx.CodeInvalidCursor || refused.Status != 400 {
				t.Errorf("DecodeCursor = %v", err)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for want, sent := range map[int]*int{100: nil, 1: new(1), 7: new(7), 500: new(600)} {
		if got := httpx.Limit(sent); got != want {
			t.Errorf("Limit = %d, want %d", got, want)
		}
	}
}

func FuzzDecodeCursor(f *testing.F) {
	good, err := httpx.EncodeCursor("providers", pageKey{Name: "a", ID: "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJ2IjoxfQ")
	f.Fuzz(func(t *testing.T, sent string) {
		var key pageKey
		found, err := httpx.DecodeCursor(&sent, "providers", &key)
		if err == nil && !found {
			t.Error("neither found nor refused")
		}
		if err != nil {
			return
		}
		again, err := httpx.EncodeCursor("providers", key)
		var same pageKey
		if err != nil {
			t.Fatal(err)
		}
		if _, err := httpx.DecodeCursor(&again, "providers", &same); err != nil || same != key {
			t.Errorf("a key that was taken does not come back: %v", err)
		}
	})
}
