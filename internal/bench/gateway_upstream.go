package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// upstream is a provider that answers at once, in OpenAI's format: a server of this process. A request whose text has a
// number after "say " gets that number as its answer. One that says "wait" gets the beginning of its answer, and the rest
// when release is called, so that any number of streams can be open at once.
type upstream struct {
	server   *http.Server
	listener net.Listener

	mu       sync.Mutex
	released chan struct{}
}

func startUpstream(ctx context.Context) (*upstream, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the upstream: %w", err)
	}
	u := &upstream{listener: listener, released: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"`+gatewayModel+`","object":"model","created":1,"owned_by":"bench"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", u.chat)
	u.server = &http.Server{Handler: mux} //nolint:gosec // on loopback, for this process and its child
	go func() { _ = u.server.Serve(listener) }()
	return u, nil
}

func (u *upstream) addr() string { return u.listener.Addr().String() }

func (u *upstream) close() { _ = u.server.Close() }

// release lets every stream that waits go on, and those to come wait anew.
func (u *upstream) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.released)
	u.released = make(chan struct{})
}

func (u *upstream) wait() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.released
}

// answerWords are the deltas of a streamed answer; joined, with the number asked for at their end, they are the plain one.
var answerWords = strings.SplitAfter("The capital of France is Paris and it has been so for a long time. ", " ") //nolint:gochecknoglobals // a constant list

const usageOfAnswer = `{"prompt_tokens":52,"completion_tokens":17,"total_tokens":69}`

func (u *upstream) chat(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	number := numberIn(body)
	if bytes.Contains(body, []byte(`"stream":true`)) {
		u.stream(w, r, number, bytes.Contains(body, []byte("wait ")))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"%s","choices":[{"index":0,"message":`+
		`{"role":"assistant","content":"%s","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`,
		gatewayModel, strings.Join(answerWords, "")+number, usageOfAnswer)
}

// numberIn is what stands after "say ", up to the end of the string.
func numberIn(body []byte) string {
	_, after, _ := bytes.Cut(body, []byte("say "))
	number, _, _ := bytes.Cut(after, []byte(`"`))
	return string(number)
}

func (u *upstream) stream(w http.ResponseWriter, r *http.Request, number string, waits bool) {
	released := u.wait()
	w.Header().Set("Content-Type", "text/event-stream")
	chunk := func(delta, finish string) {
		_, _ = fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"%s","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`+"\n\n",
			gatewayModel, delta, finish)
	}
	flush := http.NewResponseController(w).Flush
	chunk(`{"role":"assistant","content":"`+answerWords[0]+`"}`, "null")
	_ = flush()
	if waits {
		select {
		case <-released:
		case <-r.Context().Done():
			return
		}
	}
	for _, word := range append(answerWords[1:len(answerWords):len(answerWords)], number) {
		chunk(`{"content":"`+word+`"}`, "null")
		_ = flush()
	}
	chunk(`{}`, `"stop"`)
	_, _ = fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"%s","choices":[],"usage":%s}`+"\n\ndata: [DONE]\n\n",
		gatewayModel, usageOfAnswer)
}
