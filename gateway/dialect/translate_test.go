package dialect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

// conversation uses what a conversation can hold: two system texts, an image, parallel tool calls with their results,
// wrong arguments, an id that not every type takes.
const conversation = `{
	"model": "asked", "user": "u-1", "temperature": 1.5, "top_p": 0.5, "stop": ["END", "STOP"], "max_tokens": 300, "seed": 7,
	"frequency_penalty": 0.1, "presence_penalty": 0.2, "parallel_tool_calls": false, "tool_choice": "required",
	"tools": [
		{"type": "function", "function": {"name": "weather", "description": "Tells the weather.", "strict": true,
			"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": false}}},
		{"type": "function", "function": {"name": "clock"}}
	],
	"messages": [
		{"role": "system", "content": "Be brief."},
		{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
		{"role": "user", "content": [
			{"type": "text", "text": "What is this?"},
			{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8=", "detail": "low"}}
		]},
		{"role": "assistant", "content": "I look.", "tool_calls": [
			{"id": "call.1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}},
			{"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "now"}}
		]},
		{"role": "tool", "tool_call_id": "call.1", "content": "{\"sky\": \"blue\"}"},
		{"role": "tool", "tool_call_id": "call_2", "content": "noon"},
		{"role": "user", "content": "And now?"}
	]
}`

func chatOf(tb testing.TB, body string) *Chat {
	tb.Helper()

	chat, err := ParseChat([]byte(body))
	if err != nil {
		tb.Fatalf("parse: %v", err)
	}

	return chat
}

func attemptAt(kind gateway.ProviderType, model string) Attempt {
	return Attempt{
		Target: gateway.Target{
			Type: kind, BaseURL: "https://provider.test", Credentials: map[string]string{"api_key": "secret-of-the-test"},
		},
		Model: model, CorrelationID: "c-1",
	}
}

// with is a request with members of it set anew.
func with(t *testing.T, body, members string) string {
	t.Helper()

	var document, changes map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &document) != nil || json.Unmarshal([]byte(members), &changes) != nil {
		t.Fatal("no JSON")
	}

	maps.Copy(document, changes)

	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

type sentRequest struct {
	url, body string
	header    http.Header
}

func sentBy(t *testing.T, request *http.Request, err error) sentRequest {
	t.Helper()

	if err != nil {
		t.Fatalf("request: %v", err)
	}

	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Fatal(err)
	}

	return sentRequest{url: request.URL.String(), body: string(body), header: request.Header}
}

func chatSent(t *testing.T, codec codec, attempt Attempt, body string) sentRequest {
	t.Helper()

	request, err := codec.chat(context.Background(), attempt, chatOf(t, body), false)

	return sentBy(t, request, err)
}

