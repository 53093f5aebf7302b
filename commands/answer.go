package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/archonhq/archon/internal/httpx"
)

// response is what a use case answers on success, before it is an HTTP answer.
type response struct {
	status int
	// data goes into the envelope; there is none with 204.
	data any
	// once, where set, takes the place of data in the first answer: data is what is remembered, and what a repetition
	// gets, so a secret that is shown once is in once alone.
	once any
	// version, where not 0, becomes the ETag.
	version  int64
	location string
}

// first is the response as it is answered, the rest of it as it is remembered.
func (r response) first() response {
	if r.once != nil {
		r.data = r.once
	}
	return r
}

// answer renders the response for the request that ctx belongs to. position is what the client can wait for.
func (r response) answer(ctx context.Context, position int64) (httpx.Answer, error) {
	answer := httpx.Answer{Status: r.status}
	if r.status != http.StatusNoContent {
		var err error
		if answer, err = httpx.NewAnswer(ctx, r.status, r.data); err != nil {
			return answer, fmt.Errorf("answer a command: %w", err)
		}
	}
	if r.version != 0 && r.status != http.StatusNoContent {
		answer = answer.With(httpx.HeaderETag, httpx.ETag(r.version))
	}
	if r.location != "" {
		answer = answer.With("Location", r.location)
	}
	return at(answer, position), nil
}

// at names the position of what was written; 0 is none, or not yet.
func at(answer httpx.Answer, position int64) httpx.Answer {
	if position == 0 {
		return answer
	}
	return answer.With(httpx.HeaderEventPosition, strconv.FormatInt(position, 10))
}

func encodeAnswer(answer httpx.Answer) ([]byte, error) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return encoded, nil
}

func decodeAnswer(encoded []byte) (httpx.Answer, error) {
	var answer httpx.Answer
	if err := json.Unmarshal(encoded, &answer); err != nil {
		return answer, fmt.Errorf("decode a remembered answer: %w", err)
	}
	answer.Replayed = true
	return answer, nil
}
