package dialect

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// maxChoices is OpenAI's bound of n; maxTokensAsked only keeps sums of tokens far from overflow.
const (
	maxChoices     = 128
	maxTokensAsked = 1 << 40
)

// maxModelBytes bounds the name of a model, which goes into the log with the call: no provider's are half as long.
const maxModelBytes = 256

// ParseChat reads a chat completion request. Its error is a *[RequestError]. The result keeps parts of body, which must
// not be changed afterwards.
func ParseChat(body []byte) (*Chat, error) {
	r := &reader{}

	fields := r.fields(body)
	if r.err != nil {
		return nil, r.err
	}

	chat := &Chat{
		Fields: fields,
		Model:  r.model(fields["model"]),
		Stream: r.flag("stream", fields["stream"]),
		User:   r.text("user", fields["user"]),
		N:      max(1, r.positive("n", fields["n"], maxChoices)),
		Stop:   r.texts("stop", fields["stop"]),

		Temperature:      r.number("temperature", fields["temperature"]),
		TopP:             r.number("top_p", fields["top_p"]),
		FrequencyPenalty: r.number("frequency_penalty", fields["frequency_penalty"]),
		PresencePenalty:  r.number("presence_penalty", fields["presence_penalty"]),
		Seed:             r.number("seed", fields["seed"]),

		ReasoningEffort:   r.text("reasoning_effort", fields["reasoning_effort"]),
		ParallelToolCalls: r.optionalFlag("parallel_tool_calls", fields["parallel_tool_calls"]),
	}

	chat.readLimits(r)
	chat.readMessages(r)
	chat.readTools(r)
	chat.readFormat(r)
	chat.readForeign()

	if r.err != nil {
		return nil, r.err
	}

	chat.Needs.Streaming = chat.Stream

	return chat, nil
}

