package httpx

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/archonhq/archon/api"
)

// Answer is a whole HTTP answer: what a write is answered with, and what is remembered under an Idempotency-Key to be
// given again byte for byte. Its JSON form is for storing. It implements the response interface of every write of
// api.StrictServerInterface.
type Answer struct {
	Status int `json:"status"`
	// Header holds the headers that belong to the answer itself, such as ETag, Location and X-Event-Position.
	Header map[string]string `json:"header,omitempty"`
	// Body is the body with its envelope; empty for 204.
	Body json.RawMessage `json:"body,omitempty"`
	// Replayed marks an answer that was given before; it is not stored.
	Replayed bool `json:"-"`
}

// NewAnswer makes the answer that shows data in the envelope of the request that ctx belongs to.
func NewAnswer(ctx context.Context, status int, data any) (Answer, error) {
	body, err := json.Marshal(dataEnvelope{Data: data, Meta: Meta(ctx)})
	if err != nil {
		return Answer{}, fmt.Errorf("encode an answer: %w", err)
	}
	return Answer{Status: status, Body: body}, nil
}

type dataEnvelope struct {
	Data any      `json:"data"`
	Meta api.Meta `json:"meta"`
}

// With returns a copy with one header more.
func (a Answer) With(name, value string) Answer {
	header := map[string]string{http.CanonicalHeaderKey(name): value}
	for known, kept := range a.Header {
		if known != http.CanonicalHeaderKey(name) {
			header[known] = kept
		}
	}
	return Answer{Status: a.Status, Header: header, Body: a.Body, Replayed: a.Replayed}
}

// ETag is the entity tag of a resource's version.
func ETag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// write sends the answer as it is.
func (a Answer) write(w http.ResponseWriter) error {
	header := w.Header()
	for name, value := range a.Header {
		header.Set(name, value)
	}
	if a.Replayed {
		header.Set(HeaderReplayed, "true")
	}
	if len(a.Body) == 0 {
		w.WriteHeader(a.Status)
		return nil
	}
	header.Set(headerContentType, mediaTypeJSON)
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	if _, err := w.Write(a.Body); err != nil {
		return fmt.Errorf("send an answer: %w", err)
	}
	return nil
}
