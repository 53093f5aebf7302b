package dialect

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// anthropicCodec speaks Anthropic's messages.
//
// What has no counterpart there: seed, the penalties and logit_bias are left out; temperature ends at 1; where both
// temperature and top_p are sent, temperature counts, since newer models refuse both together. json_schema is answered by a
// tool that the model is made to call, whose input is the answer; json_object is asked for in the system text. Thinking
// is never shown.
type anthropicCodec struct{}

var _ codec = anthropicCodec{}

// anthropicMaxTokens is sent where nobody says a limit: it is mandatory there.
const anthropicMaxTokens = 4096

const anthropicWantsJSON = "Answer with one JSON object and nothing else: no text around it, no code fence."

type anthropicRequest struct {
	Model         string               `json:"model"`
	MaxTokens     int64                `json:"max_tokens"`
	System        string               `json:"system,omitempty"`
	Messages      []anthropicMessage   `json:"messages"`
	Tools         []anthropicTool      `json:"tools,omitempty"`
	ToolChoice    *anthropicToolChoice `json:"tool_choice,omitempty"`
	StopSequences []string             `json:"stop_sequences,omitempty"`
	Temperature   json.Number          `json:"temperature,omitempty"`
	TopP          json.Number          `json:"top_p,omitempty"`
	Thinking      *anthropicThinking   `json:"thinking,omitempty"`
	OutputConfig  *anthropicOutput     `json:"output_config,omitempty"`
	Metadata      *anthropicMetadata   `json:"metadata,omitempty"`
	Stream        bool                 `json:"stream,omitempty"`
}

type anthropicMessage struct {
	Role    string           `json:"role"`
	Content []anthropicBlock `json:"content"`
}

// anthropicBlock is a block of any type; Type says which fields count.
type anthropicBlock struct {
	Type      string           `json:"type"`
	Text      string           `json:"text,omitempty"`
	Source    *anthropicSource `json:"source,omitempty"`
	ID        string           `json:"id,omitempty"`
	Name      string           `json:"name,omitempty"`
	Input     json.RawMessage  `json:"input,omitempty"`
	ToolUseID string           `json:"tool_use_id,omitempty"`
	Content   []anthropicBlock `json:"content,omitempty"`
}

type anthropicSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitempty"`
	Data      string `json:"data,omitempty"`
	URL       string `json:"url,omitempty"`
}

type anthropicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type anthropicToolChoice struct {
	Type            string `json:"type"`
	Name            string `json:"name,omitempty"`
	DisableParallel bool   `json:"disable_parallel_tool_use,omitempty"`
}

type anthropicMetadata struct {
	UserID string `json:"user_id"`
}

func (anthropicCodec) chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error) {
	for _, refuse := range []func(*Chat) *Failure{refuseChoices, refuseUnknownRoles, refuseUnknownTool} {
		if failure := refuse(chat); failure != nil {
			return nil, failure
		}
	}

	system, apart := systemText(chat)
	document := anthropicRequest{
		Model:         attempt.Model,
		MaxTokens:     outputLimit(attempt, chat, anthropicMaxTokens),
		System:        system,
		Messages:      anthropicMessages(chat, apart),
		StopSequences: chat.Stop,
		Stream:        stream,
	}

	document.setTools(chat)
	document.setSampling(chat)
	document.setThinking(chat)

	if chat.JSONObject {
		document.System = strings.TrimSpace(document.System + "\n\n" + anthropicWantsJSON)
	}

	if maxUserID := 256; chat.User != "" && len(chat.User) <= maxUserID {
		document.Metadata = &anthropicMetadata{UserID: chat.User}
	}

	return post(ctx, attempt, gateway.Endpoint{Version: "v1", Path: []string{"messages"}}, document)
}

// anthropicMessages puts messages of one side that follow each other into one, above all the results of parallel tool
// calls, which must all stand in the turn after the calls, before anything else.
func anthropicMessages(chat *Chat, systemApart bool) []anthropicMessage {
	messages := make([]anthropicMessage, 0, len(chat.Messages))

	for i := range chat.Messages {
		message := &chat.Messages[i]
		if isSystem(message.Role) && systemApart {
			continue
		}

		role, blocks := "user", anthropicBlocks(message)
		if message.Role == "assistant" {
			role = message.Role
		}

		switch last := len(messages) - 1; {
		case len(blocks) == 0: // an empty message is refused there
		case last >= 0 && messages[last].Role == role:
			messages[last].Content = append(messages[last].Content, blocks...)
		default:
			messages = append(messages, anthropicMessage{Role: role, Content: blocks})
		}
	}

	trimLastText(messages)

	return messages
}

// trimLastText takes the spaces off an answer that the model shall go on with: they are refused there.
func trimLastText(messages []anthropicMessage) {
	last := len(messages) - 1
	if last < 0 || messages[last].Role != "assistant" {
		return
	}

	blocks := messages[last].Content
	if block := &blocks[len(blocks)-1]; block.Type == "text" {
		block.Text = strings.TrimRight(block.Text, " \t\r\n")

		if block.Text == "" && len(blocks) > 1 {
			messages[last].Content = blocks[:len(blocks)-1]
		}
	}
}

func anthropicBlocks(message *Message) []anthropicBlock {
	blocks := anthropicParts(message)

	if message.Role == "tool" {
		return []anthropicBlock{{Type: "tool_result", ToolUseID: anthropicID(message.ToolCallID), Content: blocks}}
	}

	for _, call := range message.ToolCalls {
		blocks = append(blocks, anthropicBlock{
			Type: "tool_use", ID: anthropicID(call.ID), Name: call.Name, Input: argumentsObject(call.Arguments),
		})
	}

	return blocks
}