func wantJSON(t *testing.T, got, want string) {
	t.Helper()

	var gotValue, wantValue any
	if err := json.Unmarshal([]byte(got), &gotValue); err != nil {
		t.Fatalf("got no JSON: %s", got)
	}

	if err := json.Unmarshal([]byte(want), &wantValue); err != nil {
		t.Fatalf("want no JSON: %s", want)
	}

	if !reflect.DeepEqual(gotValue, wantValue) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// memberOf is what stands at the path of a JSON document, "" if nothing.
func memberOf(document string, path ...string) string {
	value := []byte(document)
	for _, key := range path {
		value = member(value, key)
	}

	return string(value)
}

func refusedWith(t *testing.T, codec codec, attempt Attempt, body, param string) {
	t.Helper()

	_, err := codec.chat(context.Background(), attempt, chatOf(t, body), false)

	var failure *Failure
	if !errors.As(err, &failure) || failure.Trigger != BadRequest || !strings.HasPrefix(failure.Param, param) || failure.Message == "" {
		t.Errorf("got %+v, want a bad request because of %s", err, param)
	}
}

// said is an answer in OpenAI's format, however it came. Ids of calls are left out: some are made anew each time.
type said struct {
	ID, Model, Role, Content, Finish string
	Calls                            []ToolCall
}

// played runs a decoder over events and puts its chunks together as a client does.
func played(t *testing.T, decoder streamDecoder, events ...string) (said, error) {
	t.Helper()

	var (
		answer said
		done   bool
	)

	for _, event := range events {
		if done {
			t.Fatalf("the answer was over before %s", event)
		}

		chunks, over, err := decoder.event("", []byte(event))
		for _, chunk := range chunks {
			answer.add(t, chunk)
		}

		if err != nil {
			return answer, err
		}

		done = over
	}

	if done {
		return answer, nil
	}

	return answer, decoder.end()
}

func (s *said) add(t *testing.T, raw []byte) {
	t.Helper()

	var chunk struct {
		ID, Object, Model string
		Created           int64
		Choices           []struct {
			Index *int
			Delta struct {
				Role, Content string
				ToolCalls     []struct {
					Index    *int
					ID, Type string
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
			FinishReason *string `json:"finish_reason"`
		}
	}

	if err := json.Unmarshal(raw, &chunk); err != nil || chunk.Object != "chat.completion.chunk" || chunk.ID == "" ||
		chunk.Created == 0 || len(chunk.Choices) != 1 || chunk.Choices[0].Index == nil {
		t.Fatalf("not a chunk: %s", raw)
	}

	delta := chunk.Choices[0].Delta
	if (s.Role == "") != (delta.Role == "assistant") || s.ID != "" && s.ID != chunk.ID || s.Finish != "" {
		t.Errorf("the role belongs to the first chunk, the id to all, and nothing after the end: %s", raw)
	}

	s.ID, s.Model, s.Role = chunk.ID, chunk.Model, "assistant"
	s.Content += delta.Content

	for _, call := range delta.ToolCalls {
		if *call.Index == len(s.Calls) && call.ID != "" && call.Type == "function" {
			s.Calls = append(s.Calls, ToolCall{ID: call.ID, Name: call.Function.Name})
		}

		s.Calls[*call.Index].Arguments += call.Function.Arguments
	}

	if chunk.Choices[0].FinishReason != nil {
		s.Finish = *chunk.Choices[0].FinishReason
	}
}

// wholeOf reads a completion as a client does, and checks what clients rely on.
func wholeOf(t *testing.T, completion Completion) said {
	t.Helper()

	var document struct {
		ID, Object, Model string
		Created           int64
		Choices           []struct {
			Index   *int
			Message struct {
				Role      string
				Content   *string
				ToolCalls []struct {
					ID, Type string
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
			FinishReason string `json:"finish_reason"`
		}
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Total      int64 `json:"total_tokens"`
		}
	}

	if err := json.Unmarshal(completion.Body, &document); err != nil || document.Object != "chat.completion" || document.ID == "" ||
		document.Created == 0 || len(document.Choices) == 0 {
		t.Fatalf("not a completion: %s", completion.Body)
	}

	tokens := completion.Usage.Tokens
	if document.Usage.Prompt != tokens.Prompt() || document.Usage.Completion != tokens.Completion() || document.Usage.Total != tokens.Total() {
		t.Errorf("the answer's usage is not the one counted: %s, %+v", completion.Body, tokens)
	}

	first := document.Choices[0]
	answer := said{ID: document.ID, Model: document.Model, Role: first.Message.Role, Finish: first.FinishReason}

	if first.Message.Content != nil {
		answer.Content = *first.Message.Content
	}

	for _, call := range first.Message.ToolCalls {
		if call.ID == "" || call.Type != "function" {
			t.Errorf("not a tool call: %s", completion.Body)
		}

		answer.Calls = append(answer.Calls, ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
	}

	if answer.Finish != completion.FinishReason || answer.Content != completion.Content {
		t.Errorf("the body says %+v, the completion %q and %q", answer, completion.FinishReason, completion.Content)
	}

	return answer
}

// alike leaves out what may differ between a stream and a whole answer: ids that are made, spaces in arguments.
func alike(answer said) said {
	answer.ID = ""
	answer.Calls = append([]ToolCall(nil), answer.Calls...)

	for i := range answer.Calls {
		answer.Calls[i].ID = ""
		answer.Calls[i].Arguments = compact(json.RawMessage(answer.Calls[i].Arguments))
	}

	return answer
}

func wantFailure(t *testing.T, name string, err error, trigger Trigger) *Failure {
	t.Helper()

	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%s: got %v, want a failure", name, err)
	}

	if failure.Trigger != trigger || failure.Message == "" || failure.Code == "" {
		t.Errorf("%s: got %+v, want %s", name, failure, trigger)
	}

	return failure
}
