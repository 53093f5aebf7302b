package gatewaytest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// openAIProtocol is OpenAI's own, and what Mistral, Azure, vLLM and others make of it.
type openAIProtocol struct{ kind gateway.ProviderType }

const created = 1741569952

func (p openAIProtocol) read(s *Server, r *http.Request, body []byte) (want wanted, status int, objection string) {
	path := r.URL.Path
	sent := fields(body)

	if p.kind == gateway.AzureOpenAI {
		rest, isDeployment := strings.CutPrefix(path, "/openai/deployments/")
		deployment, operation, _ := strings.Cut(rest, "/")

		if !isDeployment || deployment == "" || r.URL.Query().Get("api-version") == "" {
			return want, http.StatusNotFound, notFound(p.kind)
		}

		path, want.model = "/v1/"+operation, deployment
	}

	if p.kind == gateway.Custom && s.options.ModelsPath != "" {
		path = "/v1" + strings.TrimPrefix(path, "/v1")
	}

	want.embeddings = path == "/v1/embeddings"

	switch {
	case !want.embeddings && path != "/v1/chat/completions" || r.Method != http.MethodPost:
		return want, http.StatusNotFound, notFound(p.kind)
	case sent == nil:
		return want, http.StatusBadRequest, openAIError("We could not parse the JSON body of your request.", "invalid_request_error", "")
	}

	if p.kind != gateway.AzureOpenAI {
		_ = json.Unmarshal(sent["model"], &want.model)
	}

	if complaint := p.complaint(r, want, sent); complaint != "" {
		return want, http.StatusBadRequest, openAIError(complaint, "invalid_request_error", "")
	}

	_ = json.Unmarshal(sent["stream"], &want.stream)
	want.usage = strings.Contains(string(sent["stream_options"]), `"include_usage":true`)
	want.texts = countTexts(sent["input"])

	return want, 0, ""
}

// complaint is what the type has against a body, "" if nothing.
func (p openAIProtocol) complaint(r *http.Request, want wanted, sent map[string]json.RawMessage) string {
	if want.model == "" {
		return "you must provide a model parameter"
	}

	needed := "messages"
	if want.embeddings {
		needed = "input"
	}

	if value := string(sent[needed]); value == "" || value == "null" || value == "[]" {
		return "Missing required parameter: '" + needed + "'."
	}

	refused := []string{}

	switch {
	case p.kind == gateway.Mistral:
		refused = []string{"stream_options", "max_completion_tokens", "seed", "user", "store", "dimensions"}
	case p.kind == gateway.AzureOpenAI && r.URL.Query().Get("api-version") < "2024-09-01":
		refused = []string{"stream_options", "max_completion_tokens"}
	}

	for _, name := range refused {
		if _, found := sent[name]; found {
			return "Unrecognized request argument supplied: " + name
		}
	}

	if _, both := sent["max_tokens"]; both && sent["max_completion_tokens"] != nil {
		return "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
	}

	return ""
}

func (p openAIProtocol) answer(reply Reply, want wanted) string {
	message := object{"role": "assistant", "content": reply.Text, "refusal": nil}

	if len(reply.ToolCalls) > 0 {
		calls := make([]object, 0, len(reply.ToolCalls))
		for _, call := range reply.ToolCalls {
			calls = append(calls, object{
				"id": call.ID, "type": "function", "function": object{"name": call.Name, "arguments": call.Arguments},
			})
		}

		message["tool_calls"] = calls

		if reply.Text == "" {
			message["content"] = nil
		}
	}

	answer := object{
		"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": created, "model": want.model,
		"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": reply.FinishReason}},
	}
	if !reply.NoUsage {
		answer["usage"] = openAIUsage(reply)
	}

	return encode(answer)
}

func (p openAIProtocol) events(reply Reply, want wanted) []string {
	var events []string

	send := func(choices []object, usage any) {
		chunk := object{
			"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk", "created": created,
			"model": want.model, "choices": choices,
		}
		if usage != nil {
			chunk["usage"] = usage
		}

		events = append(events, serverSentEvent("", chunk))
	}
	delta := func(delta object, finish, usage any) {
		send([]object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}, usage)
	}

	if p.kind == gateway.AzureOpenAI {
		events = append(events, serverSentEvent("", object{
			"id": "", "object": "", "created": 0, "model": "", "choices": []object{},
			"prompt_filter_results": []object{{"prompt_index": 0, "content_filter_results": object{}}},
		}))
	}

	delta(object{"role": "assistant", "content": ""}, nil, nil)

	for _, piece := range reply.pieces() {
		delta(object{"content": piece}, nil, nil)
	}

	for i, call := range reply.ToolCalls {
		delta(object{"tool_calls": []object{{
			"index": i, "id": call.ID, "type": "function", "function": object{"name": call.Name, "arguments": ""},
		}}}, nil, nil)

		for _, piece := range cutText(call.Arguments, 2) {
			delta(object{"tool_calls": []object{{"index": i, "function": object{"arguments": piece}}}}, nil, nil)
		}
	}

	switch {
	case reply.NoUsage:
		delta(object{}, reply.FinishReason, nil)
	case p.kind == gateway.Mistral: // not asked for, and beside a choice
		delta(object{"content": ""}, reply.FinishReason, openAIUsage(reply))
	default:
		delta(object{}, reply.FinishReason, nil)

		if want.usage {
			send([]object{}, openAIUsage(reply))
		}
	}

	return append(events, "data: [DONE]\n\n")
}

func openAIUsage(reply Reply) object {
	return object{
		"prompt_tokens": reply.Usage.Prompt(), "completion_tokens": reply.Usage.Completion(), "total_tokens": reply.Usage.Total(),
		"prompt_tokens_details":     object{"cached_tokens": reply.Usage.CacheRead, "audio_tokens": 0},
		"completion_tokens_details": object{"reasoning_tokens": reply.Usage.Reasoning, "audio_tokens": 0},
	}
}

func (p openAIProtocol) embedded(reply Reply, want wanted) string {
	entries := make([]object, 0, want.texts)
	for i := range want.texts {
		entries = append(entries, object{"object": "embedding", "index": i, "embedding": reply.Embedding})
	}

	answer := object{"object": "list", "data": entries, "model": want.model}
	if !reply.NoUsage {
		answer["usage"] = object{"prompt_tokens": reply.Usage.Prompt(), "total_tokens": reply.Usage.Prompt()}
	}

	return encode(answer)
}

func (openAIProtocol) contentType() string { return "text/event-stream; charset=utf-8" }

func (p openAIProtocol) failed(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		_, body := unauthorized(p.kind, "sk-12345678")

		return body
	case status == http.StatusTooManyRequests && p.kind == gateway.Mistral:
		return encode(object{"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "param": nil, "code": "1300"})
	case status == http.StatusTooManyRequests:
		return openAIError("Rate limit reached for requests", "requests", "rate_limit_exceeded")
	case status < http.StatusInternalServerError:
		return openAIError("The request is not valid.", "invalid_request_error", "")
	}

	return openAIError("The server had an error while processing your request.", "server_error", "")
}

func (openAIProtocol) failedEvent() string {
	return serverSentEvent("", object{"error": object{
		"message": "The server had an error while processing your request.", "type": "server_error", "param": nil, "code": nil,
	}})
}
