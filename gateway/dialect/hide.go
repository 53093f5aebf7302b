package dialect

import "strings"

const (
	// echoBytes is the shortest part of a prompt that a provider's message must not repeat.
	echoBytes = 8
	echoMark  = "[…]"
)

// prompt is a request as far as it holds what nobody but the provider may see.
type prompt interface {
	// texts calls look with each of them.
	texts(look func(text string))
	EstimatedPromptTokens() int64
}

func (c *Chat) texts(look func(text string)) {
	look(c.User)

	for i := range c.Messages {
		message := &c.Messages[i]
		look(message.Name)
		look(message.Refusal)

		for _, part := range message.Parts {
			look(part.Text)

			if part.Image != nil {
				look(part.Image.URL)
				look(part.Image.Base64)
			}
		}

		for _, call := range message.ToolCalls {
			look(call.Arguments)
		}
	}

	for _, tool := range c.Tools {
		look(tool.Description)
	}
}

func (e *Embeddings) texts(look func(text string)) {
	look(e.User)

	for _, input := range e.Inputs {
		look(input)
	}
}

// hiding takes out of the failure's message what a provider quotes of the prompt. It changes and returns f.
func (f *Failure) hiding(prompt prompt) *Failure {
	var echo echoFinder

	if echo.begin(f.Message) {
		prompt.texts(echo.look)
		f.Message = echo.cleaned()
	}

	return f
}

// echoFinder marks the parts of a message that occur in other texts. The message is short and the texts are long, so it
// keeps the message's pieces and goes through the texts once.
type echoFinder struct {
	message string
	pieces  map[string][]int
	first   [256]bool // bytes that a piece begins with, so that most places cost no look-up
	marks   []bool
}

func (e *echoFinder) begin(message string) bool {
	if len(message) < echoBytes {
		return false
	}

	message = strings.ToValidUTF8(message, "?") // else dropping a stray byte later would join what the prompt has in one
	e.message = message
	e.pieces = make(map[string][]int, len(message))
	e.marks = make([]bool, len(message))

	for start := range len(message) - echoBytes + 1 {
		piece := message[start : start+echoBytes]
		e.pieces[piece] = append(e.pieces[piece], start)
		e.first[piece[0]] = true
	}

	return true
}

func (e *echoFinder) look(text string) {
	for start := range len(text) - echoBytes + 1 {
		if !e.first[text[start]] {
			continue
		}

		for _, at := range e.pieces[text[start:start+echoBytes]] {
			for i := at; i < at+echoBytes; i++ {
				e.marks[i] = true
			}
		}
	}
}

func (e *echoFinder) cleaned() string {
	var kept strings.Builder

	for i := range len(e.message) {
		switch {
		case !e.marks[i]:
			kept.WriteByte(e.message[i])
		case i == 0 || !e.marks[i-1]:
			kept.WriteString(echoMark)
		}
	}

	return strings.ToValidUTF8(kept.String(), "") // a part may have ended within a letter, beside a mark
}
