package dialect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/archonhq/archon/gateway"
)

const (
	fieldMaxTokens           = "max_tokens"
	fieldMaxCompletionTokens = "max_completion_tokens"
	fieldStreamOptions       = "stream_options"

	// azureKnowsNewFields is the first date of Azure's api-version that takes stream_options and max_completion_tokens;
	// earlier ones refuse a request that holds them.
	azureKnowsNewFields = "2024-09-01"
)

// openAICodec is for the types that speak OpenAI's format themselves: openai, mistral, azure_openai, vllm and custom. What
// it does not have to change passes through.
type openAICodec struct{}

func (openAICodec) chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error) {
	fields := maps.Clone(chat.Fields)
	fields["model"] = quoted(attempt.Model)

	delete(fields, "stream")
	setStreamOptions(fields, attempt.Target, stream)

	if stream {
		fields["stream"] = json.RawMessage("true")
	}

	clampTokens(fields, attempt)

	if attempt.Target.Type == gateway.Mistral {
		forMistral(fields)
	}

	return newRequest(ctx, attempt, attempt.Target.ChatEndpoint(attempt.Model), document(fields))
}

// setStreamOptions asks for usage at a stream's end, where that is possible: Mistral sends it anyway and refuses the field.
func setStreamOptions(fields map[string]json.RawMessage, target gateway.Target, stream bool) {
	sent := fields[fieldStreamOptions]
	delete(fields, fieldStreamOptions)

	if !stream || target.Type == gateway.Mistral || !knowsNewFields(target) {
		return
	}

	options := map[string]json.RawMessage{}
	for key, value := range members(sent) {
		options[string(key)] = value
	}

	options["include_usage"] = json.RawMessage("true")
	fields[fieldStreamOptions] = document(options)
}

// clampTokens puts the clamp in the place of what the client asked, or else into the field that the type prefers.
func clampTokens(fields map[string]json.RawMessage, attempt Attempt) {
	if attempt.MaxOutputTokens == 0 {
		return
	}

	name := fieldMaxTokens

	switch {
	case given(fields[fieldMaxCompletionTokens]):
		name = fieldMaxCompletionTokens
	case given(fields[fieldMaxTokens]):
	case attempt.Target.Type == gateway.OpenAI, attempt.Target.Type == gateway.AzureOpenAI && knowsNewFields(attempt.Target):
		name = fieldMaxCompletionTokens
	}

	delete(fields, fieldMaxTokens)
	delete(fields, fieldMaxCompletionTokens)

	fields[name] = strconv.AppendInt(nil, attempt.MaxOutputTokens, 10)
}

func knowsNewFields(target gateway.Target) bool {
	return target.Type != gateway.AzureOpenAI || target.AzureVersion() >= azureKnowsNewFields
}

// forMistral gives fields Mistral's names, and leaves out those that it refuses and that change nothing of the answer.
func forMistral(fields map[string]json.RawMessage) {
	for from, to := range map[string]string{"seed": "random_seed", fieldMaxCompletionTokens: fieldMaxTokens} {
		if value, sent := fields[from]; sent {
			delete(fields, from)

			fields[to] = value
		}
	}

	for _, name := range []string{"user", "store", "service_tier", "safety_identifier", "prompt_cache_key"} {
		delete(fields, name)
	}
}

func (openAICodec) completion(attempt Attempt, _ *Chat, body []byte) (Completion, error) {
	if !json.Valid(body) {
		return Completion{}, badAnswer()
	}

	if saysError(body) {
		return Completion{}, openAICodec{}.failure(attempt, http.StatusOK, nil, body)
	}

	var first []byte
	for first = range elements(member(body, "choices")) {
		break
	}

	message := member(first, "message")
	if kindOf(message) != '{' {
		return Completion{}, badAnswer()
	}

	return Completion{
		Body:         body,
		Usage:        readUsage(member(body, "usage")),
		FinishReason: textOf(member(first, "finish_reason")),
		Content:      contentText(member(message, "content")),
	}, nil
}

// contentText is a content's text: all of it, or that of its text parts (Mistral's reasoning models answer in parts).
func contentText(content []byte) string {
	if kindOf(content) == '"' {
		return textOf(content)
	}

	var text strings.Builder

	for part := range elements(content) {
		text.WriteString(textOf(member(part, "text")))
	}

	return text.String()
}

func (openAICodec) embeddings(ctx context.Context, attempt Attempt, request *Embeddings) (*http.Request, error) {
	fields := maps.Clone(request.Fields)
	fields["model"] = quoted(attempt.Model)

	if attempt.Target.Type == gateway.Mistral {
		delete(fields, "user")

		if dimensions, sent := fields["dimensions"]; sent {
			delete(fields, "dimensions")

			fields["output_dimension"] = dimensions
		}
	}

	return newRequest(ctx, attempt, attempt.Target.EmbeddingsEndpoint(attempt.Model), document(fields))
}

func (openAICodec) embedded(attempt Attempt, request *Embeddings, body []byte) (Completion, error) {
	switch {
	case !json.Valid(body):
		return Completion{}, badAnswer()
	case saysError(body):
		return Completion{}, openAICodec{}.failure(attempt, http.StatusOK, nil, body)
	case kindOf(member(body, "data")) != '[':
		return Completion{}, badAnswer()
	}

	usage := readUsage(member(body, "usage"))

	if request.EncodingFormat == formatBase64 {
		packed, failure := packVectors(body)
		if failure != nil {
			return Completion{}, failure
		}

		body = packed
	}

	return Completion{Body: body, Usage: usage}, nil
}

