package dialect

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// ollamaCodec speaks Ollama's own API.
//
// What has no counterpart there: parallel_tool_calls and user are left out; a model can't be made to call a tool; an image
// must come as its bytes. Thinking is never shown.
type ollamaCodec struct{}

var _ codec = ollamaCodec{}

type ollamaRequest struct {
	Model    string          `json:"model"`
	Messages []ollamaMessage `json:"messages"`
	Tools    []ollamaTool    `json:"tools,omitempty"`
	Format   json.RawMessage `json:"format,omitempty"`
	Think    any             `json:"think,omitempty"` // a boolean, or a level
	Stream   bool            `json:"stream"`          // a stream is its default
	Options  ollamaOptions   `json:"options"`
}

type ollamaMessage struct {
	Role      string       `json:"role"`
	Content   string       `json:"content"`
	Images    []string     `json:"images,omitempty"`
	ToolCalls []ollamaCall `json:"tool_calls,omitempty"`
	ToolName  string       `json:"tool_name,omitempty"`
}

type ollamaCall struct {
	Function ollamaCallFunction `json:"function"`
}

type ollamaCallFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type ollamaTool struct {
	Type     string         `json:"type"`
	Function ollamaFunction `json:"function"`
}

type ollamaFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

type ollamaOptions struct {
	NumPredict       int64       `json:"num_predict,omitempty"`
	Stop             []string    `json:"stop,omitempty"`
	Temperature      json.Number `json:"temperature,omitempty"`
	TopP             json.Number `json:"top_p,omitempty"`
	FrequencyPenalty json.Number `json:"frequency_penalty,omitempty"`
	PresencePenalty  json.Number `json:"presence_penalty,omitempty"`
	Seed             json.Number `json:"seed,omitempty"`
}

func (ollamaCodec) chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error) {
	for _, refuse := range []func(*Chat) *Failure{refuseChoices, refuseUnknownRoles, refuseForcedTools, refuseImageURLs} {
		if failure := refuse(chat); failure != nil {
			return nil, failure
		}
	}

	messages, failure := ollamaMessages(chat)
	if failure != nil {
		return nil, failure
	}

	document := ollamaRequest{
		Model:    attempt.Model,
		Messages: messages,
		Format:   ollamaFormat(chat),
		Think:    ollamaThink(attempt.Model, chat.ReasoningEffort),
		Stream:   stream,
		Options: ollamaOptions{
			NumPredict:       outputLimit(attempt, chat, 0),
			Stop:             chat.Stop,
			Temperature:      chat.Temperature,
			TopP:             chat.TopP,
			FrequencyPenalty: chat.FrequencyPenalty,
			PresencePenalty:  chat.PresencePenalty,
			Seed:             chat.Seed,
		},
	}

	for _, tool := range offeredTools(chat) {
		document.Tools = append(document.Tools, ollamaTool{Type: "function", Function: ollamaFunction{
			Name: tool.Name, Description: tool.Description, Parameters: parametersOf(tool),
		}})
	}

	return post(ctx, attempt, ollamaEndpoint("chat"), document)
}

func ollamaEndpoint(path string) gateway.Endpoint {
	return gateway.Endpoint{Path: []string{"api", path}}
}

func refuseForcedTools(chat *Chat) *Failure {
	if chat.ToolName != "" || chat.ToolChoice == "required" {
		return cantExpress("tool_choice", "This provider's models can't be made to call a tool; use tool_choice auto or none.")
	}

	return nil
}

func ollamaMessages(chat *Chat) ([]ollamaMessage, *Failure) {
	messages := make([]ollamaMessage, 0, len(chat.Messages))
	names := calledFunctions(chat)

	for i := range chat.Messages {
		message := &chat.Messages[i]
		translated := ollamaMessage{Role: message.Role, Content: message.text()}

		switch {
		case isSystem(message.Role):
			translated.Role = "system"
		case message.Role == "tool":
			name, failure := functionOf(names, i, message)
			if failure != nil {
				return nil, failure
			}

			translated.ToolName = name
		}

		for _, part := range message.Parts {
			if part.Image != nil {
				translated.Images = append(translated.Images, part.Image.Base64)
			}
		}

		for _, call := range message.ToolCalls {
			translated.ToolCalls = append(translated.ToolCalls, ollamaCall{ollamaCallFunction{
				Name: call.Name, Arguments: argumentsObject(call.Arguments),
			}})
		}

		messages = append(messages, translated)
	}

	return messages, nil
}

func ollamaFormat(chat *Chat) json.RawMessage {
	switch {
	case chat.JSONSchema != nil && chat.JSONSchema.Schema != nil:
		return chat.JSONSchema.Schema
	case chat.JSONSchema != nil || chat.JSONObject:
		return json.RawMessage(`"json"`)
	default:
		return nil
	}
}

// ollamaThink is a level for the family that has levels, and on or off for the others.
func ollamaThink(model, effort string) any {
	word, _ := anthropicEffort(effort)

	switch {
	case effort == "":
		return nil
	case effort == "none":
		return false
	case strings.Contains(model, "gpt-oss") && effort == "medium":
		return effort
	case strings.Contains(model, "gpt-oss"):
		return word
	default:
		return true
	}
}

type ollamaEmbedRequest struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Dimensions int64    `json:"dimensions,omitempty"`
}

func (ollamaCodec) embeddings(ctx context.Context, attempt Attempt, request *Embeddings) (*http.Request, error) {
	if request.TokenInputs {
		return nil, cantEmbedTokens()
	}

	return post(ctx, attempt, ollamaEndpoint("embed"), ollamaEmbedRequest{
		Model: attempt.Model, Input: request.Inputs, Dimensions: request.Dimensions,
	})
}

func (ollamaCodec) embedded(attempt Attempt, request *Embeddings, body []byte) (Completion, error) {
	var document struct {
		Model      string            `json:"model"`
		Embeddings []json.RawMessage `json:"embeddings"`
		ollamaCounts
	}

	if json.Unmarshal(body, &document) != nil {
		return Completion{}, badAnswer()
	}

	if document.Model == "" {
		document.Model = attempt.Model
	}

	return embeddingsAnswer(request, document.Model, document.Embeddings, document.usage())
}

func (ollamaCodec) failure(attempt Attempt, status int, header http.Header, body []byte) *Failure {
	failure := judge(attempt, status, header, body, "")

	switch status {
	case http.StatusNotFound: // the model was not pulled
		failure.Trigger, failure.Code = Dead, codeOfTrigger(Dead)
	case http.StatusServiceUnavailable: // its queue is full
		failure.Trigger, failure.Code = RateLimit, codeOfTrigger(RateLimit)
	}

	return failure
}
