package dialect

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

const benchChunk = `{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,` +
	`"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,` +
	`"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null}`

// canned answers every request with the same bytes, without a network.
type canned struct {
	header http.Header
	body   []byte
}

func (c canned) RoundTrip(request *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, request.Body)

	return &http.Response{StatusCode: http.StatusOK, Header: c.header, Body: io.NopCloser(bytes.NewReader(c.body)), Request: request}, nil
}

// BenchmarkStream is what Archon adds to 1,000 chunks: the time and the allocations of one are a thousandth.
func BenchmarkStream(b *testing.B) {
	const chunks = 1000

	stream := strings.Repeat("data: "+benchChunk+"\n\n", chunks) + "data: " +
		strings.Replace(benchChunk, `"finish_reason":null`, `"finish_reason":"stop"`, 1) + "\n\ndata: [DONE]\n\n"
	client := NewClient(&http.Client{Transport: canned{http.Header{"Content-Type": {"text/event-stream"}}, []byte(stream)}}, "", Timeouts{})
	attempt := Attempt{Target: gateway.Target{Type: gateway.OpenAI}, Model: "gpt-4o"}

	chat, err := ParseChat([]byte(`{"stream":true,"messages":[{"role":"user","content":"hello"}]}`))
	if err != nil {
		b.Fatal(err)
	}

	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()

	for b.Loop() {
		stream, err := client.Stream(context.Background(), attempt, chat)
		for err == nil {
			_, err = stream.Next()
		}

		if stream.Close(); err != io.EOF { //nolint:errorlint // never wrapped
			b.Fatal(err)
		}
	}
}

// BenchmarkChat is one plain call without a network: parsing, translating, reading.
func BenchmarkChat(b *testing.B) {
	answer := `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",` +
		`"content":"` + strings.Repeat("word ", 200) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"completion_tokens":200}}`
	asked := `{"model":"m","temperature":0.5,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"` +
		strings.Repeat("word ", 300) + `"}]}`
	client := NewClient(&http.Client{Transport: canned{http.Header{"Content-Type": {"application/json"}}, []byte(answer)}}, "", Timeouts{})
	attempt := Attempt{Target: gateway.Target{Type: gateway.OpenAI, Credentials: map[string]string{"api_key": "k"}}, Model: "gpt-4o"}

	b.ReportAllocs()

	for b.Loop() {
		chat, err := ParseChat([]byte(asked))
		if err != nil {
			b.Fatal(err)
		}

		if _, err := client.Chat(context.Background(), attempt, chat); err != nil {
			b.Fatal(err)
		}
	}
}
