package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
)

// pausing is an OpenAI that begins to answer, and ends when it is told to.
type pausing struct {
	*httptest.Server

	// begun gets a value with each answer that has begun; they end once goOn is closed.
	begun chan struct{}
	goOn  chan struct{}
	// failing has it answer 500 instead; failed is how often it has.
	failing atomic.Bool
	failed  atomic.Int64
}

func newPausing() *pausing {
	p := &pausing{begun: make(chan struct{}, 100), goOn: make(chan struct{})}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	DeferCleanup(func() {
		select {
		case <-p.goOn:
		default:
			close(p.goOn)
		}
		p.Close()
	})
	return p
}

func (p *pausing) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[]}`)
		return
	}
	if p.failing.Load() {
		p.failed.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var sent struct {
		Stream bool `json:"stream"`
	}
	_ = json.NewDecoder(r.Body).Decode(&sent)
	const head = `{"id":"c","created":1,"model":"gpt-4o-mini",`
	const usage = `"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}`
	pieces := []string{
		head + `"object":"chat.completion","choices":[{"index":0,`, `"message":{"role":"assistant","content":"one two"},"finish_reason":"stop"}],` + usage + `}`,
	}
	w.Header().Set("Content-Type", "application/json")
	if sent.Stream {
		const chunk = "data: " + head + `"object":"chat.completion.chunk","choices":[`
		pieces = []string{
			chunk + `{"index":0,"delta":{"role":"assistant","content":"one"},"finish_reason":null}]}` + "\n\n",
			chunk + `{"index":0,"delta":{"content":" two"},"finish_reason":null}]}` + "\n\n",
			chunk + `{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n",
			chunk + `],` + usage + "}\n\n", "data: [DONE]\n\n",
		}
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for i, piece := range pieces {
		_, _ = io.WriteString(w, piece)
		_ = http.NewResponseController(w).Flush()
		if i == 0 {
			p.begun <- struct{}{}
			<-p.goOn
		}
	}
}
