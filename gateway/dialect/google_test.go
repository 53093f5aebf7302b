package dialect

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

const gemini = "gemini-2.5-flash"

func TestGoogleRequest(t *testing.T) {
	t.Parallel()

	sent := chatSent(t, googleCodec{}, attemptAt(gateway.Google, gemini), conversation)

	if sent.url != "https://provider.test/v1beta/models/gemini-2.5-flash:generateContent" ||
		sent.header.Get("X-Goog-Api-Key") != "secret-of-the-test" {
		t.Errorf("got %s %v", sent.url, sent.header)
	}

	wantJSON(t, sent.body, `{
		"systemInstruction": {"parts": [{"text": "Be brief.\n\nBe kind."}]},
		"generationConfig": {"maxOutputTokens": 300, "stopSequences": ["END", "STOP"], "temperature": 1.5, "topP": 0.5, "seed": 7,
			"frequencyPenalty": 0.1, "presencePenalty": 0.2},
		"toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
		"tools": [{"functionDeclarations": [
			{"name": "weather", "description": "Tells the weather.",
			 "parametersJsonSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": false}},
			{"name": "clock"}
		]}],
		"contents": [
			{"role": "user", "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": "aGVsbG8="}}]},
			{"role": "model", "parts": [
				{"text": "I look."},
				{"functionCall": {"name": "weather", "args": {"city": "Bern"}}},
				{"functionCall": {"name": "clock", "args": {"arguments": "now"}}}
			]},
			{"role": "user", "parts": [
				{"functionResponse": {"name": "weather", "response": {"sky": "blue"}}},
				{"functionResponse": {"name": "clock", "response": {"output": "noon"}}}
			]},
			{"role": "user", "parts": [{"text": "And now?"}]}
		]
	}`)
}

func TestGoogleRequestDetails(t *testing.T) {
	t.Parallel()

	const question = `{"messages": [{"role": "user", "content": "Hi"}]}`

	for name, example := range map[string]struct {
		changes string
		clamp   int64
		path    []string
		want    string
	}{
		"no limit":          {`{}`, 0, []string{"generationConfig"}, `{}`},
		"clamp":             {`{"max_tokens": 9000}`, 512, []string{"generationConfig"}, `{"maxOutputTokens":512}`},
		"named tool":        {`{"tools": [{"function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "f"}}}`, 0, []string{"toolConfig"}, `{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}`},
		"no tool":           {`{"tools": [{"function": {"name": "f"}}], "tool_choice": "none"}`, 0, []string{"toolConfig"}, `{"functionCallingConfig":{"mode":"NONE"}}`},
		"tool as it likes":  {`{"tools": [{"function": {"name": "f"}}], "tool_choice": "auto"}`, 0, []string{"toolConfig"}, ``},
		"JSON object":       {`{"response_format": {"type": "json_object"}}`, 0, []string{"generationConfig"}, `{"responseMimeType":"application/json"}`},
		"JSON schema":       {`{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}`, 0, []string{"generationConfig"}, `{"responseMimeType":"application/json","responseJsonSchema":{"type":"object"}}`},
		"several choices":   {`{"n": 3}`, 0, []string{"generationConfig"}, `{"candidateCount":3}`},
		"no thinking":       {`{"reasoning_effort": "none"}`, 0, []string{"generationConfig"}, `{"thinkingConfig":{"thinkingBudget":0}}`},
		"little thinking":   {`{"reasoning_effort": "low"}`, 0, []string{"generationConfig"}, `{"thinkingConfig":{"thinkingBudget":1024}}`},
		"much thinking":     {`{"reasoning_effort": "xhigh"}`, 0, []string{"generationConfig"}, `{"thinkingConfig":{"thinkingBudget":24576}}`},
		"system alone":      {`{"messages": [{"role": "system", "content": "Speak."}]}`, 0, []string{"contents"}, `[{"role":"user","parts":[{"text":"Speak."}]}]`},
		"name in the place": {`{"messages": [{"role": "tool", "tool_call_id": "lost", "name": "f", "content": "[1]"}]}`, 0, []string{"contents"}, `[{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":[1]}}}]}]`},
	} {
		attempt := attemptAt(gateway.Google, gemini)
		attempt.MaxOutputTokens = example.clamp

		sent := chatSent(t, googleCodec{}, attempt, with(t, question, example.changes))
		if got := memberOf(sent.body, example.path...); got != example.want {
			t.Errorf("%s: got %s, want %s", name, got, example.want)
		}
	}
}

