package dialect_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const (
	testKey = "sk-test-0123456789abcdef"
	// canary stands in the prompt and must not come back in any error.
	canary = "the canary sings at 04:17 in cell 9"

	askPlain = `{"model":"m","messages":[{"role":"user","content":"` + canary + `"}]}`
	askUsage = `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"` + canary + `"}]}`
	askQuiet = `{"model":"m","stream":true,"messages":[{"role":"user","content":"` + canary + `"}]}`
)

// short are timeouts for tests of hanging providers; the others end long before.
var short = dialect.Timeouts{FirstByte: 200 * time.Millisecond, Idle: 200 * time.Millisecond}

// kinds are the types that are driven through the test provider.
func kinds() []gateway.ProviderType { return gateway.ProviderTypes() }

func openAIKinds() []gateway.ProviderType {
	return []gateway.ProviderType{gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI, gateway.VLLM, gateway.Custom}
}

func provider(t *testing.T, kind gateway.ProviderType, behaviour gatewaytest.Behaviour) (*gatewaytest.Server, dialect.Attempt) {
	t.Helper()

	server := gatewaytest.New(kind, gatewaytest.Options{APIKey: testKey})
	server.Behave(behaviour)
	t.Cleanup(server.Close)

	return server, dialect.Attempt{
		Target: gateway.Target{
			Type: kind, BaseURL: server.URL,
			Credentials: map[string]string{"api_key": testKey, "api_version": "2024-10-21"},
		},
		Model: "upstream-model", CorrelationID: "corr-1",
	}
}

func parse(t *testing.T, body string) *dialect.Chat {
	t.Helper()

	chat, err := dialect.ParseChat([]byte(body))
	if err != nil {
		t.Fatal(err)
	}

	return chat
}

func client(timeouts dialect.Timeouts) *dialect.Client {
	return dialect.NewClient(&http.Client{Transport: &http.Transport{}}, "archon/test", timeouts)
}

// outcome is what a client sees of a stream, put together again.
type outcome struct {
	text, finish string
	calls        []gatewaytest.ToolCall
	usageChunks  int
	chunks       int
	err          error
}

type message struct {
	ID, Object, Model string
	Choices           []struct {
		Index   int
		Delta   delta
		Message delta
		Finish  *string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
		Estimated  bool
	}
}

