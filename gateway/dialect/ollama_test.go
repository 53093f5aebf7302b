package dialect

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"testing"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

const llama = "llama3.2"

func embeddingsOf(t *testing.T, body string) *Embeddings {
	t.Helper()

	request, err := ParseEmbeddings([]byte(body))
	if err != nil {
		t.Fatal(err)
	}

	return request
}

func TestOllamaRequest(t *testing.T) {
	t.Parallel()

	sent := chatSent(t, ollamaCodec{}, attemptAt(gateway.Ollama, llama), with(t, conversation, `{"tool_choice": "auto"}`))

	if sent.url != "https://provider.test/api/chat" {
		t.Errorf("got %s", sent.url)
	}

	wantJSON(t, sent.body, `{
		"model": "llama3.2", "stream": false,
		"options": {"num_predict": 300, "stop": ["END", "STOP"], "temperature": 1.5, "top_p": 0.5, "seed": 7,
			"frequency_penalty": 0.1, "presence_penalty": 0.2},
		"tools": [
			{"type": "function", "function": {"name": "weather", "description": "Tells the weather.",
				"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": false}}},
			{"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
		],
		"messages": [
			{"role": "system", "content": "Be brief."},
			{"role": "system", "content": "Be kind."},
			{"role": "user", "content": "What is this?", "images": ["aGVsbG8="]},
			{"role": "assistant", "content": "I look.", "tool_calls": [
				{"function": {"name": "weather", "arguments": {"city": "Bern"}}},
				{"function": {"name": "clock", "arguments": {"arguments": "now"}}}
			]},
			{"role": "tool", "tool_name": "weather", "content": "{\"sky\": \"blue\"}"},
			{"role": "tool", "tool_name": "clock", "content": "noon"},
			{"role": "user", "content": "And now?"}
		]
	}`)
}

