package dialect

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/archonhq/archon/domain"
)

// googleAnswer is a whole answer, and an event of a streamed one.
type googleAnswer struct {
	Candidates     []googleCandidate `json:"candidates"`
	PromptFeedback struct {
		BlockReason string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage      json.RawMessage `json:"usageMetadata"`
	Model      string          `json:"modelVersion"`
	ResponseID string          `json:"responseId"`
	Error      json.RawMessage `json:"error"`
}

type googleCandidate struct {
	Index   int `json:"index"`
	Content struct {
		Parts []googleAnswerPart `json:"parts"`
	} `json:"content"`
	FinishReason string `json:"finishReason"`
}

type googleAnswerPart struct {
	Text         string `json:"text"`
	Thought      bool   `json:"thought"`
	FunctionCall *struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	} `json:"functionCall"`
}

// call is the part's tool call, mostly without an id.
func (p *googleAnswerPart) call() ToolCall {
	return ToolCall{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Arguments: argumentsText(p.FunctionCall.Args)}
}

// googleTokens makes disjoint buckets: the prompt's count holds the cached tokens, and thoughts are counted apart.
func googleTokens(raw json.RawMessage) Usage {
	var counts struct {
		Prompt   *int64 `json:"promptTokenCount"`
		Cached   *int64 `json:"cachedContentTokenCount"`
		ToolUse  *int64 `json:"toolUsePromptTokenCount"`
		Answer   *int64 `json:"candidatesTokenCount"`
		Thoughts *int64 `json:"thoughtsTokenCount"`
	}

	if len(raw) == 0 || json.Unmarshal(raw, &counts) != nil || counts.Prompt == nil {
		return Usage{}
	}

	prompt := natural(counts.Prompt)
	cached := min(natural(counts.Cached), prompt)

	return reportedUsage(domain.Tokens{
		Input:     prompt - cached + natural(counts.ToolUse),
		CacheRead: cached,
		Output:    natural(counts.Answer),
		Reasoning: natural(counts.Thoughts),
	}, raw)
}

// googleFinish is "" for a reason that is a fault of the model, such as a malformed call.
func googleFinish(reason string) string {
	switch reason {
	case "STOP":
		return finishStop
	case "MAX_TOKENS":
		return finishLength
	case "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE":
		return finishContentFilter
	default: // MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, OTHER and later ones
		return ""
	}
}

func (googleCodec) completion(attempt Attempt, chat *Chat, body []byte) (Completion, error) {
	var document googleAnswer
	if json.Unmarshal(body, &document) != nil {
		return Completion{}, badAnswer()
	}

	switch {
	case len(document.Error) > 0:
		return Completion{}, googleFailure(attempt, body)
	case document.PromptFeedback.BlockReason != "":
		return Completion{}, withheld()
	case len(document.Candidates) == 0:
		return Completion{}, badAnswer()
	}

	result := answer{id: document.ResponseID, model: document.Model, usage: googleTokens(document.Usage)}

	for i := range document.Candidates {
		said, failure := googleChoice(i, &document.Candidates[i])
		if failure != nil {
			return Completion{}, failure
		}

		result.choices = append(result.choices, said)
	}

	return result.completion(chat), nil
}

func googleChoice(index int, candidate *googleCandidate) (choice, *Failure) {
	said := choice{index: index, finish: googleFinish(candidate.FinishReason)}

	for i := range candidate.Content.Parts {
		switch part := &candidate.Content.Parts[i]; {
		case part.Thought:
		case part.FunctionCall != nil:
			said.calls = append(said.calls, part.call())
		default:
			said.text += part.Text
		}
	}

	switch {
	case said.finish == finishContentFilter:
		return choice{}, withheld()
	case said.finish == "" && said.text == "" && len(said.calls) == 0:
		return choice{}, badAnswer()
	case said.finish == "":
		said.finish = finishStop
	}

	if said.finish == finishStop && len(said.calls) > 0 {
		said.finish = finishToolCalls
	}

	return said, nil
}

// googleDecoder reads the events of a streamed answer, which has no end mark but its finish reasons.
type googleDecoder struct {
	chunks

	attempt Attempt
}

func (googleCodec) decoder(attempt Attempt, _ *Chat) streamDecoder {
	return &googleDecoder{chunks: newChunks(), attempt: attempt}
}

func (*googleDecoder) framing() framing { return serverSentEvents }

func (d *googleDecoder) event(_ string, data []byte) (made [][]byte, done bool, err error) {
	var event googleAnswer
	if json.Unmarshal(data, &event) != nil {
		return nil, false, badAnswer()
	}

	switch {
	case len(event.Error) > 0:
		return nil, false, googleFailure(d.attempt, data)
	case event.PromptFeedback.BlockReason != "":
		return nil, false, withheld()
	}

	if d.id == "" {
		d.id = event.ResponseID
	}

	if d.model == "" {
		d.model = event.Model
	}

	if usage := googleTokens(event.Usage); usage.Source == Reported {
		d.counted = usage
	}

	for i := range event.Candidates {
		if err := d.read(&event.Candidates[i]); err != nil {
			return d.take(), false, err
		}
	}

	return d.take(), false, nil
}

func (d *googleDecoder) read(candidate *googleCandidate) error {
	for i := range candidate.Content.Parts {
		switch part := &candidate.Content.Parts[i]; {
		case part.Thought:
		case part.FunctionCall != nil:
			d.call(candidate.Index, part.call())
		default:
			d.say(candidate.Index, part.Text)
		}
	}

	if candidate.FinishReason == "" {
		return nil
	}

	finish := googleFinish(candidate.FinishReason)
	if finish == "" {
		if !d.delivered {
			return badAnswer()
		}

		finish = finishStop
	}

	return d.finish(candidate.Index, d.finishCalls(candidate.Index, finish))
}

type googleError struct {
	Error struct {
		Code    int    `json:"code"`
		Status  string `json:"status"`
		Details []struct {
			Type       string `json:"@type"`
			Reason     string `json:"reason"`
			RetryDelay string `json:"retryDelay"`
		} `json:"details"`
	} `json:"error"`
}

// googleFailure judges an error under status 200.
func googleFailure(attempt Attempt, body []byte) *Failure {
	document := readGoogleError(body)

	status := document.Error.Code
	if status < http.StatusBadRequest {
		status = http.StatusInternalServerError
	}

	return googleCodec{}.failure(attempt, status, nil, body)
}

// readGoogleError also reads it out of the array that a stream without alt=sse would be.
func readGoogleError(body []byte) googleError {
	var document googleError

	if kindOf(body) == '[' {
		var list []googleError
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			return list[0]
		}
	}

	_ = json.Unmarshal(body, &document) // a proxy's page is judged by its status

	return document
}

func (googleCodec) failure(attempt Attempt, status int, header http.Header, body []byte) *Failure {
	document := readGoogleError(body)
	failure := judge(attempt, status, header, body, document.Error.Status,
		"INVALID_ARGUMENT", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND", "RESOURCE_EXHAUSTED",
		"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "OUT_OF_RANGE")

	for _, detail := range document.Error.Details {
		switch {
		case detail.Reason == "API_KEY_INVALID":
			failure.Trigger, failure.Code = Dead, detail.Reason
		case strings.HasSuffix(detail.Type, "google.rpc.RetryInfo"):
			failure.RetryAfter = cmp.Or(waitFor(detail.RetryDelay, header), failure.RetryAfter)
		}
	}

	if document.Error.Status == "FAILED_PRECONDITION" { // no billing, or not in this country: an operator's matter
		failure.Trigger = Dead
	}

	return failure
}
