package gatewaytest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/archonhq/archon/gateway"
)

// ollamaProtocol is Ollama's own. It counts neither caches nor thinking apart, and knows no content filter.
type ollamaProtocol struct{}

func (ollamaProtocol) read(_ *Server, r *http.Request, body []byte) (want wanted, status int, objection string) {
	want.embeddings = r.URL.Path == "/api/embed"
	if !want.embeddings && r.URL.Path != "/api/chat" {
		return want, http.StatusNotFound, notFound(gateway.Ollama)
	}

	// Ollama ignores fields that it does not know, and reads others strictly.
	sent := struct {
		Model    string
		Stream   bool
		Input    json.RawMessage
		Messages []struct {
			Role, Content string
			Images        [][]byte
			ToolCalls     []struct {
				Function struct{ Arguments map[string]any }
			} `json:"tool_calls"`
		}
	}{Stream: true}

	complaint := ""

	switch err := json.Unmarshal(body, &sent); {
	case err != nil:
		complaint = err.Error()
	case sent.Model == "":
		complaint = "model is required"
	case want.embeddings && len(sent.Input) == 0:
		complaint = "input is required"
	case !want.embeddings && len(sent.Messages) == 0:
		complaint = "messages are required"
	}

	if complaint != "" {
		return want, http.StatusBadRequest, encode(object{"error": complaint})
	}

	want.model, want.stream = sent.Model, sent.Stream && !want.embeddings
	want.texts = countTexts(sent.Input)

	return want, 0, ""
}

func (p ollamaProtocol) answer(reply Reply, want wanted) string {
	message := object{"role": "assistant", "content": reply.Text}

	if reply.Usage.Reasoning > 0 {
		message["thinking"] = "Let me think."
	}

	if len(reply.ToolCalls) > 0 {
		message["tool_calls"] = objects(reply.ToolCalls, p.call)
	}

	return encode(p.last(reply, want, message))
}

func (p ollamaProtocol) events(reply Reply, want wanted) []string {
	var events []string

	send := func(message object) {
		message["role"] = "assistant"
		events = append(events, encode(object{"model": want.model, "created_at": ollamaTime, "message": message, "done": false})+"\n")
	}

	if reply.Usage.Reasoning > 0 {
		send(object{"content": "", "thinking": "Let me think."})
	}

	for _, piece := range reply.pieces() {
		send(object{"content": piece})
	}

	for _, call := range reply.ToolCalls {
		send(object{"content": "", "tool_calls": []object{p.call(call)}})
	}

	return append(events, encode(p.last(reply, want, object{"role": "assistant", "content": ""}))+"\n")
}

const ollamaTime = "2025-02-19T08:00:00.123456789Z"

// call leaves out the call's id, which Ollama does not have.
func (ollamaProtocol) call(call ToolCall) object {
	return object{"function": object{"name": call.Name, "arguments": json.RawMessage(call.Arguments)}}
}

func (ollamaProtocol) last(reply Reply, want wanted, message object) object {
	reason := "stop"
	if reply.FinishReason == "length" {
		reason = "length"
	}

	last := object{
		"model": want.model, "created_at": ollamaTime, "message": message, "done": true, "done_reason": reason,
		"total_duration": 4883583458, "load_duration": 1334875,
	}
	if !reply.NoUsage {
		last["prompt_eval_count"], last["eval_count"] = reply.Usage.Prompt(), reply.Usage.Completion()
	}

	return last
}

func (ollamaProtocol) embedded(reply Reply, want wanted) string {
	vectors := slices.Repeat([][]float64{reply.Embedding}, want.texts)
	answer := object{"model": want.model, "embeddings": vectors, "total_duration": 14143917}
	if !reply.NoUsage {
		answer["prompt_eval_count"] = reply.Usage.Prompt()
	}

	return encode(answer)
}

func (ollamaProtocol) contentType() string { return "application/x-ndjson" }

func (ollamaProtocol) failed(status int) string {
	message := "the request is not valid"

	switch {
	case status == http.StatusUnauthorized:
		message = "unauthorized"
	case status == http.StatusNotFound:
		message = "model not found, try pulling it first"
	case status == http.StatusServiceUnavailable:
		message = "server busy, please try again.  maximum pending requests exceeded"
	case status >= http.StatusInternalServerError:
		message = "llama runner process has terminated"
	}

	return encode(object{"error": message})
}

func (p ollamaProtocol) failedEvent() string { return p.failed(http.StatusInternalServerError) + "\n" }
