package dialect

import (
	"encoding/json"
	"net/http"

	"github.com/archonhq/archon/domain"
)

// ollamaAnswer is a whole answer, and a line of a streamed one.
type ollamaAnswer struct {
	Model   string `json:"model"`
	Message struct {
		Content   string       `json:"content"`
		ToolCalls []ollamaCall `json:"tool_calls"`
	} `json:"message"`
	Done       bool            `json:"done"`
	DoneReason string          `json:"done_reason"`
	Error      json.RawMessage `json:"error"`
	ollamaCounts
}

type ollamaCounts struct {
	Prompt *int64 `json:"prompt_eval_count"`
	Answer *int64 `json:"eval_count"`
}

// usage is what was counted. A prompt that was in the cache altogether is left out by some versions.
func (c *ollamaCounts) usage() Usage {
	if c.Prompt == nil && c.Answer == nil {
		return Usage{}
	}

	raw, _ := json.Marshal(c) //nolint:errchkjson // numbers always encode

	return reportedUsage(domain.Tokens{Input: natural(c.Prompt), Output: natural(c.Answer)}, raw)
}

func ollamaFinish(reason string) string {
	if reason == "length" {
		return finishLength
	}

	return finishStop // stop; load and unload of an empty answer; none from older versions
}

// ollamaToolCall is a tool call, without an id: Ollama has none.
func ollamaToolCall(call ollamaCall) ToolCall {
	return ToolCall{Name: call.Function.Name, Arguments: argumentsText(call.Function.Arguments)}
}

func (ollamaCodec) completion(attempt Attempt, chat *Chat, body []byte) (Completion, error) {
	var document ollamaAnswer

	switch err := json.Unmarshal(body, &document); {
	case err == nil && len(document.Error) > 0:
		return Completion{}, ollamaFailure(attempt, body)
	case err != nil || !document.Done:
		return Completion{}, badAnswer()
	}

	said := choice{text: document.Message.Content, finish: ollamaFinish(document.DoneReason)}
	for _, call := range document.Message.ToolCalls {
		said.calls = append(said.calls, ollamaToolCall(call))
	}

	if said.finish == finishStop && len(said.calls) > 0 {
		said.finish = finishToolCalls
	}

	result := answer{model: document.Model, choices: []choice{said}, usage: document.usage()}

	return result.completion(chat), nil
}

// ollamaFailure judges an error under status 200, which says no more than that.
func ollamaFailure(attempt Attempt, body []byte) *Failure {
	return ollamaCodec{}.failure(attempt, http.StatusInternalServerError, nil, body)
}

// ollamaDecoder reads the lines of a streamed answer.
type ollamaDecoder struct {
	chunks

	attempt Attempt
}

func (ollamaCodec) decoder(attempt Attempt, _ *Chat) streamDecoder {
	return &ollamaDecoder{chunks: newChunks(), attempt: attempt}
}

func (*ollamaDecoder) framing() framing { return jsonLines }

func (d *ollamaDecoder) event(_ string, data []byte) (made [][]byte, done bool, err error) {
	var line ollamaAnswer

	switch err := json.Unmarshal(data, &line); {
	case err != nil:
		return nil, false, badAnswer()
	case len(line.Error) > 0:
		return nil, false, ollamaFailure(d.attempt, data)
	}

	if d.model == "" {
		d.model = line.Model
	}

	d.say(0, line.Message.Content)

	for _, call := range line.Message.ToolCalls {
		d.call(0, ollamaToolCall(call))
	}

	if line.Done {
		d.counted = line.usage()
		err = d.finish(0, d.finishCalls(0, ollamaFinish(line.DoneReason)))
	}

	return d.take(), d.finished(), err
}
