package cli_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apikeys "github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// collector is an OpenTelemetry collector that keeps what it gets.
type collector struct {
	*httptest.Server

	mu   sync.Mutex
	sent bytes.Buffer
}

func newCollector() *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			if unpacked, err := gzip.NewReader(r.Body); err == nil {
				body = unpacked
			}
		}
		text, _ := io.ReadAll(body) // what was cut off has no canaries either
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent.Write(text)
	}))
	DeferCleanup(c.Close)
	return c
}

// text is everything that was sent, strings in it in the clear.
func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.String()
}

var _ = Describe("What is said in calls, and the keys that it goes under", Label("e2e"), func() {
	It("are in no log line at any level, no event, no table, no trace, no file and no error", func() {
		traces := newCollector()
		place := install("ARCHON_LOG_LEVEL=debug", "ARCHON_OTEL_ENDPOINT="+traces.URL, "ARCHON_CALL_FIRST_BYTE_TIMEOUT=1500ms", "ARCHON_CALL_IDLE_TIMEOUT=1500ms")
		running := place.start()
		s := surfaceOf(running)
		c := place.customer()
		key, _ := c.makesKey(object{"rate_limit_rpm": 10_000, "budget_usd": 100})
		_, _, secret, ok := apikeys.Parse(key)
		Expect(ok).To(BeTrue())
		said := gatewaytest.Reply{Text: strings.Repeat(answerCanary+" ", 4), Chunks: 4, ToolCalls: []gatewaytest.ToolCall{
			{ID: "call-1", Name: "look", Arguments: `{"q":"` + answerCanary + `"}`},
		}}
		everything := object{
			"user": promptCanary, "stop": []string{promptCanary},
			"messages": []object{
				{"role": "system", "content": promptCanary},
				{"role": "user", "name": promptCanary, "content": []object{{"type": "text", "text": promptCanary}}},
				{"role": "assistant", "content": nil, "tool_calls": []object{{"id": "call-0", "type": "function", "function": object{"name": "look", "arguments": `{"q":"` + promptCanary + `"}`}}}},
				{"role": "tool", "tool_call_id": "call-0", "content": promptCanary},
				{"role": "user", "content": promptCanary},
			},
			"tools": []object{{"type": "function", "function": object{"name": "look", "description": promptCanary, "parameters": object{
				"type": "object", "properties": object{"q": object{"type": "string", "description": promptCanary}},
			}}}},
		}
		const echo = `{"error":{"message":"Invalid value '` + promptCanary + `' for key ` + canary + `","type":"invalid_request_error","param":"` + promptCanary + `","code":"` + canary + `"}}`
		behaviours := []gatewaytest.Behaviour{
			gatewaytest.Chat(said), gatewaytest.CutMidAnswer(said), gatewaytest.ErrorMidAnswer(said), gatewaytest.EndMidAnswer(said), gatewaytest.HangMidAnswer(said),
			gatewaytest.Unauthorized(), gatewaytest.Failing(500), gatewaytest.Garbage(), gatewaytest.Hang(),
			gatewaytest.Answer(400, echo), gatewaytest.Answer(500, echo), gatewaytest.Answer(429, echo), gatewaytest.Answer(200, echo), gatewaytest.Text(502, promptCanary+canary),
			gatewaytest.Answer(200, `{"choices":[{"message":{"content":"`+answerCanary),
		}
		var problems strings.Builder
		kinds := []gateway.ProviderType{gateway.OpenAI, gateway.Anthropic, gateway.Google, gateway.Cohere, gateway.Ollama}
		errorsOf := make([]strings.Builder, len(kinds))
		atOnce(len(kinds), func(kind int) {
			for _, behaviour := range behaviours {
				customer := place.customer()
				upstream := chatting(kinds[kind], answerCanary)
				customer.registers("Only", string(kinds[kind]), upstream.URL)
				free, _ := customer.makesKey(nil)
				upstream.Behave(behaviour)
				for _, streamed := range []bool{false, true} {
					answer := customer.mustChat(free, talk(promptCanary, everything, object{"stream": streamed}))
					if answer.status != http.StatusOK {
						errorsOf[kind].WriteString(answer.body)
					} else if !answer.whole && len(answer.events) > 0 {
						errorsOf[kind].WriteString(answer.events[len(answer.events)-1])
					}
				}
			}
		})
		for kind := range errorsOf {
			problems.WriteString(errorsOf[kind].String())
		}
		c.registers("Only", "openai", chatting(gateway.OpenAI, answerCanary).URL, object{"capabilities": []string{"embeddings", "streaming", "function_calling"}})
		Expect(c.mustChat(key, talk(promptCanary, everything)).text).To(Equal(answerCanary))
		embedded := c.must(http.MethodPost, embeddingsPath, key, object{"model": cheapModel, "input": []string{promptCanary}, "user": promptCanary})
		problems.WriteString(embedded.body)
		routed := c.must(http.MethodPost, "/api/v1/router/route", c.admin, object{"prompt": promptCanary, "messages": []object{{"role": "user", "content": promptCanary}}, "requirements": object{}})
		Expect(routed.status).To(Equal(http.StatusOK), routed.body)
		tried := c.must(http.MethodPost, "/api/v1/router/route/visual", c.admin, object{"prompt": promptCanary, "requirements": object{}})
		problems.WriteString(tried.body)
		for _, malformed := range []string{
			`{"model":"gpt-4o","messages":[{"role":"` + promptCanary + `"}]}`, `{"messages":"` + promptCanary + `"}`, `{"` + promptCanary,
			`{"messages":[{"role":"user","content":"` + promptCanary + "\x00" + `"}]}`,
		} {
			problems.WriteString(c.must(http.MethodPost, chatPath, key, malformed).body)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		place.chat(ctx, key, talk(promptCanary)) // one that is gone before it is there

		By("looking everywhere")
		tables := dump(place)
		for _, private := range []string{promptCanary, answerCanary, canary, secret} {
			Expect(filesHolding(s, private)).To(BeEmpty(), private)
			Expect(strings.Contains(tables, private)).To(BeFalse(), "a table holds "+private)
			Expect(strings.Contains(problems.String(), private)).To(BeFalse(), "an error holds "+private)
		}
		Expect(running.terminate()).To(Equal(0), tailOf(running.output.String()))
		output := running.output.String()
		Expect(output).To(ContainSubstring("level=DEBUG"), "it was to log all that it ever does")
		Expect(traces.text()).To(ContainSubstring(chatPath), "there were traces")
		for _, private := range []string{promptCanary, answerCanary, canary, secret} {
			Expect(strings.Contains(output, private)).To(BeFalse(), "the output holds "+private)
			Expect(strings.Contains(traces.text(), private)).To(BeFalse(), "a trace holds "+private)
		}
		place.start()
		place.expectReplayToAgree()
	})
})