func (openAICodec) decoder(attempt Attempt, chat *Chat) streamDecoder {
	return &openAIDecoder{attempt: attempt, choices: int(chat.N)}
}

// openAIDecoder passes chunks through; it only notes the usage, which Stream hands out at the end.
type openAIDecoder struct {
	attempt  Attempt
	choices  int
	finished int
	begun    bool
	counted  Usage
	one      [1][]byte // so that a chunk costs no allocation
}

func (*openAIDecoder) framing() framing { return serverSentEvents }

func (d *openAIDecoder) event(name string, data []byte) (chunks [][]byte, done bool, err error) {
	if isDone(data) {
		return nil, true, nil
	}

	if !json.Valid(data) || kindOf(data) != '{' {
		return nil, false, badAnswer()
	}

	chunk := readChunk(data)
	if chunk.failed != nil || name == "error" || !chunk.hasChoices && saysError(data) {
		return nil, false, openAICodec{}.failure(d.attempt, http.StatusOK, nil, data)
	}

	d.finished += chunk.finished

	if chunk.usage != nil {
		d.counted = readUsage(bytes.Clone(chunk.usage))
	}

	d.one[0] = d.patched(data, chunk)

	return d.one[:], false, nil
}

// patched is the chunk as clients want it, mostly as it is: no usage beside choices, and the role in the first delta.
func (d *openAIDecoder) patched(data []byte, chunk chunk) []byte {
	if !chunk.hasChoices {
		return data
	}

	isFirst := !d.begun
	d.begun = true

	if chunk.usage != nil {
		data = blank(data, chunk.usage)

		if isFirst { // what was found has moved
			chunk = readChunk(data)
		}
	}

	if isFirst && chunk.missesRole != nil {
		return withRole(data, chunk.missesRole)
	}

	return data
}

// end is good only where all choices are complete: some servers leave out the last [DONE].
func (d *openAIDecoder) end() error {
	if d.finished < d.choices {
		return streamCut()
	}

	return nil
}

func (d *openAIDecoder) usage() Usage { return d.counted }

func isDone(data []byte) bool { return string(bytes.TrimSpace(data)) == "[DONE]" }

// blank puts null in the place of part, which is longer, within data, where it lies.
func blank(data, part []byte) []byte {
	start := offset(data, part)
	rest := data[start+len(part):]

	return append(append(data[:start], "null"...), rest...)
}

// withRole puts the role into delta, which lies within data; OpenAI's clients insist on it.
func withRole(data, delta []byte) []byte {
	role := `"role":"assistant"`
	if !isEmptyObject(delta) {
		role += ","
	}

	inside := offset(data, delta) + 1

	return slices.Concat(data[:inside], []byte(role), data[inside:])
}

func isEmptyObject(object []byte) bool {
	inside := skipSpace(object, 1)

	return inside < len(object) && object[inside] == '}'
}

// readUsage puts OpenAI's counts, which include one another, into disjoint buckets. raw is kept.
func readUsage(raw []byte) Usage {
	var counts struct {
		Prompt        *int64 `json:"prompt_tokens"`
		Completion    *int64 `json:"completion_tokens"`
		Total         int64  `json:"total_tokens"`
		CacheHit      int64  `json:"prompt_cache_hit_tokens"` // DeepSeek's name
		PromptDetails struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		CompletionDetails struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}

	if !given(raw) || json.Unmarshal(raw, &counts) != nil || counts.Prompt == nil && counts.Completion == nil {
		return Usage{}
	}

	usage := Usage{Source: Reported, Raw: raw}
	if counts.Prompt != nil {
		prompt := max(0, *counts.Prompt)
		usage.Tokens.CacheRead = min(max(0, cmp.Or(counts.PromptDetails.Cached, counts.CacheHit)), prompt)
		usage.Tokens.Input = prompt - usage.Tokens.CacheRead
	}

	if counts.Completion != nil {
		completion, reasoning := max(0, *counts.Completion), max(0, counts.CompletionDetails.Reasoning)
		usage.Tokens.Output, usage.Tokens.Reasoning = completion-reasoning, reasoning

		// Some servers count reasoning apart; the total tells, and so does more reasoning than there was output.
		if apart := usage.Tokens.Prompt() + completion + reasoning; reasoning > completion || reasoning > 0 && counts.Total == apart {
			usage.Tokens.Output = completion
		}
	}

	return usage
}

// document writes an object of fields in a fixed order.
func document(fields map[string]json.RawMessage) []byte {
	size := 2
	for key, value := range fields {
		size += len(key) + len(value) + len(`"":,`)
	}

	text := make([]byte, 0, size)
	text = append(text, '{')

	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if len(text) > 1 {
			text = append(text, ',')
		}

		text = append(text, quoted(key)...)
		text = append(text, ':')
		text = append(text, fields[key]...)
	}

	return append(text, '}')
}

// quoted is text as a JSON string.
func quoted(text string) json.RawMessage {
	raw, _ := json.Marshal(text) //nolint:errchkjson // a string always encodes

	return raw
}
