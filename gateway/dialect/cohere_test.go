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

const command = "command-a-03-2025"

func TestCohereRequest(t *testing.T) {
	t.Parallel()

	sent := chatSent(t, cohereCodec{}, attemptAt(gateway.Cohere, command), conversation)

	if sent.url != "https://provider.test/v2/chat" || sent.header.Get("Authorization") != "Bearer secret-of-the-test" {
		t.Errorf("got %s %v", sent.url, sent.header)
	}

	wantJSON(t, sent.body, `{
		"model": "command-a-03-2025", "stream": false, "max_tokens": 300, "stop_sequences": ["END", "STOP"], "temperature": 1, "p": 0.5,
		"frequency_penalty": 0.1, "presence_penalty": 0.2, "seed": 7, "tool_choice": "REQUIRED",
		"tools": [
			{"type": "function", "function": {"name": "weather", "description": "Tells the weather.",
				"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": false}}},
			{"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
		],
		"messages": [
			{"role": "system", "content": "Be brief."},
			{"role": "system", "content": "Be kind."},
			{"role": "user", "content": [
				{"type": "text", "text": "What is this?"},
				{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8=", "detail": "low"}}
			]},
			{"role": "assistant", "content": "I look.", "tool_calls": [
				{"id": "call.1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}},
				{"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "{\"arguments\":\"now\"}"}}
			]},
			{"role": "tool", "tool_call_id": "call.1", "content": "{\"sky\": \"blue\"}"},
			{"role": "tool", "tool_call_id": "call_2", "content": "noon"},
			{"role": "user", "content": "And now?"}
		]
	}`)
}

