package dialect

import "encoding/json"

const (
	// Prose has about four bytes a token in English, code three; other scripts have two to three bytes a letter and often a
	// token for each. Taking the lower figures makes the estimate an upper one nearly always.
	asciiBytesPerToken = 3
	otherBytesPerToken = 2

	// messageTokens is what a message costs beyond its text: its role and the marks around it.
	messageTokens = 4

	// An image costs 85 tokens in low detail, and up to about 1,500 otherwise with most models.
	imageTokens          = 1500
	imageTokensLowDetail = 100
)

// EstimatedPromptTokens is what the prompt will count as, mostly too high. It is a bound for reservations, and what is
// booked where a provider counts nothing.
func (c *Chat) EstimatedPromptTokens() int64 {
	var tokens int64

	for i := range c.Messages {
		tokens += c.Messages[i].estimatedTokens()
	}

	for _, tool := range c.Tools {
		tokens += messageTokens + textTokens(tool.Name) + textTokens(tool.Description) + jsonTokens(tool.Parameters)
	}

	// Recordings and files in base64 have fewer tokens than that; what is a field of its own has hardly any bytes.
	tokens += bytesToTokens(c.foreignBytes)

	if c.JSONSchema != nil {
		tokens += jsonTokens(c.JSONSchema.Schema)
	}

	return tokens
}

func (m *Message) estimatedTokens() int64 {
	tokens := messageTokens + textTokens(m.Name) + textTokens(m.Refusal)

	for _, part := range m.Parts {
		switch {
		case part.Image == nil:
			tokens += textTokens(part.Text)
		case part.Image.Detail == "low":
			tokens += imageTokensLowDetail
		default:
			tokens += imageTokens
		}
	}

	return tokens + callTokens(m.ToolCalls)
}

func callTokens(calls []ToolCall) int64 {
	var tokens int64

	for _, call := range calls {
		tokens += messageTokens + textTokens(call.Name) + textTokens(call.Arguments)
	}

	return tokens
}

// EstimatedPromptTokens is what the inputs will count as, mostly too high; see [Chat.EstimatedPromptTokens].
func (e *Embeddings) EstimatedPromptTokens() int64 {
	var tokens int64

	for _, input := range e.Inputs {
		tokens += 1 + textTokens(input)
	}

	if !e.TokenInputs {
		return tokens
	}

	for list := range elements(e.Fields["input"]) {
		if list[0] != '[' {
			tokens++

			continue
		}

		for range elements(list) {
			tokens++
		}
	}

	return tokens
}

// textTokens estimates a text's tokens; 0 only for an empty one.
func textTokens(text string) int64 {
	other := 0

	for i := range len(text) {
		other += int(text[i] >> 7) //nolint:mnd // the bit that no ASCII letter has
	}

	ascii := len(text) - other

	return int64((ascii+asciiBytesPerToken-1)/asciiBytesPerToken + (other+otherBytesPerToken-1)/otherBytesPerToken)
}

func jsonTokens(raw json.RawMessage) int64 { return bytesToTokens(len(raw)) }

func bytesToTokens(length int) int64 {
	return int64((length + asciiBytesPerToken - 1) / asciiBytesPerToken)
}
