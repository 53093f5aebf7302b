package dialect

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// googleCodec speaks the Gemini API's generateContent.
//
// What has no counterpart there: parallel_tool_calls and user are left out; an image must come as its bytes. Schemas go
// as JSON Schema (parametersJsonSchema, responseJsonSchema), not as the older subset of OpenAPI, so that nothing in them
// has to be rewritten. Thoughts are never shown.
type googleCodec struct{}

var _ codec = googleCodec{}

type googleRequest struct {
	SystemInstruction *googleContent    `json:"systemInstruction,omitempty"`
	Contents          []googleContent   `json:"contents"`
	Tools             []googleTools     `json:"tools,omitempty"`
	ToolConfig        *googleToolConfig `json:"toolConfig,omitempty"`
	GenerationConfig  googleGeneration  `json:"generationConfig"`
}

type googleContent struct {
	Role  string       `json:"role,omitempty"`
	Parts []googlePart `json:"parts"`
}

// googlePart is one of its fields.
type googlePart struct {
	Text             *string                `json:"text,omitempty"`
	InlineData       *googleBlob            `json:"inlineData,omitempty"`
	FunctionCall     *googleCall            `json:"functionCall,omitempty"`
	FunctionResponse *googleResult          `json:"functionResponse,omitempty"`
	ThoughtSignature googleThoughtSignature `json:"thoughtSignature,omitempty"`
}

type googleBlob struct {
	MimeType string `json:"mimeType"`
	Data     string `json:"data"`
}

type googleCall struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

type googleResult struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

type googleTools struct {
	FunctionDeclarations []googleFunction `json:"functionDeclarations"`
}

type googleFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

type googleToolConfig struct {
	FunctionCallingConfig googleCalling `json:"functionCallingConfig"`
}

type googleCalling struct {
	Mode                 string   `json:"mode"`
	AllowedFunctionNames []string `json:"allowedFunctionNames,omitempty"`
}

type googleGeneration struct {
	CandidateCount     int64           `json:"candidateCount,omitempty"`
	MaxOutputTokens    int64           `json:"maxOutputTokens,omitempty"`
	StopSequences      []string        `json:"stopSequences,omitempty"`
	Temperature        json.Number     `json:"temperature,omitempty"`
	TopP               json.Number     `json:"topP,omitempty"`
	FrequencyPenalty   json.Number     `json:"frequencyPenalty,omitempty"`
	PresencePenalty    json.Number     `json:"presencePenalty,omitempty"`
	Seed               json.Number     `json:"seed,omitempty"`
	ResponseMimeType   string          `json:"responseMimeType,omitempty"`
	ResponseJSONSchema json.RawMessage `json:"responseJsonSchema,omitempty"`
	ThinkingConfig     *googleThinking `json:"thinkingConfig,omitempty"`
}

type googleThinking struct {
	ThinkingBudget int64 `json:"thinkingBudget"`
}

func (googleCodec) chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error) {
	for _, refuse := range []func(*Chat) *Failure{refuseUnknownRoles, refuseUnknownTool, refuseImageURLs} {
		if failure := refuse(chat); failure != nil {
			return nil, failure
		}
	}

	system, apart := systemText(chat)

	contents, failure := googleContents(attempt.Model, chat, apart)
	if failure != nil {
		return nil, failure
	}

	document := googleRequest{Contents: contents, GenerationConfig: googleGenerationOf(attempt, chat)}
	if system != "" {
		document.SystemInstruction = &googleContent{Parts: []googlePart{{Text: &system}}}
	}

	document.setTools(chat)

	endpoint := googleEndpoint(attempt.Model, "generateContent")
	if stream {
		endpoint = googleEndpoint(attempt.Model, "streamGenerateContent")
		endpoint.Query = map[string][]string{"alt": {"sse"}}
	}

	return post(ctx, attempt, endpoint, document)
}

// refuseImageURLs refuses images that the provider would have to fetch; [Client] fetches nothing in its place, since a
// URL of the caller's could point into this server's own network.
func refuseImageURLs(chat *Chat) *Failure {
	for i := range chat.Messages {
		for _, part := range chat.Messages[i].Parts {
			if part.Image != nil && part.Image.URL != "" {
				return cantExpress(at("messages", i)+".content",
					"This provider takes images as data URLs only: data:<media type>;base64,<the image>.")
			}
		}
	}

	return nil
}

// googleEndpoint is where a model's method is; tuned models have a folder of their own.
func googleEndpoint(model, method string) gateway.Endpoint {
	folder, name := "models", model
	if before, after, found := strings.Cut(model, "/"); found && (before == "models" || before == "tunedModels") {
		folder, name = before, after
	}

	return gateway.Endpoint{Version: "v1beta", Path: []string{folder, name + ":" + method}}
}

