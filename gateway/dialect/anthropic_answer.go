package dialect

import (
	"encoding/json"

	"github.com/archonhq/archon/domain"
)

type anthropicAnswer struct {
	Type       string                `json:"type"`
	ID         string                `json:"id"`
	Model      string                `json:"model"`
	Content    []anthropicAnswerPart `json:"content"`
	StopReason string                `json:"stop_reason"`
	Usage      json.RawMessage       `json:"usage"`
}

type anthropicAnswerPart struct {
	Type  string          `json:"type"`
	Text  string          `json:"text"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

// anthropicUsage has disjoint buckets already. Fields are absent where an event of a stream does not speak of them.
type anthropicUsage struct {
	Input      *int64 `json:"input_tokens"`
	CacheWrite *int64 `json:"cache_creation_input_tokens"`
	CacheRead  *int64 `json:"cache_read_input_tokens"`
	Output     *int64 `json:"output_tokens"`
}

// read takes over what raw says, and keeps the rest: the counts of a stream are cumulative.
func (u *anthropicUsage) read(raw json.RawMessage) bool {
	next := *u
	if len(raw) == 0 || json.Unmarshal(raw, &next) != nil {
		return false
	}

	*u = next

	return u.Input != nil || u.Output != nil
}

func (u *anthropicUsage) tokens() domain.Tokens {
	return domain.Tokens{
		Input: natural(u.Input), CacheRead: natural(u.CacheRead), CacheWrite: natural(u.CacheWrite), Output: natural(u.Output),
	}
}

func (anthropicCodec) completion(_ Attempt, chat *Chat, body []byte) (Completion, error) {
	var document anthropicAnswer
	if json.Unmarshal(body, &document) != nil || document.Type != "message" || document.StopReason == "" {
		return Completion{}, badAnswer()
	}

	finish := anthropicFinish(document.StopReason)
	if finish == finishContentFilter {
		return Completion{}, withheld()
	}

	said := choice{}
	tool := answerTool(chat)
	answered := false

	for _, part := range document.Content {
		switch {
		case part.Type == "text" && tool == "":
			said.text += part.Text
		case part.Type == "tool_use" && tool != "" && part.Name == tool:
			said.text += compact(part.Input)
			answered = true
		case part.Type == "tool_use":
			said.calls = append(said.calls, ToolCall{ID: part.ID, Name: part.Name, Arguments: argumentsText(part.Input)})
		}
	}

	said.finish = anthropicCallFinish(finish, answered, len(said.calls))
	result := answer{id: document.ID, model: document.Model, choices: []choice{said}}

	var usage anthropicUsage
	if usage.read(document.Usage) {
		result.usage = reportedUsage(usage.tokens(), document.Usage)
	}

	return result.completion(chat), nil
}

func anthropicFinish(reason string) string {
	switch reason {
	case "max_tokens", "model_context_window_exceeded":
		return finishLength
	case "tool_use":
		return finishToolCalls
	case "refusal":
		return finishContentFilter
	default: // end_turn, stop_sequence, pause_turn
		return finishStop
	}
}

// anthropicCallFinish is finish, but for a call of the answer's tool alone, which is no call to the client.
func anthropicCallFinish(finish string, answered bool, calls int) string {
	if finish == finishToolCalls && answered && calls == 0 {
		return finishStop
	}

	return finish
}

// anthropicDecoder reads the named events of a streamed answer.
type anthropicDecoder struct {
	chunks

	attempt Attempt
	tool    string
	usages  anthropicUsage
	reason  string
	// open are the blocks that are tool calls, by their index in the answer.
	open map[int]*anthropicOpen
	// answered is set once the answer's tool was called.
	answered bool
}

// anthropicOpen is a tool call that is being written.
type anthropicOpen struct {
	call    int
	answer  bool
	written bool
}

func (anthropicCodec) decoder(attempt Attempt, chat *Chat) streamDecoder {
	return &anthropicDecoder{chunks: newChunks(), attempt: attempt, tool: answerTool(chat)}
}

func (*anthropicDecoder) framing() framing { return serverSentEvents }

type anthropicEvent struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Message struct {
		ID    string          `json:"id"`
		Model string          `json:"model"`
		Usage json.RawMessage `json:"usage"`
	} `json:"message"`
	ContentBlock anthropicAnswerPart `json:"content_block"`
	Delta        struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"`
	Usage json.RawMessage `json:"usage"`
	Error struct {
		Type string `json:"type"`
	} `json:"error"`
}

func (d *anthropicDecoder) event(_ string, data []byte) (made [][]byte, done bool, err error) {
	var event anthropicEvent
	if json.Unmarshal(data, &event) != nil {
		return nil, false, badAnswer()
	}

	switch event.Type {
	case "message_start":
		d.id, d.model = event.Message.ID, event.Message.Model
		d.readUsage(event.Message.Usage)
	case "content_block_start":
		d.begin(event.Index, event.ContentBlock)
	case "content_block_delta":
		d.add(event.Index, event.Delta.Text, event.Delta.PartialJSON)
	case "content_block_stop":
		d.close(event.Index)
	case "message_delta":
		d.readUsage(event.Usage)

		if event.Delta.StopReason != "" {
			d.reason = event.Delta.StopReason
		}
	case "message_stop":
		err = d.stop()
	case "error":
		err = anthropicCodec{}.failure(d.attempt, anthropicStatus(event.Error.Type), nil, data)
	}

	return d.take(), d.finished(), err
}

func (d *anthropicDecoder) begin(index int, block anthropicAnswerPart) {
	switch block.Type {
	case "text":
		d.add(index, block.Text, "")
	case "tool_use":
		open := &anthropicOpen{answer: d.tool != "" && block.Name == d.tool}
		if open.answer {
			d.answered = true
		} else {
			open.call = d.call(0, ToolCall{ID: block.ID, Name: block.Name})
		}

		if d.open == nil {
			d.open = make(map[int]*anthropicOpen)
		}

		d.open[index] = open

		if input := argumentsText(block.Input); input != "{}" { // some servers send all of it here
			d.add(index, "", input)
		}
	}
}

func (d *anthropicDecoder) add(index int, text, partial string) {
	if d.tool == "" {
		d.say(0, text)
	}

	open := d.open[index]
	if open == nil || partial == "" {
		return
	}

	open.written = true

	if open.answer {
		d.say(0, partial)
	} else {
		d.argue(0, open.call, partial)
	}
}

// close makes up for a call without arguments, of which nothing is written.
func (d *anthropicDecoder) close(index int) {
	if open := d.open[index]; open != nil && !open.written {
		d.add(index, "", "{}")
	}

	delete(d.open, index)
}

func (d *anthropicDecoder) readUsage(raw json.RawMessage) {
	if d.usages.read(raw) {
		d.counted = reportedUsage(d.usages.tokens(), raw)
	}
}

func (d *anthropicDecoder) stop() error {
	if d.reason == "" {
		return streamCut()
	}

	state, _ := d.choice(0)
	return d.finish(0, anthropicCallFinish(anthropicFinish(d.reason), d.answered, state.calls))
}
