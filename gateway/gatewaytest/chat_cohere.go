package gatewaytest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// cohereProtocol is Cohere's v2. It counts neither caches nor thinking apart.
type cohereProtocol struct{}

func (p cohereProtocol) read(_ *Server, r *http.Request, body []byte) (want wanted, status int, objection string) {
	want.embeddings = r.URL.Path == "/v2/embed"
	if !want.embeddings && r.URL.Path != "/v2/chat" {
		return want, http.StatusNotFound, notFound(gateway.Cohere)
	}

	var sent struct {
		Model          string
		Stream         bool
		Temperature    float64
		Messages       []struct{ Role string }
		Texts          []string
		InputType      string   `json:"input_type"`
		EmbeddingTypes []string `json:"embedding_types"`
	}

	known := strings.Fields("model messages tools tool_choice response_format max_tokens stop_sequences temperature p " +
		"frequency_penalty presence_penalty seed thinking stream")
	if want.embeddings {
		known = strings.Fields("model texts input_type embedding_types output_dimension")
	}

	complaint := ""

	switch unknown := unknownField(body, known...); {
	case json.Unmarshal(body, &sent) != nil:
		complaint = "invalid request: the body is not valid JSON"
	case unknown != "":
		complaint = "unknown field: parameter '" + unknown + "' is not a valid field"
	case sent.Model == "":
		complaint = "invalid request: model is required"
	case sent.Temperature > 1:
		complaint = "invalid request: temperature must be between 0 and 1.0 inclusive."
	case want.embeddings && (len(sent.Texts) == 0 || sent.InputType == "" || len(sent.EmbeddingTypes) == 0):
		complaint = "invalid request: texts, input_type and embedding_types are required"
	case !want.embeddings && len(sent.Messages) == 0:
		complaint = "invalid request: messages must not be empty"
	}

	if complaint != "" {
		return want, http.StatusBadRequest, encode(object{"message": complaint})
	}

	want.model, want.stream, want.texts = sent.Model, sent.Stream, len(sent.Texts)

	return want, 0, ""
}

const cohereAnswerID = "c14c80c3-18eb-4519-9460-6c92edd8cfb4"

func (p cohereProtocol) answer(reply Reply, _ wanted) string {
	message := object{"role": "assistant"}

	var content []object
	if reply.Usage.Reasoning > 0 {
		content = append(content, object{"type": "thinking", "thinking": "Let me think."})
	}

	if reply.Text != "" {
		content = append(content, object{"type": "text", "text": reply.Text})
	}

	if content != nil {
		message["content"] = content
	}

	if len(reply.ToolCalls) > 0 {
		calls := make([]object, 0, len(reply.ToolCalls))
		for _, call := range reply.ToolCalls {
			calls = append(calls, p.call(call, call.Arguments))
		}

		message["tool_plan"], message["tool_calls"] = "I will use a tool.", calls
	}

	answer := object{"id": cohereAnswerID, "finish_reason": p.finishReason(reply), "message": message}
	if !reply.NoUsage {
		answer["usage"] = p.usage(reply)
	}

	return encode(answer)
}

func (p cohereProtocol) events(reply Reply, _ wanted) []string {
	var events []string

	send := func(kind string, data object) {
		data["type"] = kind
		events = append(events, serverSentEvent(kind, data))
	}
	part := func(kind string, index int, message object) {
		send(kind, object{"index": index, "delta": object{"message": message}})
	}

	send("message-start", object{"id": cohereAnswerID, "delta": object{"message": object{
		"role": "assistant", "content": []object{}, "tool_plan": "", "tool_calls": []object{}, "citations": []object{},
	}}})

	index := 0

	if reply.Usage.Reasoning > 0 {
		part("content-start", index, object{"content": object{"type": "thinking", "thinking": ""}})
		part("content-delta", index, object{"content": object{"thinking": "Let me think."}})
		send("content-end", object{"index": index})

		index++
	}

	if reply.Text != "" {
		part("content-start", index, object{"content": object{"type": "text", "text": ""}})

		for _, piece := range reply.pieces() {
			part("content-delta", index, object{"content": object{"text": piece}})
		}

		send("content-end", object{"index": index})
	}

	if len(reply.ToolCalls) > 0 {
		send("tool-plan-delta", object{"delta": object{"message": object{"tool_plan": "I will use a tool."}}})
	}

	for i, call := range reply.ToolCalls {
		part("tool-call-start", i, object{"tool_calls": p.call(call, "")})

		for _, piece := range cutText(call.Arguments, 2) {
			part("tool-call-delta", i, object{"tool_calls": object{"function": object{"arguments": piece}}})
		}

		send("tool-call-end", object{"index": i})
	}

	end := object{"finish_reason": p.finishReason(reply)}
	if !reply.NoUsage {
		end["usage"] = p.usage(reply)
	}

	send("message-end", object{"id": cohereAnswerID, "delta": end})

	return events
}

func (cohereProtocol) call(call ToolCall, arguments string) object {
	return object{"id": call.ID, "type": "function", "function": object{"name": call.Name, "arguments": arguments}}
}

func (cohereProtocol) finishReason(reply Reply) string {
	return map[string]string{
		"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR_TOXIC",
	}[reply.FinishReason]
}

// usage bills less than it counts: the prompt that Cohere adds is its own.
func (cohereProtocol) usage(reply Reply) object {
	const ownPrompt = 496

	tokens := reply.Usage

	return object{
		"billed_units": object{"input_tokens": tokens.Prompt(), "output_tokens": tokens.Completion()},
		"tokens":       object{"input_tokens": tokens.Prompt() + ownPrompt, "output_tokens": tokens.Completion()},
	}
}

func (cohereProtocol) embedded(reply Reply, want wanted) string {
	vectors := slices.Repeat([][]float64{reply.Embedding}, want.texts)
	answer := object{
		"id": cohereAnswerID, "embeddings": object{"float": vectors}, "response_type": "embeddings_by_type",
		"meta": object{"api_version": object{"version": "2"}},
	}
	if !reply.NoUsage {
		answer["meta"] = object{
			"api_version": object{"version": "2"}, "billed_units": object{"input_tokens": reply.Usage.Prompt()},
		}
	}

	return encode(answer)
}

func (cohereProtocol) contentType() string { return "text/event-stream" }

func (cohereProtocol) failed(status int) string {
	message := http.StatusText(status)

	switch {
	case status == http.StatusUnauthorized:
		message = "invalid api token"
	case status == http.StatusTooManyRequests:
		message = "You are past the per minute request limit, please wait and try again later."
	case status >= http.StatusInternalServerError:
		message = "internal server error"
	}

	return encode(object{"id": cohereAnswerID, "message": message})
}

// failedEvent is a message that ends in an error, which is how Cohere's streams break off.
func (cohereProtocol) failedEvent() string {
	return serverSentEvent("message-end", object{"type": "message-end", "id": cohereAnswerID, "delta": object{
		"finish_reason": "ERROR", "error": "internal server error",
	}})
}