// From Gemini 3 on, the first of the calls in a turn needs a signature, and OpenAI's format has no place to keep one.
func TestGoogleSignsCallsForThoseThatInsist(t *testing.T) {
	t.Parallel()

	for model, want := range map[string]bool{
		"gemini-2.5-pro": false, "gemini-1.5-pro": false, "gemma-3-27b": false, "gemini-3-pro-preview": true, "gemini-flash-latest": true,
	} {
		parts := googleCalls(model, []ToolCall{{Name: "f"}, {Name: "g"}})
		if got := parts[0].ThoughtSignature != ""; got != want || parts[1].ThoughtSignature != "" {
			t.Errorf("%s: got %+v", model, parts)
		}
	}
}

func TestGoogleEndpoints(t *testing.T) {
	t.Parallel()

	for model, want := range map[string]string{
		gemini:              "https://provider.test/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
		"models/gemini-pro": "https://provider.test/v1beta/models/gemini-pro:streamGenerateContent?alt=sse",
		"tunedModels/mine":  "https://provider.test/v1beta/tunedModels/mine:streamGenerateContent?alt=sse",
		"../x?key=1":        "https://provider.test/v1beta/models/..%2Fx%3Fkey=1:streamGenerateContent?alt=sse",
	} {
		request, err := googleCodec{}.chat(context.Background(), attemptAt(gateway.Google, model), chatOf(t, conversation), true)
		if sent := sentBy(t, request, err); sent.url != want {
			t.Errorf("%s: got %s", model, sent.url)
		}
	}
}

func TestGoogleCantExpress(t *testing.T) {
	t.Parallel()

	for param, changes := range map[string]string{
		"messages[0].content":      `{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}]}`,
		"messages[0].tool_call_id": `{"messages": [{"role": "tool", "tool_call_id": "nobody's", "content": "x"}]}`,
		"messages[0].role":         `{"messages": [{"role": "function", "name": "f", "content": "x"}]}`,
		"tool_choice":              `{"tool_choice": {"type": "function", "function": {"name": "nobody"}}}`,
	} {
		refusedWith(t, googleCodec{}, attemptAt(gateway.Google, gemini), with(t, conversation, changes), param)
	}
}

const googleWhole = `{"responseId": "r1", "modelVersion": "gemini-x", "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
		{"text": "hm", "thought": true},
		{"text": "I \"lo"}, {"text": "ok\"."},
		{"functionCall": {"name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "c2ln"},
		{"functionCall": {"id": "own", "name": "clock"}}
	]}}],
	"usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 30, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 20, "thoughtsTokenCount": 7, "totalTokenCount": 132}}`

func googleEvents() []string {
	return []string{
		`{"responseId":"r1","modelVersion":"gemini-x","candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true}]}}],"usageMetadata":{"promptTokenCount":100}}`,
		`{"responseId":"r1","modelVersion":"gemini-x","candidates":[{"content":{"role":"model","parts":[{"text":"I \"lo"}]}}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":3}}`,
		`{"responseId":"r1","modelVersion":"gemini-x","candidates":[{"content":{"role":"model","parts":[{"text":"ok\"."},{"functionCall":{"name":"weather","args":{"city":"Bern"}}}]}}]}`,
		`{"responseId":"r1","modelVersion":"gemini-x","candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"own","name":"clock"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":30,"toolUsePromptTokenCount":5,"candidatesTokenCount":20,"thoughtsTokenCount":7}}`,
	}
}