// googleContents are the turns of the conversation. Results of parallel calls stand in one turn: as many are expected
// there as there were calls.
func googleContents(model string, chat *Chat, systemApart bool) ([]googleContent, *Failure) {
	contents := make([]googleContent, 0, len(chat.Messages))
	names := calledFunctions(chat)
	resultsLast := false

	for i := range chat.Messages {
		message := &chat.Messages[i]
		if isSystem(message.Role) && systemApart {
			continue
		}

		content := googleContent{Role: "user", Parts: googleParts(message)}

		switch message.Role {
		case "tool":
			result, failure := googleResultOf(names, i, message)
			if failure != nil {
				return nil, failure
			}

			if content.Parts = result; resultsLast {
				last := &contents[len(contents)-1]
				last.Parts = append(last.Parts, result...)

				continue
			}
		case "assistant":
			content.Role = "model"
			content.Parts = append(content.Parts, googleCalls(model, message.ToolCalls)...)
		}

		if len(content.Parts) > 0 { // a turn without parts is refused there
			contents = append(contents, content)
			resultsLast = message.Role == "tool"
		}
	}

	return contents, nil
}

func googleParts(message *Message) []googlePart {
	var parts []googlePart

	for _, part := range message.Parts {
		switch {
		case part.Image != nil:
			parts = append(parts, googlePart{InlineData: &googleBlob{MimeType: part.Image.MediaType, Data: part.Image.Base64}})
		case part.Text != "":
			parts = append(parts, googlePart{Text: &part.Text})
		}
	}

	if message.Refusal != "" {
		parts = append(parts, googlePart{Text: &message.Refusal})
	}

	return parts
}

func googleResultOf(names map[string]string, index int, message *Message) ([]googlePart, *Failure) {
	name, failure := functionOf(names, index, message)
	if failure != nil {
		return nil, failure
	}

	parts := []googlePart{{FunctionResponse: &googleResult{Name: name, Response: resultObject(message.text())}}}

	for _, part := range googleParts(message) {
		if part.InlineData != nil {
			parts = append(parts, part)
		}
	}

	return parts, nil
}

// googleThoughtSignature goes back with a call. OpenAI's format has no place for it, and from Gemini 3 on a call without
// one is refused; this word is documented for calls whose signature is not known.
type googleThoughtSignature string

const unknownThoughtSignature googleThoughtSignature = "skip_thought_signature_validator"

// unsignedGemini are the models that want no signature.
var unsignedGemini = regexp.MustCompile(`(^|/)(gemini-[12][.-]|gemma|learnlm)`)

func googleCalls(model string, calls []ToolCall) []googlePart {
	parts := make([]googlePart, 0, len(calls))

	for i, call := range calls {
		part := googlePart{FunctionCall: &googleCall{Name: call.Name, Args: argumentsObject(call.Arguments)}}
		if i == 0 && !unsignedGemini.MatchString(model) { // the first of parallel calls carries it
			part.ThoughtSignature = unknownThoughtSignature
		}

		parts = append(parts, part)
	}

	return parts
}

func (d *googleRequest) setTools(chat *Chat) {
	if len(chat.Tools) == 0 {
		return
	}

	functions := make([]googleFunction, 0, len(chat.Tools))
	for _, tool := range chat.Tools {
		functions = append(functions, googleFunction{Name: tool.Name, Description: tool.Description, Parameters: tool.Parameters})
	}

	d.Tools = []googleTools{{FunctionDeclarations: functions}}

	switch {
	case chat.ToolName != "":
		d.ToolConfig = &googleToolConfig{googleCalling{Mode: "ANY", AllowedFunctionNames: []string{chat.ToolName}}}
	case chat.ToolChoice == "required":
		d.ToolConfig = &googleToolConfig{googleCalling{Mode: "ANY"}}
	case chat.ToolChoice == "none":
		d.ToolConfig = &googleToolConfig{googleCalling{Mode: "NONE"}}
	}
}

func googleGenerationOf(attempt Attempt, chat *Chat) googleGeneration {
	config := googleGeneration{
		MaxOutputTokens:  outputLimit(attempt, chat, 0),
		StopSequences:    chat.Stop,
		Temperature:      chat.Temperature,
		TopP:             chat.TopP,
		FrequencyPenalty: chat.FrequencyPenalty,
		PresencePenalty:  chat.PresencePenalty,
		Seed:             chat.Seed,
		ThinkingConfig:   googleThinkingOf(chat.ReasoningEffort),
	}

	if chat.N > 1 {
		config.CandidateCount = chat.N
	}

	if chat.JSONObject || chat.JSONSchema != nil {
		config.ResponseMimeType = "application/json"
	}

	if chat.JSONSchema != nil {
		config.ResponseJSONSchema = chat.JSONSchema.Schema
	}

	return config
}

// googleThinkingOf is the budget in tokens that Google itself sets for an effort in OpenAI's format.
func googleThinkingOf(effort string) *googleThinking {
	const low, medium, high = 1024, 8192, 24576

	switch effort {
	case "":
		return nil
	case "none":
		return &googleThinking{}
	case "minimal", "low":
		return &googleThinking{ThinkingBudget: low}
	case "medium":
		return &googleThinking{ThinkingBudget: medium}
	default: // high and beyond
		return &googleThinking{ThinkingBudget: high}
	}
}