func TestOllamaRequestDetails(t *testing.T) {
	t.Parallel()

	const question = `{"messages": [{"role": "user", "content": "Hi"}]}`

	for name, example := range map[string]struct {
		model, changes string
		clamp          int64
		path, want     string
	}{
		"clamp":       {llama, `{"max_tokens": 9000}`, 512, "options", `{"num_predict":512}`},
		"no limit":    {llama, `{}`, 0, "options", `{}`},
		"no tool":     {llama, `{"tools": [{"function": {"name": "f"}}], "tool_choice": "none"}`, 0, "tools", ``},
		"JSON object": {llama, `{"response_format": {"type": "json_object"}}`, 0, "format", `"json"`},
		"JSON schema": {llama, `{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`, 0, "format", `{"type":"object"}`},
		"no thinking": {llama, `{"reasoning_effort": "none"}`, 0, "think", `false`},
		"thinking":    {llama, `{"reasoning_effort": "low"}`, 0, "think", `true`},
		"a level":     {"gpt-oss:20b", `{"reasoning_effort": "medium"}`, 0, "think", `"medium"`},
		"no word":     {llama, `{}`, 0, "think", ``},
	} {
		attempt := attemptAt(gateway.Ollama, example.model)
		attempt.MaxOutputTokens = example.clamp

		sent := chatSent(t, ollamaCodec{}, attempt, with(t, question, example.changes))
		if got := memberOf(sent.body, example.path); got != example.want {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
}

func TestOllamaCantExpress(t *testing.T) {
	t.Parallel()

	for param, changes := range map[string]string{
		"n":                        `{"tool_choice": "auto", "n": 2}`,
		"tool_choice":              `{"tool_choice": "required"}`,
		"messages[0].content":      `{"tool_choice": "auto", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}]}`,
		"messages[0].tool_call_id": `{"tool_choice": "auto", "messages": [{"role": "tool", "tool_call_id": "nobody's", "content": "x"}]}`,
	} {
		refusedWith(t, ollamaCodec{}, attemptAt(gateway.Ollama, llama), with(t, conversation, changes), param)
	}
}

func TestOllamaStreamIsTheWholeAnswer(t *testing.T) {
	t.Parallel()

	attempt, chat := attemptAt(gateway.Ollama, llama), chatOf(t, conversation)

	completion, err := ollamaCodec{}.completion(attempt, chat, []byte(`{"model": "llama-x", "created_at": "2025-02-19T08:00:00Z",
		"message": {"role": "assistant", "thinking": "hm", "content": "I \"look\".", "tool_calls": [
			{"function": {"name": "weather", "arguments": {"city": "Bern"}}}, {"function": {"name": "clock", "arguments": {}}}]},
		"done": true, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 34}`))
	if err != nil {
		t.Fatal(err)
	}

	whole := wholeOf(t, completion)
	if whole.Model != "llama-x" || whole.Content != `I "look".` || whole.Finish != "tool_calls" || len(whole.Calls) != 2 ||
		whole.Calls[0].Arguments != `{"city":"Bern"}` || whole.Calls[0].ID == whole.Calls[1].ID {
		t.Errorf("got %+v", whole)
	}

	events := []string{
		`{"model":"llama-x","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}`,
		`{"model":"llama-x","message":{"role":"assistant","content":"I \"lo"},"done":false}`,
		`{"model":"llama-x","message":{"role":"assistant","content":"ok\"."},"done":false}`,
		`{"model":"llama-x","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"Bern"}}}]},"done":false}`,
		`{"model":"llama-x","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"clock","arguments":{}}}]},"done":false}`,
		`{"model":"llama-x","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":12,"eval_count":34}`,
	}
	decoder := ollamaCodec{}.decoder(attempt, chat)

	streamed, err := played(t, decoder, events...)
	if err != nil || !reflect.DeepEqual(alike(streamed), alike(whole)) || len(streamed.Calls) != 2 || streamed.Calls[0].ID == streamed.Calls[1].ID {
		t.Errorf("got %+v, %v", streamed, err)
	}

	tokens := domain.Tokens{Input: 12, Output: 34}
	if completion.Usage.Tokens != tokens || completion.Usage.Source != Reported || decoder.usage().Tokens != tokens {
		t.Errorf("got %+v and %+v", completion.Usage, decoder.usage())
	}

	for length := range events {
		_, err := played(t, ollamaCodec{}.decoder(attempt, chat), events[:length]...)
		wantFailure(t, "cut", err, ServerError)
	}
}

func TestOllamaFailures(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Ollama, llama)

	for status, want := range map[int]Trigger{
		400: BadRequest, 404: Dead, 500: ServerError, 503: RateLimit, 504: Timeout,
	} {
		failure := wantFailure(t, strconv.Itoa(status), ollamaCodec{}.failure(attempt, status, http.Header{}, []byte(`{"error": "why"}`)), want)
		if failure.Message != "why" {
			t.Errorf("%d: got %+v", status, failure)
		}
	}

	_, err := played(t, ollamaCodec{}.decoder(attempt, nil), `{"error": "the runner stopped"}`)
	wantFailure(t, "within a stream", err, ServerError)

	_, err = ollamaCodec{}.completion(attempt, chatOf(t, conversation), []byte(`{"error": "the runner stopped"}`))
	wantFailure(t, "under status 200", err, ServerError)

	_, err = ollamaCodec{}.completion(attempt, chatOf(t, conversation), []byte(`{"message": {"content": "half"}}`))
	wantFailure(t, "not done", err, ServerError)
}

func TestOllamaLength(t *testing.T) {
	t.Parallel()

	completion, err := ollamaCodec{}.completion(Attempt{}, chatOf(t, conversation), []byte(`{"message": {"content": "a"}, "done": true, "done_reason": "length"}`))
	if err != nil || completion.FinishReason != "length" || completion.Usage.Source != Estimated {
		t.Errorf("got %+v, %v", completion, err)
	}
}

func TestOllamaEmbeddings(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Ollama, "nomic-embed-text")
	request := embeddingsOf(t, `{"input": ["one", "two"]}`)

	made, err := ollamaCodec{}.embeddings(context.Background(), attempt, request)
	sent := sentBy(t, made, err)

	if sent.url != "https://provider.test/api/embed" {
		t.Errorf("got %s", sent.url)
	}

	wantJSON(t, sent.body, `{"model": "nomic-embed-text", "input": ["one", "two"]}`)

	completion, err := ollamaCodec{}.embedded(attempt, request, []byte(`{"model": "nomic-embed-text", "embeddings": [[1], [2]], "prompt_eval_count": 4}`))
	if err != nil || completion.Usage.Tokens != (domain.Tokens{Input: 4}) {
		t.Errorf("got %+v, %v", completion.Usage, err)
	}

	wantJSON(t, memberOf(string(completion.Body), "data"),
		`[{"object": "embedding", "index": 0, "embedding": [1]}, {"object": "embedding", "index": 1, "embedding": [2]}]`)

	for name, codec := range map[string]codec{"ollama": ollamaCodec{}, "google": googleCodec{}, "cohere": cohereCodec{}} {
		_, err := codec.embeddings(context.Background(), attempt, embeddingsOf(t, `{"input": [1, 2]}`))
		wantFailure(t, name+" of token ids", err, BadRequest)
	}
}