func TestGoogleStreamIsTheWholeAnswer(t *testing.T) {
	t.Parallel()

	attempt, chat := attemptAt(gateway.Google, gemini), chatOf(t, conversation)

	completion, err := googleCodec{}.completion(attempt, chat, []byte(googleWhole))
	if err != nil {
		t.Fatal(err)
	}

	whole := wholeOf(t, completion)
	if whole.ID != "r1" || whole.Model != "gemini-x" || whole.Content != `I "look".` || whole.Finish != "tool_calls" ||
		len(whole.Calls) != 2 || whole.Calls[0].Arguments != `{"city":"Bern"}` || whole.Calls[1].ID != "own" || whole.Calls[1].Arguments != "{}" {
		t.Errorf("got %+v", whole)
	}

	decoder := googleCodec{}.decoder(attempt, chat)

	streamed, err := played(t, decoder, googleEvents()...)
	if err != nil || !reflect.DeepEqual(alike(streamed), alike(whole)) || streamed.ID != whole.ID {
		t.Errorf("got %+v, %v", streamed, err)
	}

	tokens := domain.Tokens{Input: 75, CacheRead: 30, Output: 20, Reasoning: 7}
	if completion.Usage.Tokens != tokens || completion.Usage.Source != Reported || decoder.usage().Tokens != tokens {
		t.Errorf("got %+v and %+v", completion.Usage, decoder.usage())
	}

	events := googleEvents()
	for length := range events {
		_, err := played(t, googleCodec{}.decoder(attempt, chat), events[:length]...)
		wantFailure(t, "cut", err, ServerError)
	}
}

func TestGoogleSeveralChoices(t *testing.T) {
	t.Parallel()

	completion, err := googleCodec{}.completion(Attempt{}, chatOf(t, conversation), []byte(`{"candidates": [
		{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}, {"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS"}]}`))
	if err != nil {
		t.Fatal(err)
	}

	wantJSON(t, memberOf(string(completion.Body), "choices"), `[
		{"index": 0, "message": {"role": "assistant", "content": "a", "refusal": null}, "logprobs": null, "finish_reason": "stop"},
		{"index": 1, "message": {"role": "assistant", "content": "b", "refusal": null}, "logprobs": null, "finish_reason": "length"}]`)

	decoder := googleCodec{}.decoder(Attempt{}, nil)

	chunks, _, err := decoder.event("", []byte(`{"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]}`))
	if err != nil || len(chunks) != 2 || memberOf(string(chunks[0]), "object") == "" {
		t.Errorf("got %s, %v", chunks, err)
	}

	if err := decoder.end(); err == nil {
		t.Error("choice 0 has not ended")
	}
}

func TestGoogleFinishReasons(t *testing.T) {
	t.Parallel()

	chat := chatOf(t, conversation)

	for reason, want := range map[string]Trigger{
		"SAFETY": ContentPolicy, "RECITATION": ContentPolicy, "BLOCKLIST": ContentPolicy, "PROHIBITED_CONTENT": ContentPolicy,
		"SPII": ContentPolicy, "MALFORMED_FUNCTION_CALL": ServerError, "OTHER": ServerError,
	} {
		body := `{"candidates": [{"finishReason": "` + reason + `"}]}`

		_, err := googleCodec{}.completion(Attempt{}, chat, []byte(body))
		wantFailure(t, reason, err, want)

		_, err = played(t, googleCodec{}.decoder(Attempt{}, chat), body)
		wantFailure(t, reason+" streamed", err, want)

		streamed, err := played(t, googleCodec{}.decoder(Attempt{}, chat), `{"candidates": [{"content": {"parts": [{"text": "So"}]}}]}`, body)
		if err != nil || streamed.Content != "So" || (streamed.Finish == "content_filter") != (want == ContentPolicy) {
			t.Errorf("%s after some text: got %+v, %v", reason, streamed, err)
		}
	}

	blocked := `{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}`

	_, err := googleCodec{}.completion(Attempt{}, chat, []byte(blocked))
	wantFailure(t, "blocked", err, ContentPolicy)

	_, err = played(t, googleCodec{}.decoder(Attempt{}, chat), blocked)
	wantFailure(t, "blocked stream", err, ContentPolicy)
}