func (c *Chat) readLimits(r *reader) {
	older := r.positive("max_tokens", c.Fields["max_tokens"], maxTokensAsked)
	newer := r.positive("max_completion_tokens", c.Fields["max_completion_tokens"], maxTokensAsked)

	c.MaxTokens = newer
	if newer == 0 {
		c.MaxTokens = older
	}

	options := r.object("stream_options", c.Fields["stream_options"])
	if options != nil && !c.Stream {
		r.refuse(codeInvalidValue, "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	}

	c.IncludeUsage = r.flag("stream_options.include_usage", member(options, "include_usage"))
}

func (c *Chat) readMessages(r *reader) {
	const param = "messages"

	messages := r.list(param, c.Fields[param])
	if messages == nil {
		r.missing(param)
	}

	for element := range elements(messages) {
		name := at(param, len(c.Messages))
		if element[0] != '{' {
			r.wrongType(name, "an object")

			return
		}

		c.Messages = append(c.Messages, c.readMessage(r, name, element))
	}

	if len(c.Messages) == 0 {
		r.refuse(codeInvalidValue, param, "Invalid value for 'messages': expected at least one message.")
	}
}

func (c *Chat) readMessage(r *reader, param string, object []byte) Message {
	var (
		message Message
		content []byte
		calls   []byte
	)

	for key, value := range members(object) {
		switch string(key) {
		case "role":
			message.Role = r.text(param+".role", value)
		case "name":
			message.Name = r.text(param+".name", value)
		case "content":
			content = value
		case "tool_calls":
			calls = r.list(param+".tool_calls", value)
		case "tool_call_id":
			message.ToolCallID = r.text(param+".tool_call_id", value)
		case "refusal":
			message.Refusal = r.text(param+".refusal", value)
		case "function_call", "audio":
			if given(value) {
				c.foreign(param+"."+string(key), value)
			}
		}
	}

	message.Parts = c.readContent(r, param+".content", content)
	message.ToolCalls = c.readCalls(r, param+".tool_calls", calls)
	message.check(r, param, given(content))

	return message
}

// check refuses a message that lacks what its role needs.
func (m *Message) check(r *reader, param string, hasContent bool) {
	switch m.Role {
	case "system", "developer", "user":
		if !hasContent {
			r.missing(param + ".content")
		}
	case "tool":
		if m.ToolCallID == "" {
			r.missing(param + ".tool_call_id")
		}

		if !hasContent {
			r.missing(param + ".content")
		}
	case "assistant", "function":
	case "":
		r.missing(param + ".role")
	default:
		r.refuse(codeInvalidValue, param+".role", "Invalid value for '"+param+
			".role': supported values are system, developer, user, assistant, tool and function.")
	}
}

func (c *Chat) readContent(r *reader, param string, content []byte) []Part {
	if !given(content) {
		return nil
	}

	switch content[0] {
	case '"':
		return []Part{{Text: textOf(content)}}
	case '[':
	default:
		r.wrongType(param, "a string or an array of content parts")

		return nil
	}

	var (
		parts []Part
		index int
	)

	for element := range elements(content) {
		if part, understood := c.readPart(r, at(param, index), element); understood {
			parts = append(parts, part)
		}

		index++
	}

	return parts
}

func (c *Chat) readPart(r *reader, param string, element []byte) (part Part, understood bool) {
	if element[0] != '{' {
		r.wrongType(param, "an object")

		return Part{}, false
	}

	switch kind := r.text(param+".type", member(element, "type")); kind {
	case "text", "refusal":
		text := member(element, kind)
		if !given(text) {
			r.missing(param + "." + kind)
		}

		return Part{Text: r.text(param+"."+kind, text)}, true
	case "image_url":
		c.Needs.Vision = true

		return Part{Image: readImage(r, param+".image_url", member(element, "image_url"))}, true
	case "":
		r.missing(param + ".type")
	default:
		c.foreign(param, element)
	}

	return Part{}, false
}

// readImage reads {url, detail}; some clients send the URL alone.
func readImage(r *reader, param string, value []byte) *Image {
	image := &Image{}

	switch kindOf(value) {
	case '"':
		image.URL = textOf(value)
	case '{':
		image.URL = r.text(param+".url", member(value, "url"))
		image.Detail = r.text(param+".detail", member(value, "detail"))
	default:
		r.wrongType(param, "an object")
	}

	if image.URL == "" {
		r.missing(param + ".url")
	}

	header, data, _ := strings.Cut(image.URL, ",")
	if len(header) < len("data:") || !strings.EqualFold(header[:len("data:")], "data:") {
		return image
	}

	mediaType, isBase64 := strings.CutSuffix(header[len("data:"):], ";base64")
	if !isBase64 || mediaType == "" || !isBase64Text(data) {
		r.refuse(codeInvalidValue, param+".url", "Invalid value for '"+param+
			".url': a data URL must be data:<media type>;base64,<the image in base64>.")
	}

	mediaType, _, _ = strings.Cut(mediaType, ";")

	return &Image{MediaType: mediaType, Base64: data, Detail: image.Detail}
}

// isBase64Text looks at the letters only: decoding megabytes twice would cost more than it finds.
func isBase64Text(text string) bool {
	trimmed := strings.TrimRight(text, "=")

	return trimmed != "" && len(text)-len(trimmed) <= base64.StdEncoding.EncodedLen(1)-2 &&
		!strings.ContainsFunc(trimmed, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/'
		})
}

func (c *Chat) readCalls(r *reader, param string, list []byte) []ToolCall {
	var calls []ToolCall

	for element := range elements(list) {
		name := at(param, len(calls))

		function := r.object(name+".function", member(element, "function"))
		if function == nil {
			if kind := textOf(member(element, "type")); kind != "" && kind != "function" {
				c.foreign(name, element)

				continue
			}

			r.missing(name + ".function")
		}

		call := ToolCall{
			ID:        r.text(name+".id", member(element, "id")),
			Name:      r.text(name+".function.name", member(function, "name")),
			Arguments: r.text(name+".function.arguments", member(function, "arguments")),
		}
		if call.Name == "" {
			r.missing(name + ".function.name")
		}

		calls = append(calls, call)
	}

	return calls
}

func (c *Chat) readTools(r *reader) {
	for element := range elements(r.list("tools", c.Fields["tools"])) {
		c.Needs.FunctionCalling = true

		name := at("tools", len(c.Tools))
		if kind := textOf(member(element, "type")); kind != "" && kind != "function" {
			c.foreign("tools", element)

			continue
		}

		function := r.object(name+".function", member(element, "function"))
		tool := Tool{
			Name:        r.text(name+".function.name", member(function, "name")),
			Description: r.text(name+".function.description", member(function, "description")),
			Parameters:  json.RawMessage(r.object(name+".function.parameters", member(function, "parameters"))),
			Strict:      r.optionalFlag(name+".function.strict", member(function, "strict")),
		}
		if tool.Name == "" {
			r.missing(name + ".function.name")
		}

		c.Tools = append(c.Tools, tool)
	}

	c.readToolChoice(r, c.Fields["tool_choice"])
}

func (c *Chat) readToolChoice(r *reader, choice []byte) {
	const param = "tool_choice"

	switch kindOf(choice) {
	case 0, 'n':
	case '"':
		c.ToolChoice = textOf(choice)
		if !slices.Contains([]string{"none", "auto", "required"}, c.ToolChoice) {
			r.refuse(codeInvalidValue, param, "Invalid value for 'tool_choice': supported values are none, auto, required, or a function.")
		}
	case '{':
		if kind := textOf(member(choice, "type")); kind != "" && kind != "function" {
			c.foreign(param, choice)

			return
		}

		c.ToolName = r.text(param+".function.name", member(member(choice, "function"), "name"))
		if c.ToolName == "" {
			r.missing(param + ".function.name")
		}
	default:
		r.wrongType(param, "a string or an object")
	}
}

func (c *Chat) readFormat(r *reader) {
	const param = "response_format"

	format := r.object(param, c.Fields[param])
	if format == nil {
		return
	}

	switch r.text(param+".type", member(format, "type")) {
	case "text":
	case "json_object":
		c.JSONObject = true
	case "json_schema":
		schema := r.object(param+".json_schema", member(format, "json_schema"))
		c.JSONSchema = &JSONSchema{
			Name:   r.text(param+".json_schema.name", member(schema, "name")),
			Schema: json.RawMessage(r.object(param+".json_schema.schema", member(schema, "schema"))),
			Strict: r.optionalFlag(param+".json_schema.strict", member(schema, "strict")),
		}

		if c.JSONSchema.Name == "" {
			r.missing(param + ".json_schema.name")
		}
	case "":
		r.missing(param + ".type")
	default:
		c.foreign(param, format)
	}

	c.Needs.JSONMode = c.JSONObject || c.JSONSchema != nil
}

// readForeign finds what has no counterpart elsewhere, and would be lost without a word.
func (c *Chat) readForeign() {
	if given(c.Fields["functions"]) {
		c.Needs.FunctionCalling = true
		c.foreign("functions", c.Fields["functions"])
	}

	for _, name := range []string{"function_call", "audio", "web_search_options"} {
		if given(c.Fields[name]) {
			c.foreign(name, c.Fields[name])
		}
	}

	for modality := range elements(c.Fields["modalities"]) {
		if textOf(modality) != "text" {
			c.foreign("modalities", modality)
		}
	}
}

// foreign notes what is not understood, and how much of it there is.
func (c *Chat) foreign(param string, value []byte) {
	if c.Foreign == "" {
		c.Foreign = param
	}

	c.foreignBytes += len(value)
}

// ParseEmbeddings reads an embeddings request. Its error is a *[RequestError]. The result keeps parts of body, which
// must not be changed afterwards.
func ParseEmbeddings(body []byte) (*Embeddings, error) {
	const maxDimensions = 1 << 20

	r := &reader{}

	fields := r.fields(body)
	if r.err != nil {
		return nil, r.err
	}

	request := &Embeddings{
		Fields:         fields,
		Model:          r.model(fields["model"]),
		Dimensions:     r.positive("dimensions", fields["dimensions"], maxDimensions),
		EncodingFormat: r.text("encoding_format", fields["encoding_format"]),
		User:           r.text("user", fields["user"]),
	}

	if !slices.Contains([]string{"", "float", "base64"}, request.EncodingFormat) {
		r.refuse(codeInvalidValue, "encoding_format", "Invalid value for 'encoding_format': supported values are float and base64.")
	}

	request.readInput(r, fields["input"])

	if r.err != nil {
		return nil, r.err
	}

	return request, nil
}

// readInput reads a text, several texts, token ids, or several lists of token ids.
func (e *Embeddings) readInput(r *reader, input []byte) {
	const param = "input"

	if !given(input) {
		r.missing(param)

		return
	}

	var first []byte
	for first = range elements(input) {
		break
	}

	switch {
	case input[0] == '"' || kindOf(first) == '"':
		e.Inputs = r.texts(param, input)
	case input[0] != '[':
		r.wrongType(param, "a string, an array of strings or an array of token ids")
	case first == nil:
		r.refuse(codeInvalidValue, param, "Invalid value for 'input': expected at least one text.")
	case first[0] == '[':
		for list := range elements(input) {
			e.readTokens(r, param, list)
		}
	default:
		e.readTokens(r, param, input)
	}

	if slices.Contains(e.Inputs, "") {
		r.refuse(codeInvalidValue, param, "Invalid value for 'input': a text must not be empty.")
	}
}

func (e *Embeddings) readTokens(r *reader, param string, list []byte) {
	e.TokenInputs = true
	found := false

	for token := range elements(list) {
		found = true

		if !isNumber(token) {
			r.wrongType(param, "token ids only, or texts only")

			return
		}
	}

	if !found {
		r.wrongType(param, "lists of at least one token id")
	}
}