func anthropicParts(message *Message) []anthropicBlock {
	var blocks []anthropicBlock

	for _, part := range message.Parts {
		switch {
		case part.Image != nil && part.Image.URL != "":
			blocks = append(blocks, anthropicBlock{Type: "image", Source: &anthropicSource{Type: "url", URL: part.Image.URL}})
		case part.Image != nil:
			blocks = append(blocks, anthropicBlock{Type: "image", Source: &anthropicSource{
				Type: "base64", MediaType: part.Image.MediaType, Data: part.Image.Base64,
			}})
		case part.Text != "":
			blocks = append(blocks, anthropicBlock{Type: "text", Text: part.Text})
		}
	}

	if message.Refusal != "" {
		blocks = append(blocks, anthropicBlock{Type: "text", Text: message.Refusal})
	}

	return blocks
}

// anthropicID is an id in the letters that Anthropic takes; other providers' ids have more.
func anthropicID(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}

		return '_'
	}, id)
}

func (d *anthropicRequest) setTools(chat *Chat) {
	// With choice none the tools stay: the conversation may hold calls of them.
	for _, tool := range chat.Tools {
		d.Tools = append(d.Tools, anthropicTool{Name: tool.Name, Description: tool.Description, InputSchema: parametersOf(tool)})
	}

	if chat.JSONSchema != nil {
		d.setAnswerTool(chat)
	} else if len(d.Tools) > 0 {
		d.ToolChoice = anthropicChoice(chat)
	}

	if choice := d.ToolChoice; choice != nil && choice.Type != "none" {
		choice.DisableParallel = chat.ParallelToolCalls != nil && !*chat.ParallelToolCalls
	}
}

func anthropicChoice(chat *Chat) *anthropicToolChoice {
	switch {
	case chat.ToolName != "":
		return &anthropicToolChoice{Type: "tool", Name: chat.ToolName}
	case chat.ToolChoice == "required":
		return &anthropicToolChoice{Type: "any"}
	case chat.ToolChoice == "none":
		return &anthropicToolChoice{Type: "none"}
	case chat.ParallelToolCalls != nil:
		return &anthropicToolChoice{Type: "auto"}
	default:
		return nil
	}
}

// setAnswerTool adds the tool whose input is the answer. The model must call it, or one of the client's where it may.
func (d *anthropicRequest) setAnswerTool(chat *Chat) {
	name := answerTool(chat)
	schema := parametersOf(Tool{Parameters: chat.JSONSchema.Schema})

	switch {
	case chat.ToolName != "":
		d.ToolChoice = &anthropicToolChoice{Type: "tool", Name: chat.ToolName}
	case chat.ToolChoice == "required":
		d.ToolChoice = &anthropicToolChoice{Type: "any"}

		return // the answer's tool would be a way around it
	case len(chat.Tools) > 0 && chat.ToolChoice != "none":
		d.ToolChoice = &anthropicToolChoice{Type: "any"}
	default:
		d.ToolChoice = &anthropicToolChoice{Type: "tool", Name: name}
	}

	d.Tools = append(d.Tools, anthropicTool{
		Name: name, Description: "Gives the final answer, in the form that is wanted.", InputSchema: schema,
	})
}

// answerTool is the name of the tool that stands for json_schema, "" where there is none.
func answerTool(chat *Chat) string {
	if chat.JSONSchema == nil {
		return ""
	}

	name := "json_answer"
	for slices.ContainsFunc(chat.Tools, func(tool Tool) bool { return tool.Name == name }) {
		name += "_"
	}

	return name
}

func (anthropicCodec) embeddings(context.Context, Attempt, *Embeddings) (*http.Request, error) {
	return nil, cantExpress("model", "Anthropic has no embeddings; choose a model of another provider.")
}

func (anthropicCodec) embedded(Attempt, *Embeddings, []byte) (Completion, error) {
	return Completion{}, badAnswer()
}

func (anthropicCodec) failure(attempt Attempt, status int, header http.Header, body []byte) *Failure {
	var document struct {
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	}

	_ = json.Unmarshal(body, &document) // a proxy's page is judged by its status

	code := document.Error.Type
	failure := judge(attempt, status, header, body, code, anthropicCode(code))

	// An account without credit, or over a limit that its owner set, is a bad request there.
	text := strings.ToLower(document.Error.Message)
	if status == http.StatusBadRequest && (strings.Contains(text, "usage limits") || strings.Contains(text, "credit balance")) {
		failure.Trigger = Dead
	}

	return failure
}

// anthropicCode is one of Anthropic's error types, "" for anything else.
func anthropicCode(kind string) string {
	if anthropicStatus(kind) != http.StatusInternalServerError || kind == "api_error" {
		return kind
	}

	return ""
}

// anthropicStatus is the status of an error type: within a stream it comes without one.
func anthropicStatus(kind string) int {
	switch kind {
	case "invalid_request_error":
		return http.StatusBadRequest
	case "authentication_error":
		return http.StatusUnauthorized
	case "billing_error":
		return http.StatusPaymentRequired
	case "permission_error":
		return http.StatusForbidden
	case "not_found_error":
		return http.StatusNotFound
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "rate_limit_error":
		return http.StatusTooManyRequests
	case "timeout_error":
		return http.StatusGatewayTimeout
	case "overloaded_error":
		return statusOverloaded
	default: // api_error and later ones
		return http.StatusInternalServerError
	}
}
