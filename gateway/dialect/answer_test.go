package dialect

import (
	"testing"

	"github.com/archonhq/archon/domain"
)

func TestAnswerOfNothingButCalls(t *testing.T) {
	t.Parallel()

	result := answer{
		id: "id-1", model: "m", choices: []choice{{finish: "tool_calls", calls: []ToolCall{
			{ID: "a", Name: "f", Arguments: `{"x":"\""}`}, {ID: "b", Name: "g", Arguments: "{}"},
		}}},
		usage: Usage{Source: Reported, Tokens: domain.Tokens{Input: 1, CacheRead: 2, CacheWrite: 4, Output: 8, Reasoning: 16}},
	}

	body := string(result.completion(nil).Body)

	wantJSON(t, memberOf(body, "choices"), `[{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
		"role": "assistant", "content": null, "refusal": null, "tool_calls": [
			{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":\"\\\"\"}"}},
			{"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
		]}}]`)
	wantJSON(t, memberOf(body, "usage"), `{"prompt_tokens": 7, "completion_tokens": 24, "total_tokens": 31,
		"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 16}}`)
}

// Two finish reasons for a choice are one too many: clients stop reading at the first.
func TestAChoiceEndsOnce(t *testing.T) {
	t.Parallel()

	made := newChunks()
	made.say(0, "a")

	for range 2 {
		if err := made.finish(0, finishStop); err != nil {
			t.Fatal(err)
		}
	}

	if chunks := made.take(); len(chunks) != 2 {
		t.Errorf("got %s", chunks)
	}
}

func TestArgumentsAndResultsBecomeObjects(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]string{
		``: `{}`, `null`: `{}`, ` {"a":1} `: `{"a":1}`, `{"a":`: `{"arguments":"{\"a\":"}`, `[1]`: `{"arguments":"[1]"}`,
	} {
		if got := argumentsObject(text); string(got) != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}

	for text, want := range map[string]string{
		``: `{"output":""}`, `{"a":1}`: `{"a":1}`, `[1]`: `{"output":[1]}`, `noon`: `{"output":"noon"}`, `7`: `{"output":7}`,
	} {
		if got := resultObject(text); string(got) != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
