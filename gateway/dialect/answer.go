package dialect

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/archonhq/archon/domain"
)

// OpenAI's words for why a model stopped, besides finishContentFilter.
const (
	finishStop      = "stop"
	finishLength    = "length"
	finishToolCalls = "tool_calls"
)

// answer is a whole answer of a provider, to be put into OpenAI's format.
type answer struct {
	id, model string
	choices   []choice
	usage     Usage
}

// choice is one of its choices.
type choice struct {
	index  int
	text   string
	calls  []ToolCall
	finish string
}

// completion renders the answer; chat is what it answers.
func (a *answer) completion(chat *Chat) Completion {
	if a.id == "" {
		a.id = newAnswerID()
	}

	if a.usage.Source != Reported {
		a.usage.fill(chat.EstimatedPromptTokens(), a.spoken())
	}

	body := appendHead(nil, "chat.completion", a.id, a.model, time.Now())

	for i := range a.choices {
		if i > 0 {
			body = append(body, ',')
		}

		body = a.choices[i].append(body)
	}

	body = append(body, `],"usage":`...)
	body = append(append(body, usageObject(a.usage)...), '}')

	completion := Completion{Body: body, Usage: a.usage}
	if len(a.choices) > 0 {
		completion.FinishReason, completion.Content = a.choices[0].finish, a.choices[0].text
	}

	return completion
}

// spoken estimates the tokens of the answer.
func (a *answer) spoken() int64 {
	var tokens int64

	for i := range a.choices {
		tokens += textTokens(a.choices[i].text) + callTokens(a.choices[i].calls)
	}

	return tokens
}

func (c *choice) append(body []byte) []byte {
	body = strconv.AppendInt(append(body, `{"index":`...), int64(c.index), 10)
	body = append(body, `,"message":{"role":"assistant","content":`...)

	if c.text == "" && len(c.calls) > 0 {
		body = append(body, "null"...)
	} else {
		body = appendText(body, c.text)
	}

	body = append(body, `,"refusal":null`...)

	for i, call := range c.calls {
		if call.ID == "" {
			call.ID = newCallID()
		}

		if i == 0 {
			body = append(body, `,"tool_calls":[`...)
		} else {
			body = append(body, ',')
		}

		body = append(appendCall(append(body, '{'), call), '}')

		if i == len(c.calls)-1 {
			body = append(body, ']')
		}
	}

	body = append(body, `},"logprobs":null,"finish_reason":`...)

	return append(appendText(body, c.finish), '}')
}

func appendCall(body []byte, call ToolCall) []byte {
	body = appendText(append(body, `"id":`...), call.ID)
	body = appendText(append(body, `,"type":"function","function":{"name":`...), call.Name)
	body = appendText(append(body, `,"arguments":`...), call.Arguments)

	return append(body, '}')
}

// appendHead is everything up to and with the bracket that opens the choices.
func appendHead(body []byte, object, id, model string, created time.Time) []byte {
	body = appendText(append(body, `{"id":`...), id)
	body = appendText(append(body, `,"object":`...), object)
	body = strconv.AppendInt(append(body, `,"created":`...), created.Unix(), 10)
	body = appendText(append(body, `,"model":`...), model)

	return append(body, `,"choices":[`...)
}

// appendText appends text as a JSON string; what is not UTF-8 becomes the replacement character.
func appendText(body []byte, text string) []byte {
	const hex = "0123456789abcdef"

	body = append(body, '"')

	for _, letter := range text {
		switch {
		case letter == '"' || letter == '\\':
			body = append(body, '\\', byte(letter))
		case letter == '\n':
			body = append(body, '\\', 'n')
		case letter < ' ':
			body = append(body, '\\', 'u', '0', '0', hex[letter>>4], hex[letter&0xf])
		case letter < utf8.RuneSelf:
			body = append(body, byte(letter))
		default:
			body = utf8.AppendRune(body, letter)
		}
	}

	return append(body, '"')
}

// reportedUsage keeps raw, which may be overwritten afterwards.
func reportedUsage(tokens domain.Tokens, raw []byte) Usage {
	return Usage{Tokens: tokens, Source: Reported, Raw: bytes.Clone(raw)}
}

// argumentsText is a call's arguments, which came as a JSON value, as OpenAI's text; none are an empty object.
func argumentsText(arguments json.RawMessage) string {
	if !given(arguments) {
		return "{}"
	}

	return compact(arguments)
}

// natural reads a count: absent and negative ones are none.
func natural(count *int64) int64 {
	if count == nil {
		return 0
	}

	return max(0, *count)
}

// compact is a JSON value without the spaces between its parts, as a text.
func compact(raw json.RawMessage) string {
	var buffer bytes.Buffer
	if json.Compact(&buffer, raw) != nil {
		return string(raw)
	}

	return buffer.String()
}