type delta struct {
	Role      string
	Content   string
	ToolCalls []struct {
		Index    int
		ID, Type string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

func (d delta) calls() []gatewaytest.ToolCall {
	var calls []gatewaytest.ToolCall
	for _, call := range d.ToolCalls {
		calls = append(calls, gatewaytest.ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
	}

	return calls
}

// collect reads a stream as an official client does.
func collect(t *testing.T, stream *dialect.Stream) outcome {
	t.Helper()

	var got outcome

	for {
		data, err := stream.Next()
		if err != nil {
			got.err = err

			return got
		}

		var chunk message
		if err := json.Unmarshal(data, &chunk); err != nil {
			t.Fatalf("chunk is no JSON: %v: %s", err, data)
		}

		if chunk.Object != "chat.completion.chunk" || chunk.ID == "" || chunk.Model == "" {
			t.Errorf("chunk without its heading: %s", data)
		}

		got.chunks++
		got.add(t, chunk, data)
	}
}

func (o *outcome) add(t *testing.T, chunk message, data []byte) {
	t.Helper()

	if len(chunk.Choices) == 0 {
		if chunk.Usage == nil {
			t.Errorf("chunk without choices and usage: %s", data)
		}

		o.usageChunks++

		return
	}

	if chunk.Usage != nil {
		t.Errorf("usage beside choices: %s", data)
	}

	choice := chunk.Choices[0]
	if o.chunks == 1 && choice.Delta.Role != "assistant" {
		t.Errorf("first chunk without role: %s", data)
	}

	o.text += choice.Delta.Content

	for _, call := range choice.Delta.ToolCalls {
		if call.Index == len(o.calls) {
			o.calls = append(o.calls, gatewaytest.ToolCall{ID: call.ID, Name: call.Function.Name})
		}

		o.calls[call.Index].Arguments += call.Function.Arguments
	}

	if choice.Finish != nil {
		o.finish = *choice.Finish
	}
}

func replies() map[string]gatewaytest.Reply {
	return map[string]gatewaytest.Reply{
		"text":     {Text: "Grüße, \"world\"\n– done", Chunks: 5, Usage: domain.Tokens{Input: 20, Output: 9}},
		"1 MB":     {Text: strings.Repeat("0123456789abcdef", 1<<16), Chunks: 1},
		"cut off":  {Text: "one two", FinishReason: "length"},
		"no usage": {Text: "one two three", NoUsage: true},
		"tools": {ToolCalls: []gatewaytest.ToolCall{
			{ID: "call_a", Name: "weather", Arguments: `{"city":"Köln","days":3}`},
			{ID: "call_b", Name: "time", Arguments: `{"zone":"Europe/Berlin"}`},
		}},
		"text and tool": {Text: "Let me see.", ToolCalls: []gatewaytest.ToolCall{{ID: "call_a", Name: "look", Arguments: `{"at":"it"}`}}},
	}
}

// The property: a stream put together is the plain answer.
func TestStreamsAndPlainAnswersSayTheSame(t *testing.T) {
	t.Parallel()

	for _, kind := range kinds() {
		for name, reply := range replies() {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel()

				_, attempt := provider(t, kind, gatewaytest.Chat(reply))
				caller := client(dialect.Timeouts{})

				plain, err := caller.Chat(context.Background(), attempt, parse(t, askPlain))
				if err != nil {
					t.Fatal(err)
				}

				var answer message
				if err := json.Unmarshal(plain.Body, &answer); err != nil || len(answer.Choices) != 1 {
					t.Fatalf("answer %s: %v", plain.Body, err)
				}

				said := answer.Choices[0]
				if answer.Object != "chat.completion" || said.Message.Role != "assistant" || said.Message.Content != reply.Text ||
					plain.Content != reply.Text || *said.Finish != plain.FinishReason || plain.FirstByte <= 0 {
					t.Errorf("plain: got %.300s, %+v", plain.Body, plain.FinishReason)
				}

				for _, ask := range []string{askQuiet, askUsage} {
					stream, err := caller.Stream(context.Background(), attempt, parse(t, ask))
					if err != nil {
						t.Fatal(err)
					}

					got := collect(t, stream)
					if !errors.Is(got.err, io.EOF) {
						t.Fatalf("stream ended with %v", got.err)
					}

					stream.Close()
					stream.Close()

					wantChunks := 0
					if ask == askUsage {
						wantChunks = 1
					}

					if got.text != reply.Text || got.finish != plain.FinishReason || stream.FinishReason() != got.finish ||
						got.usageChunks != wantChunks || stream.FirstByte() <= 0 {
						t.Errorf("stream: got %.300v, %q", got, stream.FinishReason())
					}

					sameCalls(t, got.calls, said.Message.calls(), reply.ToolCalls)
					sameUsage(t, reply, plain.Usage, stream.Usage())
				}
			})
		}
	}
}

// sameCalls compares names and arguments; ids are ours where a type has none.
func sameCalls(t *testing.T, streamed, plain, want []gatewaytest.ToolCall) {
	t.Helper()

	if len(streamed) != len(want) || len(plain) != len(want) {
		t.Fatalf("got %d and %d calls, want %d", len(streamed), len(plain), len(want))
	}

	for i := range want {
		for _, got := range []gatewaytest.ToolCall{streamed[i], plain[i]} {
			if got.ID == "" || got.Name != want[i].Name || !sameJSON(got.Arguments, want[i].Arguments) {
				t.Errorf("call %d: got %+v, want %+v", i, got, want[i])
			}
		}
	}
}

func sameJSON(a, b string) bool {
	var left, right any

	return json.Unmarshal([]byte(a), &left) == nil && json.Unmarshal([]byte(b), &right) == nil && reflect.DeepEqual(left, right)
}

func sameUsage(t *testing.T, reply gatewaytest.Reply, plain, streamed dialect.Usage) {
	t.Helper()

	if reply.NoUsage {
		for _, usage := range []dialect.Usage{plain, streamed} {
			if usage.Source != dialect.Estimated || usage.Tokens.Input == 0 || usage.Tokens.Output == 0 {
				t.Errorf("usage of a provider that counts nothing: %+v", usage)
			}
		}

		return
	}

	want := reply.Usage
	if want == (domain.Tokens{}) {
		want = domain.Tokens{Input: 12, Output: 7}
	}

	for _, usage := range []dialect.Usage{plain, streamed} {
		if usage.Source != dialect.Reported || usage.Tokens != want || len(usage.Raw) == 0 {
			t.Errorf("usage: got %+v, want %+v", usage, want)
		}
	}
}

// Buckets are disjoint: their sum is what the provider counted, whatever it counts into what.
func TestUsageIsDisjoint(t *testing.T) {
	t.Parallel()

	want := domain.Tokens{Input: 100, CacheRead: 60, Output: 30, Reasoning: 12}

	for _, kind := range openAIKinds() {
		_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Text: "x", Usage: want}))

		plain, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askPlain))
		if err != nil {
			t.Fatal(err)
		}

		if plain.Usage.Tokens != want {
			t.Errorf("%s: got %+v, want %+v", kind, plain.Usage.Tokens, want)
		}
	}
}

func TestWhatGoesUpstream(t *testing.T) {
	t.Parallel()

	for _, kind := range kinds() {
		server, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Text: "x"}))
		attempt.Target.CustomHeaders = map[string]string{"X-Team": "blue"}

		if _, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askPlain)); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}

		header := server.Requests()[0].Header
		for name, want := range map[string]string{
			"X-Correlation-Id": "corr-1", "User-Agent": "archon/test", "X-Team": "blue", "Content-Type": "application/json",
		} {
			if header.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", kind, name, header.Get(name), want)
			}
		}
	}
}

// A connection is used again after good answers of every kind.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()

	for _, kind := range kinds() {
		_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Text: "some text"}))

		var dialled atomic.Int32

		dialer := net.Dialer{}
		caller := dialect.NewClient(&http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled.Add(1)

				return dialer.DialContext(ctx, network, address)
			},
		}}, "", dialect.Timeouts{})

		for range 4 {
			stream, err := caller.Stream(context.Background(), attempt, parse(t, askQuiet))
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}

			collect(t, stream)
			stream.Close()

			if _, err := caller.Chat(context.Background(), attempt, parse(t, askPlain)); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}

		if dialled.Load() != 1 {
			t.Errorf("%s: %d connections for 8 calls", kind, dialled.Load())
		}
	}
}
