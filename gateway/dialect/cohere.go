package dialect

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/archonhq/archon/gateway"
)

// cohereCodec speaks Cohere's v2 chat and embed.
//
// What has no counterpart there: parallel_tool_calls and user are left out, temperature ends at 1, and a named tool choice
// becomes a required one of that tool alone. Thinking and the tool plan are never shown.
type cohereCodec struct{}

var _ codec = cohereCodec{}

type cohereRequest struct {
	Model            string          `json:"model"`
	Messages         []cohereMessage `json:"messages"`
	Tools            []cohereTool    `json:"tools,omitempty"`
	ToolChoice       string          `json:"tool_choice,omitempty"`
	ResponseFormat   *cohereFormat   `json:"response_format,omitempty"`
	MaxTokens        int64           `json:"max_tokens,omitempty"`
	StopSequences    []string        `json:"stop_sequences,omitempty"`
	Temperature      json.Number     `json:"temperature,omitempty"`
	P                json.Number     `json:"p,omitempty"`
	FrequencyPenalty json.Number     `json:"frequency_penalty,omitempty"`
	PresencePenalty  json.Number     `json:"presence_penalty,omitempty"`
	Seed             json.Number     `json:"seed,omitempty"`
	Thinking         *cohereThinking `json:"thinking,omitempty"`
	Stream           bool            `json:"stream"`
}

type cohereMessage struct {
	Role       string       `json:"role"`
	Content    any          `json:"content,omitempty"` // a text, or []coherePart
	ToolCalls  []cohereCall `json:"tool_calls,omitempty"`
	ToolCallID string       `json:"tool_call_id,omitempty"`
}

type coherePart struct {
	Type     string       `json:"type"`
	Text     string       `json:"text,omitempty"`
	ImageURL *cohereImage `json:"image_url,omitempty"`
}

type cohereImage struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

type cohereCall struct {
	ID       string             `json:"id"`
	Type     string             `json:"type"`
	Function cohereCallFunction `json:"function"`
}

type cohereCallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type cohereTool struct {
	Type     string         `json:"type"`
	Function cohereFunction `json:"function"`
}

type cohereFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

type cohereFormat struct {
	Type       string          `json:"type"`
	JSONSchema json.RawMessage `json:"json_schema,omitempty"`
}

type cohereThinking struct {
	Type        string `json:"type"`
	TokenBudget int64  `json:"token_budget,omitempty"`
}

func (cohereCodec) chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error) {
	for _, refuse := range []func(*Chat) *Failure{refuseChoices, refuseUnknownRoles, refuseUnknownTool, refuseToolImages} {
		if failure := refuse(chat); failure != nil {
			return nil, failure
		}
	}

	document := cohereRequest{
		Model:            attempt.Model,
		Messages:         cohereMessages(chat),
		MaxTokens:        outputLimit(attempt, chat, 0),
		StopSequences:    chat.Stop,
		Temperature:      atMost(chat.Temperature, 1),
		P:                chat.TopP,
		FrequencyPenalty: chat.FrequencyPenalty,
		PresencePenalty:  chat.PresencePenalty,
		Seed:             chat.Seed,
		Thinking:         cohereThinkingOf(chat.ReasoningEffort),
		Stream:           stream,
	}

	document.setTools(chat)

	if chat.JSONObject || chat.JSONSchema != nil {
		document.ResponseFormat = &cohereFormat{Type: "json_object"}
	}

	if chat.JSONSchema != nil {
		document.ResponseFormat.JSONSchema = chat.JSONSchema.Schema
	}

	return post(ctx, attempt, cohereEndpoint("chat"), document)
}

// cohereEndpoint is v2's whatever the base URL says: the list of models, which connection tests ask for, is v1's.
func cohereEndpoint(path string) gateway.Endpoint {
	return gateway.Endpoint{Version: "v2", VersionFixed: true, Path: []string{path}}
}

func refuseToolImages(chat *Chat) *Failure {
	for i := range chat.Messages {
		if chat.Messages[i].Role == "tool" && chat.Messages[i].hasImage() {
			return cantExpress(at("messages", i)+".content", "This provider takes texts only as the results of tools.")
		}
	}

	return nil
}

