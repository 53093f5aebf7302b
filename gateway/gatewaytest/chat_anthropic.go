package gatewaytest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/archonhq/archon/domain"
)

// anthropicProtocol is Anthropic's messages. It counts thinking as output.
type anthropicProtocol struct{}

// anthropicTurn is a message as it is sent.
type anthropicTurn struct {
	Role    string
	Content []struct {
		Type, Text, ID string
		ToolUseID      string `json:"tool_use_id"`
	}
}

func (p anthropicProtocol) read(_ *Server, r *http.Request, body []byte) (want wanted, status int, objection string) {
	if r.URL.Path != "/v1/messages" {
		return want, http.StatusNotFound, anthropicError("not_found_error", "Not found")
	}

	var sent struct {
		Model       string
		MaxTokens   int64 `json:"max_tokens"`
		Temperature float64
		Stream      bool
		Messages    []anthropicTurn
	}

	if json.Unmarshal(body, &sent) != nil {
		return want, http.StatusBadRequest, anthropicError("invalid_request_error", "The request body is not valid JSON.")
	}

	complaint := unknownField(body, "model", "max_tokens", "system", "messages", "tools", "tool_choice", "stop_sequences",
		"temperature", "top_p", "thinking", "output_config", "metadata", "stream")

	switch {
	case complaint != "":
		complaint += ": Extra inputs are not permitted"
	case sent.Model == "":
		complaint = "model: Field required"
	case sent.MaxTokens < 1:
		complaint = "max_tokens: Field required"
	case sent.Temperature > 1:
		complaint = "temperature: range: 0..1"
	default:
		complaint = p.complaint(sent.Messages)
	}

	if complaint != "" {
		return want, http.StatusBadRequest, anthropicError("invalid_request_error", complaint)
	}

	return wanted{stream: sent.Stream, model: sent.Model}, 0, ""
}

// complaint is what it has against a conversation: above all, each call of a tool wants its result in the next turn.
func (anthropicProtocol) complaint(turns []anthropicTurn) string {
	if len(turns) == 0 {
		return "messages: at least one message is required"
	}

	var open []string

	for _, turn := range turns {
		if turn.Role != "user" && turn.Role != "assistant" {
			return "messages: unexpected role"
		}

		var called []string

		for _, block := range turn.Content {
			switch at := slices.Index(open, block.ToolUseID); {
			case block.Type == "text" && block.Text == "":
				return "messages: text content blocks must be non-empty"
			case block.Type == "tool_use":
				called = append(called, block.ID)
			case block.Type == "tool_result" && at < 0:
				return "messages: unexpected `tool_use_id` found in `tool_result` blocks"
			case block.Type == "tool_result":
				open = slices.Delete(open, at, at+1)
			}
		}

		if len(open) > 0 {
			return "messages: `tool_use` ids were found without `tool_result` blocks immediately after"
		}

		open = called
	}

	return ""
}

func (p anthropicProtocol) answer(reply Reply, want wanted) string {
	content := []object{}

	if reply.Usage.Reasoning > 0 {
		content = append(content, object{"type": "thinking", "thinking": "Let me think.", "signature": "EqQBCgIYAhIM"})
	}

	if reply.Text != "" {
		content = append(content, object{"type": "text", "text": reply.Text})
	}

	for _, call := range reply.ToolCalls {
		content = append(content, object{"type": "tool_use", "id": call.ID, "name": call.Name, "input": json.RawMessage(call.Arguments)})
	}

	answer := object{
		"id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant", "model": want.model, "content": content,
		"stop_reason": p.stopReason(reply), "stop_sequence": nil,
	}
	if !reply.NoUsage {
		answer["usage"] = p.usage(reply.Usage)
	}

	return encode(answer)
}

func (p anthropicProtocol) events(reply Reply, want wanted) []string {
	var (
		events []string
		blocks int
	)

	send := func(kind string, data object) {
		data["type"] = kind
		events = append(events, serverSentEvent(kind, data))
	}
	block := func(start object, deltas ...object) {
		send("content_block_start", object{"index": blocks, "content_block": start})

		for _, delta := range deltas {
			send("content_block_delta", object{"index": blocks, "delta": delta})
		}

		send("content_block_stop", object{"index": blocks})

		blocks++
	}

	message := object{
		"id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant", "model": want.model, "content": []object{},
		"stop_reason": nil, "stop_sequence": nil,
	}
	delta := object{"delta": object{"stop_reason": p.stopReason(reply), "stop_sequence": nil}}

	if !reply.NoUsage {
		usage := p.usage(reply.Usage)
		usage["output_tokens"] = 1
		message["usage"] = usage
		delta["usage"] = object{"output_tokens": reply.Usage.Completion()}
	}

	send("message_start", object{"message": message})
	send("ping", object{})

	if reply.Usage.Reasoning > 0 {
		block(object{"type": "thinking", "thinking": "", "signature": ""},
			object{"type": "thinking_delta", "thinking": "Let me think."}, object{"type": "signature_delta", "signature": "EqQBCgIYAhIM"})
	}

	if reply.Text != "" {
		block(object{"type": "text", "text": ""}, objects(reply.pieces(), func(piece string) object {
			return object{"type": "text_delta", "text": piece}
		})...)
	}

	for _, call := range reply.ToolCalls {
		block(object{"type": "tool_use", "id": call.ID, "name": call.Name, "input": object{}},
			objects(append([]string{""}, cutText(call.Arguments, 2)...), func(piece string) object {
				return object{"type": "input_json_delta", "partial_json": piece}
			})...)
	}

	send("message_delta", delta)
	send("message_stop", object{})

	return events
}

func (anthropicProtocol) stopReason(reply Reply) string {
	switch reply.FinishReason {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	case "content_filter":
		return "refusal"
	default:
		return "end_turn"
	}
}

func (anthropicProtocol) usage(tokens domain.Tokens) object {
	return object{
		"input_tokens": tokens.Input, "cache_creation_input_tokens": tokens.CacheWrite, "cache_read_input_tokens": tokens.CacheRead,
		"output_tokens": tokens.Completion(), "service_tier": "standard",
	}
}

// embedded is never asked for: read finds no such path.
func (anthropicProtocol) embedded(Reply, wanted) string { return "" }

func (anthropicProtocol) contentType() string { return "text/event-stream; charset=utf-8" }

func (anthropicProtocol) failed(status int) string {
	const overloaded = 529

	switch status {
	case http.StatusUnauthorized:
		return anthropicError("authentication_error", "invalid x-api-key")
	case http.StatusTooManyRequests:
		return anthropicError("rate_limit_error", "This request would exceed your organization's rate limit.")
	case http.StatusNotFound:
		return anthropicError("not_found_error", "The model was not found.")
	case overloaded:
		return anthropicError("overloaded_error", "Overloaded")
	}

	if status < http.StatusInternalServerError {
		return anthropicError("invalid_request_error", "The request is not valid.")
	}

	return anthropicError("api_error", "Internal server error")
}

func (anthropicProtocol) failedEvent() string {
	return serverSentEvent("error", object{"type": "error", "error": object{"type": "overloaded_error", "message": "Overloaded"}})
}
