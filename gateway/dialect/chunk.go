package dialect

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/archonhq/archon/domain"
)

// chunk is what matters of a chunk in OpenAI's format, whoever made it. The slices alias the chunk.
type chunk struct {
	id, model, created []byte // as JSON
	usage              []byte // nil where absent or null
	failed             []byte // the error object of a provider that fails within a stream
	hasChoices         bool   // at least one
	finish             []byte // the finish reason of any choice, quoted
	finished           int    // choices with a finish reason
	content            int    // bytes of text, tool calls or anything else in the deltas
	missesRole         []byte // the first delta, if it names no role
}

func readChunk(data []byte) chunk {
	var c chunk

	for key, value := range members(data) {
		switch string(key) {
		case "id":
			c.id = value
		case "model":
			c.model = value
		case "created":
			c.created = value
		case "usage":
			if len(value) > len("null") && value[0] == '{' {
				c.usage = value
			}
		case "error":
			if given(value) {
				c.failed = value
			}
		case "choices":
			for choice := range elements(value) {
				c.readChoice(choice)
			}
		}
	}

	return c
}

func (c *chunk) readChoice(choice []byte) {
	isFirst := !c.hasChoices
	c.hasChoices = true

	for key, value := range members(choice) {
		switch string(key) {
		case "finish_reason":
			if given(value) && value[0] == '"' {
				c.finish = value
				c.finished++
			}
		case "delta":
			if hasRole := c.readDelta(value); isFirst && !hasRole && value[0] == '{' {
				c.missesRole = value
			}
		}
	}
}

func (c *chunk) readDelta(delta []byte) (hasRole bool) {
	for key, value := range members(delta) {
		switch {
		case string(key) == "role":
			hasRole = given(value)
		case !given(value) || len(value) <= len(`""`):
		case value[0] == '"':
			c.content += len(value) - len(`""`)
		default:
			c.content += len(value)
		}
	}

	return hasRole
}

// answerTokens estimates the tokens of a whole answer in OpenAI's format.
func answerTokens(body []byte) int64 {
	var tokens int64

	for choice := range elements(member(body, "choices")) {
		var answer chunk

		answer.readDelta(member(choice, "message"))
		tokens += bytesToTokens(answer.content)
	}

	return tokens
}

// fill estimates where the provider counted nothing.
func (u *Usage) fill(prompt, completion int64) {
	if u.Source == "" || u.Source == Unknown {
		*u = Usage{Tokens: domain.Tokens{Input: prompt, Output: completion}, Source: Estimated, Raw: u.Raw}
	}
}

// openAIUsage is a usage object in OpenAI's format. An estimate is marked so, in a field that OpenAI's clients ignore.
type openAIUsage struct {
	PromptTokens     int64         `json:"prompt_tokens"`
	CompletionTokens int64         `json:"completion_tokens"`
	TotalTokens      int64         `json:"total_tokens"`
	PromptDetails    promptDetails `json:"prompt_tokens_details"`
	OutputDetails    outputDetails `json:"completion_tokens_details"`
	Estimated        bool          `json:"estimated,omitempty"`
}

type promptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
}

type outputDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// usageObject writes usage in OpenAI's format.
func usageObject(usage Usage) json.RawMessage {
	tokens := usage.Tokens
	text, _ := json.Marshal(openAIUsage{ //nolint:errchkjson // numbers always encode
		PromptTokens:     tokens.Prompt(),
		CompletionTokens: tokens.Completion(),
		TotalTokens:      tokens.Total(),
		PromptDetails:    promptDetails{CachedTokens: tokens.CacheRead},
		OutputDetails:    outputDetails{ReasoningTokens: tokens.Reasoning},
		Estimated:        usage.Source == Estimated,
	})

	return text
}

// usageChunk is the chunk that ends a stream with include_usage.
func usageChunk(heading heading, usage json.RawMessage) []byte {
	return slices.Concat(
		[]byte(`{"id":`), heading.id,
		[]byte(`,"object":"chat.completion.chunk","created":`), heading.created,
		[]byte(`,"model":`), heading.model,
		[]byte(`,"choices":[],"usage":`), usage, []byte(`}`),
	)
}

// heading is what all chunks of a stream have in common, as JSON.
type heading struct{ id, model, created []byte }

func (h *heading) keep(from chunk, now int64) {
	if h.id != nil {
		return
	}

	h.id, h.model, h.created = clone(from.id, `""`), clone(from.model, `""`), clone(from.created, strconv.FormatInt(now, 10))
}

func clone(value []byte, otherwise string) []byte {
	if !given(value) {
		return []byte(otherwise)
	}

	return append([]byte(nil), value...)
}