func cohereMessages(chat *Chat) []cohereMessage {
	messages := make([]cohereMessage, 0, len(chat.Messages))

	for i := range chat.Messages {
		message := &chat.Messages[i]
		translated := cohereMessage{Role: message.Role, Content: cohereContent(message), ToolCallID: message.ToolCallID}

		if isSystem(message.Role) {
			translated.Role = "system"
		}

		for _, call := range message.ToolCalls {
			translated.ToolCalls = append(translated.ToolCalls, cohereCall{
				ID: call.ID, Type: "function",
				Function: cohereCallFunction{Name: call.Name, Arguments: string(argumentsObject(call.Arguments))},
			})
		}

		messages = append(messages, translated)
	}

	return messages
}

// cohereContent is a text where there is nothing else, since only some models take parts; nil is for an assistant that
// did nothing but call tools.
func cohereContent(message *Message) any {
	if !message.hasImage() {
		text := message.text()
		if text == "" && len(message.ToolCalls) > 0 {
			return nil
		}

		return text
	}

	parts := make([]coherePart, 0, len(message.Parts))

	for _, part := range message.Parts {
		switch {
		case part.Image == nil:
			parts = append(parts, coherePart{Type: "text", Text: part.Text})
		case part.Image.URL != "":
			parts = append(parts, coherePart{Type: "image_url", ImageURL: &cohereImage{URL: part.Image.URL, Detail: part.Image.Detail}})
		default:
			parts = append(parts, coherePart{Type: "image_url", ImageURL: &cohereImage{
				URL: "data:" + part.Image.MediaType + ";base64," + part.Image.Base64, Detail: part.Image.Detail,
			}})
		}
	}

	return parts
}

func (d *cohereRequest) setTools(chat *Chat) {
	for _, tool := range offeredTools(chat) {
		d.Tools = append(d.Tools, cohereTool{Type: "function", Function: cohereFunction{
			Name: tool.Name, Description: tool.Description, Parameters: parametersOf(tool),
		}})
	}

	if len(d.Tools) > 0 && (chat.ToolChoice == "required" || chat.ToolName != "") {
		d.ToolChoice = "REQUIRED"
	}
}

func cohereThinkingOf(effort string) *cohereThinking {
	switch word, budget := anthropicEffort(effort); {
	case effort == "none":
		return &cohereThinking{Type: "disabled"}
	case word == "":
		return nil
	default:
		return &cohereThinking{Type: "enabled", TokenBudget: budget}
	}
}

type cohereEmbedRequest struct {
	Model           string   `json:"model"`
	Texts           []string `json:"texts"`
	InputType       string   `json:"input_type"`
	EmbeddingTypes  []string `json:"embedding_types"`
	OutputDimension int64    `json:"output_dimension,omitempty"`
}

// embeddings asks for vectors of documents, unless the client names another of Cohere's input types, such as
// search_query, in a field input_type of its own: OpenAI's format knows no difference, and Cohere insists on one.
func (cohereCodec) embeddings(ctx context.Context, attempt Attempt, request *Embeddings) (*http.Request, error) {
	if request.TokenInputs {
		return nil, cantEmbedTokens()
	}

	inputType := textOf(request.Fields["input_type"])
	if inputType == "" {
		inputType = "search_document"
	}

	return post(ctx, attempt, cohereEndpoint("embed"), cohereEmbedRequest{
		Model: attempt.Model, Texts: request.Inputs, InputType: inputType,
		EmbeddingTypes: []string{"float"}, OutputDimension: request.Dimensions,
	})
}

func (cohereCodec) embedded(attempt Attempt, request *Embeddings, body []byte) (Completion, error) {
	var document struct {
		Embeddings struct {
			Float []json.RawMessage `json:"float"`
		} `json:"embeddings"`
		Meta json.RawMessage `json:"meta"`
	}

	if json.Unmarshal(body, &document) != nil {
		return Completion{}, badAnswer()
	}

	return embeddingsAnswer(request, attempt.Model, document.Embeddings.Float, cohereTokens(document.Meta))
}

func (cohereCodec) failure(attempt Attempt, status int, header http.Header, body []byte) *Failure {
	failure := judge(attempt, status, header, body, "")

	if status == cohereInvalidToken {
		failure.Trigger, failure.Code = Dead, codeOfTrigger(Dead)
	}

	return failure
}

// cohereInvalidToken is Cohere's own status for a key that was revoked.
const cohereInvalidToken = 498
