package gatewaytest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// googleProtocol is the Gemini API's. It counts no cache writes apart, and no embeddings at all.
type googleProtocol struct{}

func (p googleProtocol) read(_ *Server, r *http.Request, body []byte) (want wanted, status int, objection string) {
	path, isModel := strings.CutPrefix(r.URL.Path, "/v1beta/models/")
	model, method, _ := strings.Cut(path, ":")
	want = wanted{model: model, stream: method == "streamGenerateContent", embeddings: method == "batchEmbedContents"}

	switch {
	case !isModel || model == "" || !want.stream && !want.embeddings && method != "generateContent":
		return want, http.StatusNotFound, notFound(gateway.Google)
	case want.stream && r.URL.Query().Get("alt") != "sse":
		return want, http.StatusBadRequest, googleError(http.StatusBadRequest, "INVALID_ARGUMENT", "this provider streams events only")
	}

	complaint := p.complaint(body)
	if want.embeddings {
		complaint, want.texts = p.embeddingComplaint(body)
	}

	if complaint != "" {
		return want, http.StatusBadRequest, googleError(http.StatusBadRequest, "INVALID_ARGUMENT", complaint)
	}

	return want, 0, ""
}

// complaint is what it has against a conversation: above all, as many results must follow calls as there were calls.
func (googleProtocol) complaint(body []byte) string {
	var sent struct {
		Contents []struct {
			Role  string
			Parts []map[string]json.RawMessage
		}
	}

	switch unknown := unknownField(body, "systemInstruction", "contents", "tools", "toolConfig", "generationConfig"); {
	case json.Unmarshal(body, &sent) != nil:
		return "Invalid JSON payload received."
	case unknown != "":
		return "Invalid JSON payload received. Unknown name \"" + unknown + "\": Cannot find field."
	case len(sent.Contents) == 0:
		return "* GenerateContentRequest.contents: contents is not specified"
	}

	calls := 0

	for _, content := range sent.Contents {
		results, called := 0, 0

		for _, part := range content.Parts {
			if part["functionResponse"] != nil {
				results++
			}

			if part["functionCall"] != nil {
				called++
			}
		}

		switch {
		case content.Role != "user" && content.Role != "model":
			return "Please use a valid role: user, model."
		case len(content.Parts) == 0:
			return "* GenerateContentRequest.contents.parts: contents.parts must not be empty."
		case results != calls:
			return "Please ensure that the number of function response parts is equal to the number of function call parts " +
				"of the function call turn."
		}

		calls = called
	}

	return ""
}

func (googleProtocol) embeddingComplaint(body []byte) (complaint string, texts int) {
	var sent struct {
		Requests []struct {
			Model   string
			Content struct{ Parts []struct{ Text string } }
		}
	}

	if json.Unmarshal(body, &sent) != nil || len(sent.Requests) == 0 {
		return "* BatchEmbedContentsRequest.requests: requests is not specified", 0
	}

	for _, request := range sent.Requests {
		if !strings.HasPrefix(request.Model, "models/") || len(request.Content.Parts) == 0 {
			return "* EmbedContentRequest: model and content are required", 0
		}
	}

	return "", len(sent.Requests)
}

func (p googleProtocol) answer(reply Reply, want wanted) string {
	var parts []object
	if reply.Usage.Reasoning > 0 {
		parts = append(parts, object{"text": "Let me think.", "thought": true})
	}

	if reply.Text != "" {
		parts = append(parts, object{"text": reply.Text})
	}

	for _, call := range reply.ToolCalls {
		parts = append(parts, p.call(call))
	}

	return encode(p.document(reply, want, parts, true))
}

func (p googleProtocol) events(reply Reply, want wanted) []string {
	var pieces []object
	if reply.Usage.Reasoning > 0 {
		pieces = append(pieces, object{"text": "Let me think.", "thought": true})
	}

	for _, text := range reply.pieces() {
		pieces = append(pieces, object{"text": text})
	}

	for _, call := range reply.ToolCalls {
		pieces = append(pieces, p.call(call))
	}

	if len(pieces) == 0 {
		pieces = []object{{"text": ""}}
	}

	events := make([]string, 0, len(pieces))
	for i, piece := range pieces {
		events = append(events, serverSentEvent("", p.document(reply, want, []object{piece}, i == len(pieces)-1)))
	}

	return events
}

// call leaves out the call's id, as the real one does.
func (googleProtocol) call(call ToolCall) object {
	return object{"functionCall": object{"name": call.Name, "args": json.RawMessage(call.Arguments)}, "thoughtSignature": "EqQBCgIYAhIM"}
}

// document is an answer, or one event of it; the counts before the last one are not final.
func (googleProtocol) document(reply Reply, want wanted, parts []object, isLast bool) object {
	candidate := object{"index": 0, "content": object{"role": "model", "parts": parts}}
	tokens := reply.Usage
	usage := object{"promptTokenCount": tokens.Prompt(), "totalTokenCount": tokens.Prompt()}

	if isLast {
		candidate["finishReason"] = map[string]string{
			"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY",
		}[reply.FinishReason]
		usage = object{
			"promptTokenCount": tokens.Prompt(), "cachedContentTokenCount": tokens.CacheRead, "candidatesTokenCount": tokens.Output,
			"thoughtsTokenCount": tokens.Reasoning, "totalTokenCount": tokens.Total(),
		}
	}

	document := object{
		"candidates": []object{candidate}, "modelVersion": want.model, "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
	}
	if !reply.NoUsage {
		document["usageMetadata"] = usage
	}

	return document
}

func (googleProtocol) embedded(reply Reply, want wanted) string {
	vectors := make([]object, 0, want.texts)
	for range want.texts {
		vectors = append(vectors, object{"values": reply.Embedding})
	}

	return encode(object{"embeddings": vectors})
}

func (googleProtocol) contentType() string { return "text/event-stream" }

func (googleProtocol) failed(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return googleError(status, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
	case http.StatusTooManyRequests:
		return googleError(status, "RESOURCE_EXHAUSTED", "You exceeded your current quota.")
	case http.StatusServiceUnavailable:
		return googleError(status, "UNAVAILABLE", "The model is overloaded. Please try again later.")
	case http.StatusGatewayTimeout:
		return googleError(status, "DEADLINE_EXCEEDED", "The deadline expired.")
	}

	if status < http.StatusInternalServerError {
		return googleError(status, "INVALID_ARGUMENT", "The request is not valid.")
	}

	return googleError(status, "INTERNAL", "An internal error has occurred.")
}

func (p googleProtocol) failedEvent() string {
	return "data: " + p.failed(http.StatusServiceUnavailable) + "\n\n"
}

func googleError(status int, word, message string) string {
	return encode(object{"error": object{"code": status, "message": message, "status": word}})
}
