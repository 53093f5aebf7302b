package dialect

import (
	"context"
	"net/http"
	"reflect"
	"testing"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

const claude = "claude-sonnet-4-5"

func TestAnthropicRequest(t *testing.T) {
	t.Parallel()

	sent := chatSent(t, anthropicCodec{}, attemptAt(gateway.Anthropic, claude), conversation)

	if sent.url != "https://provider.test/v1/messages" || sent.header.Get("X-Api-Key") != "secret-of-the-test" ||
		sent.header.Get("X-Correlation-ID") != "c-1" {
		t.Errorf("got %s %v", sent.url, sent.header)
	}

	wantJSON(t, sent.body, `{
		"model": "claude-sonnet-4-5", "max_tokens": 300, "system": "Be brief.\n\nBe kind.", "temperature": 1,
		"stop_sequences": ["END", "STOP"], "metadata": {"user_id": "u-1"},
		"tool_choice": {"type": "any", "disable_parallel_tool_use": true},
		"tools": [
			{"name": "weather", "description": "Tells the weather.",
			 "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": false}},
			{"name": "clock", "input_schema": {"type": "object", "properties": {}}}
		],
		"messages": [
			{"role": "user", "content": [
				{"type": "text", "text": "What is this?"},
				{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
			]},
			{"role": "assistant", "content": [
				{"type": "text", "text": "I look."},
				{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
				{"type": "tool_use", "id": "call_2", "name": "clock", "input": {"arguments": "now"}}
			]},
			{"role": "user", "content": [
				{"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "{\"sky\": \"blue\"}"}]},
				{"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
				{"type": "text", "text": "And now?"}
			]}
		]
	}`)
}

func TestAnthropicRequestDetails(t *testing.T) {
	t.Parallel()

	const question = `{"messages": [{"role": "user", "content": "Hi"}]}`

	for name, example := range map[string]struct {
		model, changes string
		clamp          int64
		path           []string
		want           string
	}{
		"no limit at all":      {claude, `{}`, 0, []string{"max_tokens"}, `4096`},
		"clamp":                {claude, `{"max_completion_tokens": 9000}`, 512, []string{"max_tokens"}, `512`},
		"named tool":           {claude, `{"tools": [{"function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "f"}}}`, 0, []string{"tool_choice"}, `{"type":"tool","name":"f"}`},
		"no tool":              {claude, `{"tools": [{"function": {"name": "f"}}], "tool_choice": "none", "parallel_tool_calls": false}`, 0, []string{"tool_choice"}, `{"type":"none"}`},
		"one tool at a time":   {claude, `{"tools": [{"function": {"name": "f"}}], "parallel_tool_calls": false}`, 0, []string{"tool_choice"}, `{"type":"auto","disable_parallel_tool_use":true}`},
		"as it likes":          {claude, `{"tools": [{"function": {"name": "f"}}]}`, 0, []string{"tool_choice"}, ``},
		"top_p":                {claude, `{"top_p": 0.3}`, 0, []string{"top_p"}, `0.3`},
		"sampling refused":     {"claude-opus-4-7", `{"temperature": 0}`, 0, []string{"temperature"}, ``},
		"budget":               {claude, `{"reasoning_effort": "medium", "max_tokens": 60000, "temperature": 0}`, 0, []string{"thinking"}, `{"type":"enabled","budget_tokens":8192}`},
		"no sampling with it":  {claude, `{"reasoning_effort": "medium", "max_tokens": 60000, "temperature": 0}`, 0, []string{"temperature"}, ``},
		"half for the answer":  {claude, `{"reasoning_effort": "high"}`, 0, []string{"thinking"}, `{"type":"enabled","budget_tokens":2048}`},
		"too little to think":  {claude, `{"reasoning_effort": "high", "max_tokens": 1000}`, 0, []string{"thinking"}, ``},
		"too old to think":     {"claude-3-5-haiku-20241022", `{"reasoning_effort": "high"}`, 0, []string{"thinking"}, ``},
		"first to think":       {"claude-3-7-sonnet-20250219", `{"reasoning_effort": "low"}`, 0, []string{"thinking", "type"}, `"enabled"`},
		"thinks as it likes":   {"claude-opus-4-6", `{"reasoning_effort": "high"}`, 0, []string{"thinking"}, `{"type":"adaptive"}`},
		"with this effort":     {"claude-opus-5", `{"reasoning_effort": "minimal"}`, 0, []string{"output_config"}, `{"effort":"low"}`},
		"no effort":            {"claude-opus-5", `{"reasoning_effort": "none"}`, 0, []string{"output_config"}, ``},
		"forced and thinking":  {claude, `{"reasoning_effort": "high", "tools": [{"function": {"name": "f"}}], "tool_choice": "required"}`, 0, []string{"thinking"}, ``},
		"JSON object":          {claude, `{"response_format": {"type": "json_object"}}`, 0, []string{"system"}, `"` + anthropicWantsJSON + `"`},
		"JSON schema":          {claude, `{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`, 0, []string{"tool_choice"}, `{"type":"tool","name":"json_answer"}`},
		"JSON schema or tools": {claude, `{"tools": [{"function": {"name": "f"}}], "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`, 0, []string{"tool_choice"}, `{"type":"any"}`},
		"system alone":         {claude, `{"messages": [{"role": "system", "content": "Speak."}]}`, 0, []string{"messages"}, `[{"role":"user","content":[{"type":"text","text":"Speak."}]}]`},
		"empty turns":          {claude, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "b"}]}`, 0, []string{"messages"}, `[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`},
		"answer to go on with": {claude, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b \n"}]}`, 0, []string{"messages"}, `[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[{"type":"text","text":"b"}]}]`},
		"image by URL":         {claude, `{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}]}`, 0, []string{"messages"}, `[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a.test/b.png"}}]}]`},
	} {
		attempt := attemptAt(gateway.Anthropic, example.model)
		attempt.MaxOutputTokens = example.clamp

		sent := chatSent(t, anthropicCodec{}, attempt, with(t, question, example.changes))
		if got := memberOf(sent.body, example.path...); got != example.want {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
}

// While results of tools are given back, a budget would want the thinking before them, which nobody has kept.
func TestAnthropicThinksNotBetweenTools(t *testing.T) {
	t.Parallel()

	sent := chatSent(t, anthropicCodec{}, attemptAt(gateway.Anthropic, claude), `{"reasoning_effort": "high", "messages": [
		{"role": "user", "content": "a"},
		{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]},
		{"role": "tool", "tool_call_id": "1", "content": "b"}]}`)

	if got := memberOf(sent.body, "thinking"); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestAnthropicCantExpress(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Anthropic, claude)
	for param, changes := range map[string]string{
		"n":           `{"n": 2}`,
		"messages[0]": `{"messages": [{"role": "function", "name": "f", "content": "x"}]}`,
		"tool_choice": `{"tool_choice": {"type": "function", "function": {"name": "nobody"}}}`,
	} {
		refusedWith(t, anthropicCodec{}, attempt, with(t, conversation, changes), param)
	}

	if _, err := (anthropicCodec{}).embeddings(context.Background(), attempt, &Embeddings{}); err == nil {
		t.Error("Anthropic has no embeddings")
	}
}

const (
	anthropicWhole = `{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "tool_use",
		"content": [
			{"type": "thinking", "thinking": "hm", "signature": "s"},
			{"type": "text", "text": "I \"look\"."},
			{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
			{"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}}
		],
		"usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 40}}`
)

func anthropicEvents() []string {
	return []string{
		`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":1}}}`,
		`{"type":"ping"}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I \"lo"}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"ok\"."}}`,
		`{"type":"content_block_stop","index":1}`,
		`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\": "}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"Bern\"}"}}`,
		`{"type":"content_block_stop","index":2}`,
		`{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"clock","input":{}}}`,
		`{"type":"content_block_stop","index":3}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":40}}`,
		`{"type":"message_stop"}`,
	}
}

func TestAnthropicStreamIsTheWholeAnswer(t *testing.T) {
	t.Parallel()

	attempt, chat := attemptAt(gateway.Anthropic, claude), chatOf(t, conversation)

	completion, err := anthropicCodec{}.completion(attempt, chat, []byte(anthropicWhole))
	if err != nil {
		t.Fatal(err)
	}

	whole := wholeOf(t, completion)
	want := said{ID: "msg_1", Model: "claude-x", Role: "assistant", Content: `I "look".`, Finish: "tool_calls", Calls: []ToolCall{
		{ID: "toolu_1", Name: "weather", Arguments: `{"city":"Bern"}`}, {ID: "toolu_2", Name: "clock", Arguments: "{}"},
	}}

	if !reflect.DeepEqual(whole, want) {
		t.Errorf("got %+v", whole)
	}

	decoder := anthropicCodec{}.decoder(attempt, chat)

	streamed, err := played(t, decoder, anthropicEvents()...)
	if err != nil || !reflect.DeepEqual(alike(streamed), alike(whole)) || streamed.ID != whole.ID || streamed.Calls[0].ID != "toolu_1" {
		t.Errorf("got %+v, %v", streamed, err)
	}

	tokens := domain.Tokens{Input: 10, CacheWrite: 20, CacheRead: 30, Output: 40}
	if completion.Usage.Tokens != tokens || completion.Usage.Source != Reported || decoder.usage().Tokens != tokens {
		t.Errorf("got %+v and %+v", completion.Usage, decoder.usage())
	}
}

// A stream that is cut anywhere is a failure, and what was counted until then is known.
func TestAnthropicStreamCut(t *testing.T) {
	t.Parallel()

	events := anthropicEvents()
	for length := range events {
		decoder := anthropicCodec{}.decoder(attemptAt(gateway.Anthropic, claude), chatOf(t, conversation))
		_, err := played(t, decoder, events[:length]...)
		wantFailure(t, "cut", err, ServerError)

		if length > 0 && decoder.usage().Tokens.Input != 10 {
			t.Errorf("after %d events: got %+v", length, decoder.usage())
		}
	}
}

func TestAnthropicAnswerInJSON(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Anthropic, claude)
	chat := chatOf(t, `{"messages": [{"role": "user", "content": "Hi"}],
		"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`)

	completion, err := anthropicCodec{}.completion(attempt, chat, []byte(`{"id": "m", "type": "message", "model": "c", "stop_reason": "tool_use",
		"content": [{"type": "tool_use", "id": "t", "name": "json_answer", "input": {"a": 1}}], "usage": {"input_tokens": 1, "output_tokens": 1}}`))
	if err != nil {
		t.Fatal(err)
	}

	whole := wholeOf(t, completion)
	if whole.Content != `{"a":1}` || whole.Finish != "stop" || whole.Calls != nil {
		t.Errorf("got %+v", whole)
	}

	streamed, err := played(t, anthropicCodec{}.decoder(attempt, chat),
		`{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"json_answer","input":{}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1}"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}`,
		`{"type":"message_stop"}`)
	if err != nil || !reflect.DeepEqual(alike(streamed), alike(whole)) {
		t.Errorf("got %+v, %v", streamed, err)
	}
}

