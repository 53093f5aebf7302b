package dialect_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

func translatedKinds() []gateway.ProviderType {
	return []gateway.ProviderType{gateway.Anthropic, gateway.Google, gateway.Cohere, gateway.Ollama}
}

// askTools is a second turn with parallel calls, which the test provider takes only with every result in its place.
const askTools = `{"model":"m","max_tokens":50,"temperature":1.5,"seed":1,"user":"u","stop":["x"],"reasoning_effort":"low",
	"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}},
	"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}],
	"messages":[
		{"role":"system","content":"s"},
		{"role":"user","content":[{"type":"text","text":"q"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGVsbG8="}}]},
		{"role":"assistant","content":null,"tool_calls":[
			{"id":"a.1","type":"function","function":{"name":"f","arguments":"{}"}},
			{"id":"b","type":"function","function":{"name":"g","arguments":"not JSON"}}]},
		{"role":"tool","tool_call_id":"a.1","content":"1"},
		{"role":"tool","tool_call_id":"b","content":""},
		{"role":"user","content":"go on"}
	]}`

func TestAConversationWithToolsIsTakenUpstream(t *testing.T) {
	t.Parallel()

	for _, kind := range translatedKinds() {
		_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{ToolCalls: []gatewaytest.ToolCall{{ID: "c", Name: "f", Arguments: "{}"}}}))

		got, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askTools))
		if err != nil || got.FinishReason != "tool_calls" {
			t.Errorf("%s: got %s, %v", kind, got.Body, err)
		}
	}
}

// Thinking is counted and never shown, whole or streamed.
func TestThinkingIsNotShown(t *testing.T) {
	t.Parallel()

	reply := gatewaytest.Reply{Text: "Yes.", Usage: domain.Tokens{Input: 100, CacheRead: 60, CacheWrite: 8, Output: 30, Reasoning: 12}}

	for kind, want := range map[gateway.ProviderType]domain.Tokens{
		gateway.Anthropic: {Input: 100, CacheRead: 60, CacheWrite: 8, Output: 42},
		gateway.Google:    {Input: 108, CacheRead: 60, Output: 30, Reasoning: 12},
		gateway.Cohere:    {Input: 168, Output: 42},
		gateway.Ollama:    {Input: 168, Output: 42},
	} {
		_, attempt := provider(t, kind, gatewaytest.Chat(reply))
		caller := client(dialect.Timeouts{})

		plain, err := caller.Chat(context.Background(), attempt, parse(t, askPlain))
		if err != nil || plain.Content != reply.Text || plain.Usage.Tokens != want || strings.Contains(string(plain.Body), "think") {
			t.Errorf("%s: got %s, %+v, %v", kind, plain.Body, plain.Usage, err)
		}

		stream, err := caller.Stream(context.Background(), attempt, parse(t, askUsage))
		if err != nil {
			t.Fatal(err)
		}

		if got := collect(t, stream); !errors.Is(got.err, io.EOF) || got.text != reply.Text || stream.Usage().Tokens != want {
			t.Errorf("%s: got %+v, %+v", kind, got, stream.Usage())
		}

		stream.Close()
	}
}

func TestTranslatedEmbeddings(t *testing.T) {
	t.Parallel()

	for _, kind := range []gateway.ProviderType{gateway.Google, gateway.Cohere, gateway.Ollama} {
		_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Embedding: []float64{1, 2}}))

		request, err := dialect.ParseEmbeddings([]byte(`{"model":"e","user":"u","input":["one","two"]}`))
		if err != nil {
			t.Fatal(err)
		}

		got, err := client(dialect.Timeouts{}).Embed(context.Background(), attempt, request)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}

		var answer struct {
			Object, Model string
			Data          []struct {
				Index     int
				Embedding []float64
			}
		}
		if json.Unmarshal(got.Body, &answer) != nil || answer.Object != "list" || answer.Model == "" || len(answer.Data) != 2 ||
			answer.Data[1].Index != 1 || len(answer.Data[1].Embedding) != 2 || got.Usage.Tokens.Input == 0 || got.FirstByte <= 0 {
			t.Errorf("%s: got %+v, %s", kind, got.Usage, got.Body)
		}

		if counts := got.Usage.Source == dialect.Reported; counts == (kind == gateway.Google) {
			t.Errorf("%s: got %+v", kind, got.Usage)
		}
	}
}