func TestGoogleFailures(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Google, gemini)

	for name, example := range map[string]struct {
		status int
		word   string
		detail string
		want   Trigger
		retry  time.Duration
	}{
		"validation": {400, "INVALID_ARGUMENT", `{}`, BadRequest, 0},
		"key":        {400, "INVALID_ARGUMENT", `{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}`, Dead, 0},
		"account":    {400, "FAILED_PRECONDITION", `{}`, Dead, 0},
		"permission": {403, "PERMISSION_DENIED", `{}`, Dead, 0},
		"no model":   {404, "NOT_FOUND", `{}`, BadRequest, 0},
		"rate":       {429, "RESOURCE_EXHAUSTED", `{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}`, RateLimit, 34500 * time.Millisecond},
		"internal":   {500, "INTERNAL", `{}`, ServerError, 0},
		"away":       {503, "UNAVAILABLE", `{}`, ServerError, 0},
		"late":       {504, "DEADLINE_EXCEEDED", `{}`, Timeout, 0},
	} {
		body := `{"error": {"code": ` + strconv.Itoa(example.status) + `, "message": "why", "status": "` + example.word + `", "details": [` + example.detail + `]}}`

		for form, text := range map[string]string{"object": body, "array": "[" + body + "]"} {
			failure := wantFailure(t, name+" as "+form, googleCodec{}.failure(attempt, example.status, http.Header{}, []byte(text)), example.want)
			if failure.RetryAfter != example.retry || failure.Status != example.status {
				t.Errorf("%s as %s: got %+v", name, form, failure)
			}
		}

		_, err := played(t, googleCodec{}.decoder(attempt, chatOf(t, conversation)), body)
		wantFailure(t, name+" within a stream", err, example.want)

		_, err = googleCodec{}.completion(attempt, chatOf(t, conversation), []byte(body))
		wantFailure(t, name+" under status 200", err, example.want)
	}
}

func TestGoogleEmbeddings(t *testing.T) {
	t.Parallel()

	attempt := attemptAt(gateway.Google, "gemini-embedding-001")
	request := embeddingsOf(t, `{"input": ["one", "two"], "dimensions": 2}`)

	made, err := googleCodec{}.embeddings(context.Background(), attempt, request)
	sent := sentBy(t, made, err)

	if sent.url != "https://provider.test/v1beta/models/gemini-embedding-001:batchEmbedContents" {
		t.Errorf("got %s", sent.url)
	}

	wantJSON(t, sent.body, `{"requests": [
		{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "one"}]}, "outputDimensionality": 2},
		{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "two"}]}, "outputDimensionality": 2}]}`)

	completion, err := googleCodec{}.embedded(attempt, request, []byte(`{"embeddings": [{"values": [1, 2]}, {"values": [3, 4.5]}]}`))
	if err != nil || completion.Usage.Source != Estimated || completion.Usage.Tokens.Input == 0 {
		t.Errorf("got %+v, %v", completion.Usage, err)
	}

	wantJSON(t, memberOf(string(completion.Body), "data"),
		`[{"object": "embedding", "index": 0, "embedding": [1, 2]}, {"object": "embedding", "index": 1, "embedding": [3, 4.5]}]`)

	_, err = googleCodec{}.embedded(attempt, request, []byte(`{"embeddings": [{"values": [1, 2]}]}`))
	wantFailure(t, "a vector short", err, ServerError)
}