func TestCohereRequestDetails(t *testing.T) {
	t.Parallel()

	const question = `{"messages": [{"role": "user", "content": "Hi"}]}`

	for name, example := range map[string]struct {
		changes string
		clamp   int64
		path    string
		want    string
	}{
		"clamp":            {`{"max_tokens": 9000}`, 512, "max_tokens", `512`},
		"no limit":         {`{}`, 0, "max_tokens", ``},
		"named tool":       {`{"tools": [{"function": {"name": "f"}}, {"function": {"name": "g"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}`, 0, "tools", `[{"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{}}}}]`},
		"is required":      {`{"tools": [{"function": {"name": "f"}}, {"function": {"name": "g"}}], "tool_choice": {"type": "function", "function": {"name": "g"}}}`, 0, "tool_choice", `"REQUIRED"`},
		"no tool":          {`{"tools": [{"function": {"name": "f"}}], "tool_choice": "none"}`, 0, "tools", ``},
		"tool as it likes": {`{"tools": [{"function": {"name": "f"}}], "tool_choice": "auto"}`, 0, "tool_choice", ``},
		"JSON object":      {`{"response_format": {"type": "json_object"}}`, 0, "response_format", `{"type":"json_object"}`},
		"JSON schema":      {`{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`, 0, "response_format", `{"type":"json_object","json_schema":{"type":"object"}}`},
		"no thinking":      {`{"reasoning_effort": "none"}`, 0, "thinking", `{"type":"disabled"}`},
		"thinking":         {`{"reasoning_effort": "medium"}`, 0, "thinking", `{"type":"enabled","token_budget":8192}`},
		"image by URL":     {`{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}]}`, 0, "messages", `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a.test/b.png"}}]}]`},
	} {
		attempt := attemptAt(gateway.Cohere, command)
		attempt.Target.BaseURL = "https://provider.test/v1" // the list's version
		attempt.MaxOutputTokens = example.clamp

		sent := chatSent(t, cohereCodec{}, attempt, with(t, question, example.changes))
		if got := memberOf(sent.body, example.path); got != example.want || sent.url != "https://provider.test/v2/chat" {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
}

func TestCohereCantExpress(t *testing.T) {
	t.Parallel()

	for param, changes := range map[string]string{
		"n":           `{"n": 2}`,
		"messages[0]": `{"messages": [{"role": "tool", "tool_call_id": "1", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b"}}]}]}`,
	} {
		refusedWith(t, cohereCodec{}, attemptAt(gateway.Cohere, command), with(t, conversation, changes), param)
	}
}

const cohereWhole = `{"id": "c1", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_plan": "I will look.",
		"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I \"look\"."}],
		"tool_calls": [
			{"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}},
			{"id": "clock_2", "type": "function", "function": {"name": "clock", "arguments": ""}}
		]},
	"usage": {"billed_units": {"input_tokens": 11, "output_tokens": 22}, "tokens": {"input_tokens": 500, "output_tokens": 60}, "cached_tokens": 9}}`

func cohereEvents() []string {
	return []string{
		`{"id":"c1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}`,
		`{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will look."}}}`,
		`{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}`,
		`{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"hm"}}}}`,
		`{"type":"content-end","index":0}`,
		`{"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":"I "}}}}`,
		`{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"\"look\"."}}}}`,
		`{"type":"content-end","index":1}`,
		`{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"weather_1","type":"function","function":{"name":"weather","arguments":""}}}}}`,
		`{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"city\":"}}}}}`,
		`{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"\"Bern\"}"}}}}}`,
		`{"type":"tool-call-end","index":0}`,
		`{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"clock_2","type":"function","function":{"name":"clock","arguments":""}}}}}`,
		`{"type":"tool-call-end","index":1}`,
		`{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":1}}}}`,
		`{"id":"c1","type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":11,"output_tokens":22},"tokens":{"input_tokens":500,"output_tokens":60}}}}`,
	}
}

func TestCohereStreamIsTheWholeAnswer(t *testing.T) {
	t.Parallel()

	attempt, chat := attemptAt(gateway.Cohere, command), chatOf(t, conversation)

	completion, err := cohereCodec{}.completion(attempt, chat, []byte(cohereWhole))
	if err != nil {
		t.Fatal(err)
	}

	whole := wholeOf(t, completion)
	want := said{ID: "c1", Model: command, Role: "assistant", Content: `I "look".`, Finish: "tool_calls", Calls: []ToolCall{
		{ID: "weather_1", Name: "weather", Arguments: `{"city":"Bern"}`}, {ID: "clock_2", Name: "clock", Arguments: "{}"},
	}}

	if !reflect.DeepEqual(whole, want) {
		t.Errorf("got %+v", whole)
	}

	decoder := cohereCodec{}.decoder(attempt, chat)

	streamed, err := played(t, decoder, cohereEvents()...)
	if err != nil || !reflect.DeepEqual(streamed, whole) {
		t.Errorf("got %+v, %v", streamed, err)
	}

	tokens := domain.Tokens{Input: 11, Output: 22}
	if completion.Usage.Tokens != tokens || completion.Usage.Source != Reported || decoder.usage().Tokens != tokens {
		t.Errorf("got %+v and %+v", completion.Usage, decoder.usage())
	}

	events := cohereEvents()
	for length := range events {
		_, err := played(t, cohereCodec{}.decoder(attempt, chat), events[:length]...)
		wantFailure(t, "cut", err, ServerError)
	}
}

func TestCohereUsageWithoutBilling(t *testing.T) {
	t.Parallel()

	if usage := cohereTokens([]byte(`{"tokens": {"input_tokens": 5, "output_tokens": 6}}`)); usage.Tokens != (domain.Tokens{Input: 5, Output: 6}) {
		t.Errorf("got %+v", usage)
	}

	if usage := cohereTokens([]byte(`{"billed_units": {"input_tokens": 0}, "tokens": {"input_tokens": 5}}`)); usage.Tokens.Input != 0 || usage.Source != Reported {
		t.Errorf("an explicit zero is a zero: got %+v", usage)
	}

	if usage := cohereTokens([]byte(`{}`)); usage.Source != "" {
		t.Errorf("got %+v", usage)
	}
}

func TestCohereFinishReasons(t *testing.T) {
	t.Parallel()

	chat := chatOf(t, conversation)

	for reason, want := range map[string]string{
		"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls",
		"ERROR": "server_error", "ERROR_TOXIC": "content_policy", "TIMEOUT": "timeout",
	} {
		completion, err := cohereCodec{}.completion(Attempt{}, chat, []byte(`{"finish_reason": "`+reason+`", "message": {"role": "assistant"}}`))
		streamed, streamErr := played(t, cohereCodec{}.decoder(Attempt{}, chat), `{"type":"message-end","delta":{"finish_reason":"`+reason+`"}}`)

		if err == nil && streamErr == nil {
			if completion.FinishReason != want || streamed.Finish != want {
				t.Errorf("%s: got %+v, %+v", reason, completion, streamed)
			}

			continue
		}

		wantFailure(t, reason, err, Trigger(want))
		wantFailure(t, reason+" streamed", streamErr, Trigger(want))
	}
}

func TestCohereFailures(t *testing.T) {
	t.Parallel()

	for status, want := range map[int]Trigger{
		400: BadRequest, 401: Dead, 402: Dead, 404: BadRequest, 422: BadRequest, 429: RateLimit, 498: Dead, 500: ServerError, 503: ServerError, 504: Timeout,
	} {
		failure := wantFailure(t, strconv.Itoa(status), cohereCodec{}.failure(attemptAt(gateway.Cohere, command), status, http.Header{}, []byte(`{"message": "why"}`)), want)
		if failure.Message != "why" || failure.Status != status {
			t.Errorf("%d: got %+v", status, failure)
		}
	}

	_, err := played(t, cohereCodec{}.decoder(Attempt{}, nil), `{"message": "internal server error"}`)
	wantFailure(t, "within a stream", err, ServerError)
}

func TestCohereEmbeddings(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Cohere, "embed-v4.0")
	request := embeddingsOf(t, `{"input": "one", "dimensions": 2, "encoding_format": "base64"}`)

	made, err := cohereCodec{}.embeddings(context.Background(), attempt, request)
	sent := sentBy(t, made, err)

	if sent.url != "https://provider.test/v2/embed" {
		t.Errorf("got %s", sent.url)
	}

	wantJSON(t, sent.body, `{"model": "embed-v4.0", "texts": ["one"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 2}`)

	completion, err := cohereCodec{}.embedded(attempt, request,
		[]byte(`{"id": "e", "embeddings": {"float": [[1, -2.5]]}, "texts": ["one"], "meta": {"billed_units": {"input_tokens": 3}}}`))
	if err != nil || completion.Usage.Source != Reported || completion.Usage.Tokens != (domain.Tokens{Input: 3}) {
		t.Errorf("got %+v, %v", completion.Usage, err)
	}

	// 1 and -2.5 as float32, the lowest byte first: 00 00 80 3f, 00 00 20 c0.
	wantJSON(t, string(completion.Body), `{"object": "list", "model": "embed-v4.0", "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAIMA="}],
		"usage": {"prompt_tokens": 3, "total_tokens": 3}}`)

	query := embeddingsOf(t, `{"input": "one", "input_type": "search_query"}`)
	made, err = cohereCodec{}.embeddings(context.Background(), attempt, query)

	if sent := sentBy(t, made, err); memberOf(sent.body, "input_type") != `"search_query"` {
		t.Errorf("got %s", sent.body)
	}
}
