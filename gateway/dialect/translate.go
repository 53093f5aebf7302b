package dialect

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// What the codecs of types that do not speak OpenAI's format share: reading a [Chat].

// post makes the request with document as its body.
func post(ctx context.Context, attempt Attempt, endpoint gateway.Endpoint, document any) (*http.Request, error) {
	body, err := json.Marshal(document)
	if err != nil { // only what ParseChat did not read could be no JSON
		return nil, cantExpress("", "The request holds something that is not JSON.")
	}

	return newRequest(ctx, attempt, endpoint, body)
}

// cantExpress is the failure of a request that asks for what the provider's type has no words for.
func cantExpress(param, message string) *Failure {
	return &Failure{Trigger: BadRequest, Code: "unsupported_value", Param: param, Message: message}
}

// cantEmbedTokens is its commonest case for embeddings.
func cantEmbedTokens() *Failure {
	return cantExpress("input", "This provider embeds texts only; send texts in place of token ids.")
}

// refuseUnknownRoles refuses the old function role, whose answers belong to calls without ids.
func refuseUnknownRoles(chat *Chat) *Failure {
	for i := range chat.Messages {
		if chat.Messages[i].Role == "function" {
			return cantExpress(at("messages", i)+".role",
				"This provider does not take messages of role function; use tools and messages of role tool.")
		}
	}

	return nil
}

func refuseChoices(chat *Chat) *Failure {
	if chat.N > 1 {
		return cantExpress("n", "This provider gives one choice only; leave n out, or set it to 1.")
	}

	return nil
}

// outputLimit is the bound of the answer's tokens; otherwise counts where neither clamp nor client says one.
func outputLimit(attempt Attempt, chat *Chat, otherwise int64) int64 {
	switch {
	case attempt.MaxOutputTokens > 0:
		return attempt.MaxOutputTokens
	case chat.MaxTokens > 0:
		return chat.MaxTokens
	default:
		return otherwise
	}
}

func isSystem(role string) bool { return role == "system" || role == "developer" }

// systemText is what all system and developer messages say, for types that have one place for it. Where there is nothing
// but such messages they are left to be said as the user's, since no type answers an empty conversation.
func systemText(chat *Chat) (text string, apart bool) {
	var texts []string

	for i := range chat.Messages {
		message := &chat.Messages[i]
		if !isSystem(message.Role) {
			apart = true

			continue
		}

		if said := message.text(); said != "" {
			texts = append(texts, said)
		}
	}

	if !apart {
		return "", false
	}

	return strings.Join(texts, "\n\n"), true
}

// text is a message's texts, and what the model refused earlier, which is a text to every other type.
func (m *Message) text() string {
	if len(m.Parts) == 1 && m.Refusal == "" {
		return m.Parts[0].Text
	}

	var text strings.Builder

	for _, part := range m.Parts {
		text.WriteString(part.Text)
	}

	text.WriteString(m.Refusal)

	return text.String()
}

// hasImage reports whether any part is an image.
func (m *Message) hasImage() bool {
	for _, part := range m.Parts {
		if part.Image != nil {
			return true
		}
	}

	return false
}

// calledFunctions are the names of the functions called so far by the ids of their calls.
func calledFunctions(chat *Chat) map[string]string {
	var names map[string]string

	for i := range chat.Messages {
		for _, call := range chat.Messages[i].ToolCalls {
			if names == nil {
				names = make(map[string]string)
			}

			names[call.ID] = call.Name
		}
	}

	return names
}

// functionOf is the name of the function that a tool message answers.
func functionOf(names map[string]string, index int, message *Message) (string, *Failure) {
	if name := names[message.ToolCallID]; name != "" {
		return name, nil
	}

	if message.Name != "" {
		return message.Name, nil
	}

	return "", cantExpress(at("messages", index)+".tool_call_id",
		"This provider needs the tool call that a tool message answers: none of the messages before has its id.")
}

// argumentsObject is a call's arguments as the object that other types want. Models get them wrong at times, and what
// they said must not make the rest of the conversation impossible.
func argumentsObject(arguments string) json.RawMessage {
	trimmed := strings.TrimSpace(arguments)

	switch {
	case trimmed == "" || trimmed == "null":
		return json.RawMessage("{}")
	case trimmed[0] == '{' && json.Valid([]byte(trimmed)):
		return json.RawMessage(trimmed)
	default:
		return encodeObject("arguments", appendText(nil, arguments))
	}
}

// resultObject is a tool's result as an object: what it said where that is one, else under "output".
func resultObject(text string) json.RawMessage {
	trimmed := strings.TrimSpace(text)
	isJSON := trimmed != "" && json.Valid([]byte(trimmed))

	switch {
	case isJSON && trimmed[0] == '{':
		return json.RawMessage(trimmed)
	case isJSON:
		return encodeObject("output", []byte(trimmed))
	default:
		return encodeObject("output", appendText(nil, text))
	}
}

func encodeObject(key string, value []byte) json.RawMessage {
	object := append(appendText([]byte{'{'}, key), ':')

	return append(append(object, value...), '}')
}

// parametersOf is a tool's schema, for types that insist on one.
func parametersOf(tool Tool) json.RawMessage {
	if tool.Parameters == nil {
		return json.RawMessage(`{"type":"object","properties":{}}`)
	}

	return tool.Parameters
}

// offeredTools are the tools that the model may choose from: none, or one alone where the client named it, which is
// how types without named choices are held to it.
func offeredTools(chat *Chat) []Tool {
	if chat.ToolChoice == "none" {
		return nil
	}

	if chat.ToolName == "" {
		return chat.Tools
	}

	for i := range chat.Tools {
		if chat.Tools[i].Name == chat.ToolName {
			return chat.Tools[i : i+1]
		}
	}

	return nil
}

// refuseUnknownTool refuses a choice of a function that is not among the tools.
func refuseUnknownTool(chat *Chat) *Failure {
	if chat.ToolName != "" && len(offeredTools(chat)) == 0 {
		return cantExpress("tool_choice", "The function that tool_choice names is not among the tools.")
	}

	return nil
}

// atMost is number, or most where it is higher. OpenAI's scale of temperature is twice as long as some others'.
func atMost(number json.Number, most float64) json.Number {
	if value, err := number.Float64(); err != nil || value <= most {
		return number
	}

	return json.Number(strconv.FormatFloat(most, 'g', -1, 64))
}

// newCallID makes the id of a tool call where the provider has none; OpenAI takes at most 40 letters.
func newCallID() string { return "call_" + rand.Text()[:24] }

func newAnswerID() string { return "chatcmpl-" + rand.Text() }