func TestAnthropicFinishReasons(t *testing.T) {
	t.Parallel()

	for reason, finish := range map[string]string{
		"end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
		"model_context_window_exceeded": "length", "refusal": "",
	} {
		completion, err := anthropicCodec{}.completion(Attempt{}, chatOf(t, conversation),
			[]byte(`{"type": "message", "stop_reason": "`+reason+`", "content": [{"type": "text", "text": "I can't help."}]}`))

		if finish == "" {
			wantFailure(t, reason, err, ContentPolicy)
		} else if err != nil || completion.FinishReason != finish || completion.Usage.Source != Estimated {
			t.Errorf("%s: got %+v, %v", reason, completion, err)
		}
	}
}

func TestAnthropicFailures(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Anthropic, claude)

	for name, example := range map[string]struct {
		status     int
		kind, text string
		want       Trigger
	}{
		"validation":  {400, "invalid_request_error", "messages: at least one", BadRequest},
		"too large":   {413, "request_too_large", "too large", BadRequest},
		"no model":    {404, "not_found_error", "model: x", BadRequest},
		"limits":      {400, "invalid_request_error", "You have reached your specified API usage limits.", Dead},
		"credit":      {400, "invalid_request_error", "Your credit balance is too low", Dead},
		"key":         {401, "authentication_error", "invalid x-api-key", Dead},
		"billing":     {402, "billing_error", "pay", Dead},
		"permission":  {403, "permission_error", "no", Dead},
		"rate":        {429, "rate_limit_error", "slow down", RateLimit},
		"internal":    {500, "api_error", "oops", ServerError},
		"overloaded":  {529, "overloaded_error", "Overloaded", ServerError},
		"timeout":     {504, "timeout_error", "too long", Timeout},
		"unknown one": {503, "", "", ServerError},
	} {
		body := []byte(`{"type": "error", "error": {"type": "` + example.kind + `", "message": "` + example.text + `"}}`)
		header := http.Header{"Retry-After": {"7"}}

		failure := wantFailure(t, name, anthropicCodec{}.failure(attempt, example.status, header, body), example.want)
		if example.kind != "" && failure.Code != example.kind || failure.Status != example.status || failure.RetryAfter.Seconds() != 7 {
			t.Errorf("%s: got %+v", name, failure)
		}

		if example.kind != "" { // the same within a stream, which has no status
			_, err := played(t, anthropicCodec{}.decoder(attempt, chatOf(t, conversation)), string(body))
			wantFailure(t, name, err, example.want)
		}
	}
}

func TestAnthropicVersions(t *testing.T) {
	t.Parallel()

	for model, want := range map[string]int{
		"claude-3-opus-20240229": 300, "claude-3-7-sonnet-20250219": 307, "claude-sonnet-4-20250514": 400, "claude-opus-4-1": 401,
		"anthropic.claude-opus-4-6-v1:0": 406, "claude-opus-5": 500, "claude-mythos-preview": claudeUnknown, "latest": claudeUnknown,
	} {
		if got := claudeVersion(model); got != want {
			t.Errorf("%s: got %d, want %d", model, got, want)
		}
	}
}
