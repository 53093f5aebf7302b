package dialect

import (
	"encoding/json"
	"net/http"

	"github.com/archonhq/archon/domain"
)

type cohereAnswer struct {
	ID           string          `json:"id"`
	FinishReason string          `json:"finish_reason"`
	Usage        json.RawMessage `json:"usage"`
	Message      struct {
		Role    string `json:"role"`
		Content []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"content"`
		ToolCalls []cohereCall `json:"tool_calls"`
	} `json:"message"`
}

// cohereTokens takes what is billed, which is what money is about; the actual count, which holds Cohere's own prompt, is
// for servers that bill nothing.
func cohereTokens(raw json.RawMessage) Usage {
	type counts struct {
		Input  *int64 `json:"input_tokens"`
		Output *int64 `json:"output_tokens"`
	}

	var usage struct {
		Billed counts `json:"billed_units"`
		Actual counts `json:"tokens"`
	}

	if len(raw) == 0 || json.Unmarshal(raw, &usage) != nil {
		return Usage{}
	}

	counted := usage.Billed
	if counted.Input == nil && counted.Output == nil {
		counted = usage.Actual
	}

	if counted.Input == nil && counted.Output == nil {
		return Usage{}
	}

	return reportedUsage(domain.Tokens{Input: natural(counted.Input), Output: natural(counted.Output)}, raw)
}

func cohereFinish(reason string) (string, *Failure) {
	switch reason {
	case "COMPLETE", "STOP_SEQUENCE":
		return finishStop, nil
	case "MAX_TOKENS":
		return finishLength, nil
	case "TOOL_CALL":
		return finishToolCalls, nil
	case "ERROR_TOXIC":
		return finishContentFilter, nil
	case "TIMEOUT":
		return "", &Failure{
			Trigger: Timeout, Status: http.StatusOK, Code: codeOfTrigger(Timeout), Message: "the provider took too long to generate the answer",
		}
	case "":
		return "", badAnswer()
	default: // ERROR, ERROR_LIMIT and later ones
		return "", &Failure{
			Trigger: ServerError, Status: http.StatusOK, Code: codeOfTrigger(ServerError), Message: "the provider failed to generate the answer",
		}
	}
}

func (cohereCodec) completion(attempt Attempt, chat *Chat, body []byte) (Completion, error) {
	var document cohereAnswer
	if json.Unmarshal(body, &document) != nil || document.Message.Role != "assistant" {
		return Completion{}, badAnswer()
	}

	finish, failure := cohereFinish(document.FinishReason)

	switch {
	case failure != nil:
		return Completion{}, failure
	case finish == finishContentFilter:
		return Completion{}, withheld()
	}

	said := choice{finish: finish}

	for _, part := range document.Message.Content {
		if part.Type == "text" {
			said.text += part.Text
		}
	}

	for _, call := range document.Message.ToolCalls {
		made := ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments}
		if made.Arguments == "" {
			made.Arguments = "{}"
		}

		said.calls = append(said.calls, made)
	}

	result := answer{
		id: document.ID, model: attempt.Model, choices: []choice{said}, usage: cohereTokens(document.Usage),
	}

	return result.completion(chat), nil
}

// cohereDecoder reads the typed events of a streamed answer.
type cohereDecoder struct {
	chunks

	// open is the tool call under way; argued is set once it has arguments.
	open   int
	argued bool
}

// decoder names the model that was asked, since Cohere's answers name none.
func (cohereCodec) decoder(attempt Attempt, _ *Chat) streamDecoder {
	decoder := &cohereDecoder{chunks: newChunks()}
	decoder.model = attempt.Model

	return decoder
}

func (*cohereDecoder) framing() framing { return serverSentEvents }

type cohereEvent struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Delta struct {
		FinishReason string          `json:"finish_reason"`
		Usage        json.RawMessage `json:"usage"`
		Message      struct {
			// Content and ToolCalls are lists in message-start and objects elsewhere.
			Content   json.RawMessage `json:"content"`
			ToolCalls json.RawMessage `json:"tool_calls"`
		} `json:"message"`
	} `json:"delta"`
}

func (d *cohereDecoder) event(_ string, data []byte) (made [][]byte, done bool, err error) {
	if isDone(data) {
		return nil, d.finished(), nil
	}

	var event cohereEvent
	if json.Unmarshal(data, &event) != nil {
		return nil, false, badAnswer()
	}

	switch event.Type {
	case "message-start":
		d.id = event.ID
	case "content-start", "content-delta":
		d.say(0, textOf(member(event.Delta.Message.Content, "text")))
	case "tool-call-start":
		d.begin(event.Delta.Message.ToolCalls)
	case "tool-call-delta":
		d.add(textOf(member(member(event.Delta.Message.ToolCalls, "function"), "arguments")))
	case "tool-call-end":
		if !d.argued {
			d.add("{}")
		}
	case "message-end":
		err = d.stop(event.Delta.FinishReason, event.Delta.Usage)
	case "": // an error has no type; a proxy may send one under status 200
		err = d.fail(data)
	}

	return d.take(), d.finished(), err
}

func (d *cohereDecoder) begin(raw json.RawMessage) {
	var call cohereCall

	_ = json.Unmarshal(raw, &call) // an odd call has no name, which its reader has to live with

	d.open = d.call(0, ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
	d.argued = call.Function.Arguments != ""
}

func (d *cohereDecoder) add(fragment string) {
	if state, _ := d.choice(0); state.calls == 0 {
		return // no call has begun
	}

	d.argued = d.argued || fragment != ""
	d.argue(0, d.open, fragment)
}

func (d *cohereDecoder) stop(reason string, usage json.RawMessage) error {
	if counted := cohereTokens(usage); counted.Source == Reported {
		d.counted = counted
	}

	finish, failure := cohereFinish(reason)
	if failure != nil {
		return failure
	}

	return d.finish(0, finish)
}

func (d *cohereDecoder) fail(data []byte) error {
	if member(data, "message") == nil && member(data, "error") == nil {
		return nil
	}

	return &Failure{
		Trigger: ServerError, Status: http.StatusOK, Code: codeOfTrigger(ServerError), Message: "the provider failed while it answered",
	}
}
