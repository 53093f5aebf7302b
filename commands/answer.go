package commands

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Headers of answers to commands.
const (
	headerPosition = "X-Event-Position"
	headerETag     = "ETag"
	headerLocation = "Location"
)

// Answer is an HTTP answer as it is remembered under an idempotency key: what a repeated request gets, byte for byte.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	// Body is the whole body with its envelope; empty for 204.
	Body json.RawMessage `json:"body,omitempty"`

	data any
}

// answerWith makes the answer that shows data about a resource at a version.
func answerWith(status int, data any, version int64) Answer {
	return Answer{Status: status, data: data, Header: map[string]string{headerETag: ETag(version)}}
}

func (a Answer) at(location string) Answer {
	a.Header[headerLocation] = location
	return a
}

// ETag is the entity tag of a resource's version.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

type envelope struct {
	Data any          `json:"data"`
	Meta envelopeMeta `json:"meta"`
}

type envelopeMeta struct {
	RequestID string    `json:"request_id"`
	Timestamp time.Time `json:"timestamp"`
}

func (a *Answer) setPosition(position int64) {
	if a.Header == nil {
		a.Header = map[string]string{}
	}
	a.Header[headerPosition] = strconv.FormatInt(position, 10)
}

// finish turns data into the body and names the position the caller can wait for.
func (a *Answer) finish(h *Handler, caller Caller, position int64) error {
	a.setPosition(position)
	if a.Status == http.StatusNoContent {
		return nil
	}
	body, err := json.Marshal(envelope{Data: a.data, Meta: envelopeMeta{RequestID: caller.RequestID, Timestamp: h.Now().UTC()}})
	if err != nil {
		return fmt.Errorf("encode an answer's body: %w", err)
	}
	a.Body = body
	return nil
}

func (a Answer) encode() ([]byte, error) {
	encoded, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return encoded, nil
}

func decodeAnswer(encoded []byte) (Answer, error) {
	var answer Answer
	if err := json.Unmarshal(encoded, &answer); err != nil {
		return Answer{}, fmt.Errorf("decode a remembered answer: %w", err)
	}
	return answer, nil
}
