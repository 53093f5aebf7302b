package dialect

import (
	"strconv"
	"time"
)

// chunks makes OpenAI's chunks of what a translating decoder reads. The role travels with the first delta, not before
// it: until then nothing has been said, and another provider may still be tried.
type chunks struct {
	id, model string
	created   time.Time
	choices   []choiceState
	// delivered is set by the first delta of any choice.
	delivered bool
	// counted is what the provider reported so far.
	counted Usage
	made    [][]byte
}

// choiceState is how far a choice has come.
type choiceState struct {
	begun  bool
	calls  int
	finish string
}

func newChunks() chunks {
	return chunks{created: time.Now(), choices: make([]choiceState, 1)}
}

// choice is the state of a choice; a provider's odd index counts as the first one.
func (c *chunks) choice(index int) (*choiceState, int) {
	if index < 0 || index >= maxChoices {
		index = 0
	}

	for len(c.choices) <= index {
		c.choices = append(c.choices, choiceState{})
	}

	return &c.choices[index], index
}

// say adds to a choice's text.
func (c *chunks) say(index int, text string) {
	if text == "" {
		return
	}

	c.delta(index, func(chunk []byte) []byte { return appendText(append(chunk, `"content":`...), text) })
}

// call begins a tool call, with as much of its arguments as is known, and returns its index.
func (c *chunks) call(index int, call ToolCall) int {
	if call.ID == "" {
		call.ID = newCallID()
	}

	state, _ := c.choice(index)
	number := state.calls
	state.calls++

	c.delta(index, func(chunk []byte) []byte {
		chunk = strconv.AppendInt(append(chunk, `"tool_calls":[{"index":`...), int64(number), 10)

		return append(appendCall(append(chunk, ','), call), `}]`...)
	})

	return number
}

// argue adds to the arguments of a tool call.
func (c *chunks) argue(index, number int, fragment string) {
	if fragment == "" {
		return
	}

	c.delta(index, func(chunk []byte) []byte {
		chunk = strconv.AppendInt(append(chunk, `"tool_calls":[{"index":`...), int64(number), 10)

		return append(appendText(append(chunk, `,"function":{"arguments":`...), fragment), `}}]`...)
	})
}

// finish ends a choice. It fails where a content filter has let nothing through.
func (c *chunks) finish(index int, reason string) error {
	if reason == finishContentFilter && !c.delivered {
		return withheld()
	}

	state, index := c.choice(index)
	if state.finish != "" {
		return nil
	}

	state.finish = reason
	chunk := c.open(index)

	if !state.begun {
		state.begun = true
		chunk = append(chunk, `"role":"assistant","content":""`...)
	}

	chunk = append(chunk, `},"finish_reason":`...)
	c.made = append(c.made, append(appendText(chunk, reason), `}]}`...))

	return nil
}

// finished reports whether every choice has ended.
func (c *chunks) finished() bool {
	for i := range c.choices {
		if c.choices[i].finish == "" {
			return false
		}
	}

	return true
}

// end is for the end of the bytes, at which every choice must have ended.
func (c *chunks) end() error {
	if !c.finished() {
		return streamCut()
	}

	return nil
}

// finishCalls is reason, but for a stop after tool calls, which some types tell from others only by the calls.
func (c *chunks) finishCalls(index int, reason string) string {
	if state, _ := c.choice(index); reason == finishStop && state.calls > 0 {
		return finishToolCalls
	}

	return reason
}

// usage is the provider's count so far; zero where it said none.
func (c *chunks) usage() Usage { return c.counted }

// take returns the chunks made since the last call.
func (c *chunks) take() [][]byte {
	made := c.made
	c.made = nil

	return made
}

func (c *chunks) delta(index int, add func(chunk []byte) []byte) {
	state, index := c.choice(index)
	chunk := c.open(index)

	if !state.begun {
		state.begun = true
		chunk = append(chunk, `"role":"assistant",`...)
	}

	c.delivered = true
	c.made = append(c.made, append(add(chunk), `},"finish_reason":null}]}`...))
}

// open begins a chunk up to and with the brace that opens the delta.
func (c *chunks) open(index int) []byte {
	const usual = 256

	chunk := appendHead(make([]byte, 0, usual), "chat.completion.chunk", c.answerID(), c.model, c.created)
	chunk = strconv.AppendInt(append(chunk, `{"index":`...), int64(index), 10)

	return append(chunk, `,"delta":{`...)
}

func (c *chunks) answerID() string {
	if c.id == "" {
		c.id = newAnswerID()
	}

	return c.id
}
