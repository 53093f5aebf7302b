package dialect

import (
	"errors"
	"strings"
	"testing"
)

func TestParsingAChat(t *testing.T) {
	t.Parallel()

	chat := chatOf(t, conversation)

	if chat.Model != "asked" || chat.User != "u-1" || chat.Temperature != "1.5" || chat.TopP != "0.5" || len(chat.Stop) != 2 ||
		chat.MaxTokens != 300 || chat.Seed != "7" || chat.ToolChoice != "required" || *chat.ParallelToolCalls || chat.N != 1 ||
		len(chat.Messages) != 7 || len(chat.Tools) != 2 || chat.Foreign != "" || chat.Stream {
		t.Errorf("got %+v", chat)
	}

	if want := (Needs{Vision: true, FunctionCalling: true}); chat.Needs != want {
		t.Errorf("needs %+v, want %+v", chat.Needs, want)
	}

	image, calls := chat.Messages[2].Parts[1].Image, chat.Messages[3].ToolCalls
	if image.MediaType != "image/png" || image.Base64 != "aGVsbG8=" || image.URL != "" || image.Detail != "low" ||
		len(calls) != 2 || calls[1] != (ToolCall{ID: "call_2", Name: "clock", Arguments: "now"}) || chat.Messages[5].ToolCallID != "call_2" {
		t.Errorf("got %+v, %+v", image, calls)
	}

	for members, want := range map[string]func(c *Chat) bool{
		`{"stream":true,"stream_options":{"include_usage":true}}`: func(c *Chat) bool { return c.IncludeUsage && c.Needs.Streaming },
		`{"max_completion_tokens":7}`:                             func(c *Chat) bool { return c.MaxTokens == 7 },
		`{"stop":"x"}`:                                            func(c *Chat) bool { return len(c.Stop) == 1 && c.Stop[0] == "x" },
		`{"stop":null,"n":null,"tools":null,"model":null}`: func(c *Chat) bool {
			return c.Stop == nil && c.N == 1 && !c.Needs.FunctionCalling && c.Model == ""
		},
		`{"response_format":{"type":"json_object"}}`: func(c *Chat) bool { return c.JSONObject && c.Needs.JSONMode },
		`{"response_format":{"type":"text"}}`:        func(c *Chat) bool { return !c.JSONObject && !c.Needs.JSONMode },
		`{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}}}`: func(c *Chat) bool {
			return c.JSONSchema.Name == "n" && string(c.JSONSchema.Schema) == `{"type":"object"}` && *c.JSONSchema.Strict && c.Needs.JSONMode
		},
		`{"tool_choice":{"type":"function","function":{"name":"clock"}}}`: func(c *Chat) bool { return c.ToolName == "clock" && c.ToolChoice == "" },
		`{"n":3,"reasoning_effort":"low"}`:                                func(c *Chat) bool { return c.N == 3 && c.ReasoningEffort == "low" },
		`{"messages":[{"role":"user","content":[{"type":"file","file":{}}]}]}`: func(c *Chat) bool {
			return c.Foreign == "messages[0].content[0]"
		},
		`{"messages":[{"role":"assistant","content":null,"function_call":{"name":"f"}}]}`: func(c *Chat) bool {
			return c.Foreign == "messages[0].function_call"
		},
		`{"tools":[{"type":"custom","custom":{"name":"x"}}]}`: func(c *Chat) bool { return c.Foreign == "tools" && c.Needs.FunctionCalling },
		`{"functions":[{"name":"f"}]}`:                        func(c *Chat) bool { return c.Foreign == "functions" && c.Needs.FunctionCalling },
		`{"modalities":["text","audio"]}`:                     func(c *Chat) bool { return c.Foreign == "modalities" },
		`{"modalities":["text"]}`:                             func(c *Chat) bool { return c.Foreign == "" },
		`{"response_format":{"type":"grammar"}}`:              func(c *Chat) bool { return c.Foreign == "response_format" },
	} {
		if got := chatOf(t, with(t, conversation, members)); !want(got) {
			t.Errorf("%s: got %+v", members, got)
		}
	}
}

// A refusal names the field and says what to change, and never repeats what was sent.
func TestRefusingAChat(t *testing.T) {
	t.Parallel()

	for body, want := range map[string]RequestError{
		`{`:                    {Code: ""},
		``:                     {},
		`[]`:                   {},
		`"canary"`:             {},
		"{\"model\":\"\xff\"}": {},
		`{}`:                   {Param: "messages", Code: codeMissing},
		`{"model":"` + strings.Repeat("m", maxModelBytes+1) + `","messages":[{"role":"user","content":"x"}]}`: {Param: "model", Code: codeInvalidValue},
		`{"messages":null}`:                                                              {Param: "messages", Code: codeMissing},
		`{"messages":[]}`:                                                                {Param: "messages", Code: codeInvalidValue},
		`{"messages":"canary"}`:                                                          {Param: "messages", Code: codeInvalidType},
		`{"messages":["canary"]}`:                                                        {Param: "messages[0]", Code: codeInvalidType},
		`{"messages":[{"content":"canary"}]}`:                                            {Param: "messages[0].role", Code: codeMissing},
		`{"messages":[{"role":"canary","content":"x"}]}`:                                 {Param: "messages[0].role", Code: codeInvalidValue},
		`{"messages":[{"role":"user"}]}`:                                                 {Param: "messages[0].content", Code: codeMissing},
		`{"messages":[{"role":"user","content":7}]}`:                                     {Param: "messages[0].content", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`:                     {Param: "messages[0].content[0].text", Code: codeMissing},
		`{"messages":[{"role":"user","content":["canary"]}]}`:                            {Param: "messages[0].content[0]", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":[{"text":"canary"}]}]}`:                   {Param: "messages[0].content[0].type", Code: codeMissing},
		`{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`:                {Param: "messages[0].content[0].image_url", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}`: {Param: "messages[0].content[0].image_url.url", Code: codeMissing},
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,can ary"}}]}]}`:                                    {Param: "messages[0].content[0].image_url.url", Code: codeInvalidValue},
		`{"messages":[{"role":"tool","content":"canary"}]}`:                                                                                                      {Param: "messages[0].tool_call_id", Code: codeMissing},
		`{"messages":[{"role":"assistant","tool_calls":[{"id":"canary"}]}]}`:                                                                                     {Param: "messages[0].tool_calls[0].function", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"model":7}`:                                                                                                 {Param: "model", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"stream":"canary"}`:                                                                                         {Param: "stream", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"stream_options":{"include_usage":true}}`:                                                                   {Param: "stream_options", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":"x"}],"n":0}`:                                                                                                     {Param: "n", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":"x"}],"n":1.5}`:                                                                                                   {Param: "n", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":-1}`:                                                                                           {Param: "max_tokens", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":99999999999999999999}`:                                                                         {Param: "max_tokens", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"temperature":"canary"}`:                                                                                    {Param: "temperature", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"stop":7}`:                                                                                                  {Param: "stop", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"stop":["x",7]}`:                                                                                            {Param: "stop[1]", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"tools":{"canary":1}}`:                                                                                      {Param: "tools", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}`:                                                                             {Param: "tools[0].function.name", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"tools":["canary"]}`:                                                                                        {Param: "tools[0].function.name", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"tool_choice":"canary"}`:                                                                                    {Param: "tool_choice", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":"x"}],"tool_choice":7}`:                                                                                           {Param: "tool_choice", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"response_format":{}}`:                                                                                      {Param: "response_format.type", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema"}}`:                                                                  {Param: "response_format.json_schema.name", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":"canary"}}`:                                                 {Param: "stream_options.include_usage", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"parallel_tool_calls":"canary"}`:                                                                            {Param: "parallel_tool_calls", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":["canary"]}}]}`:                             {Param: "tools[0].function.parameters", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"function"}}`:                                                                         {Param: "tool_choice.function.name", Code: codeMissing},
		`{"messages":[{"role":"user","content":"x"}],"reasoning_effort":{"canary":1}}`:                                                                           {Param: "reasoning_effort", Code: codeInvalidType},
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"canary":1}}}]}]}`:                          {Param: "messages[0].tool_calls[0].function.arguments", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":"x"}],"response_format":"canary"}`:                                                                                {Param: "response_format", Code: codeInvalidType},
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:canary"}}]}]}`:                                                      {},
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png,canary"}}]}]}`:                                            {Param: "messages[0].content[0].image_url.url", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,"}}]}]}`:                                           {Param: "messages[0].content[0].image_url.url", Code: codeInvalidValue},
		`{"messages":[{"role":"user","content":"x"},{"role":"assistant"},{"role":"function","name":"f"},{"role":"user","content":"x"},{"role":"system"}],"n":2}`: {Param: "messages[4].content", Code: codeMissing},
	} {
		_, err := ParseChat([]byte(body))
		wantRefusal(t, body, err, want)
	}
}

func wantRefusal(t *testing.T, body string, err error, want RequestError) {
	t.Helper()

	var refusal *RequestError

	switch {
	case !errors.As(err, &refusal):
		t.Errorf("%s: got %v, want a refusal", body, err)
	case want != (RequestError{}) && (refusal.Param != want.Param || refusal.Code != want.Code):
		t.Errorf("%s: got %+v, want %+v", body, refusal, want)
	case refusal.Message == "" || strings.Contains(refusal.Message, "canary") || refusal.Param != "" && !strings.Contains(refusal.Message, refusal.Param):
		t.Errorf("%s: says %q", body, refusal.Message)
	}
}

func TestParsingEmbeddings(t *testing.T) {
	t.Parallel()

	for input, want := range map[string]struct {
		texts  int
		tokens bool
		least  int64
	}{
		`"one text"`:          {1, false, 1},
		`["one","two"]`:       {2, false, 2},
		`[1,2,3]`:             {0, true, 3},
		`[[1,2,3],[4,5],[6]]`: {0, true, 6},
	} {
		request, err := ParseEmbeddings([]byte(`{"model":"e","encoding_format":"base64","dimensions":8,"input":` + input + `}`))
		if err != nil {
			t.Fatalf("%s: %v", input, err)
		}

		if len(request.Inputs) != want.texts || request.TokenInputs != want.tokens || request.EstimatedPromptTokens() < want.least ||
			request.Model != "e" || request.Dimensions != 8 || request.EncodingFormat != "base64" {
			t.Errorf("%s: got %+v, %d", input, request, request.EstimatedPromptTokens())
		}
	}

	for body, want := range map[string]RequestError{
		`{}`:                     {Param: "input", Code: codeMissing},
		`{"input":[]}`:           {Param: "input", Code: codeInvalidValue},
		`{"input":""}`:           {Param: "input", Code: codeInvalidValue},
		`{"input":["a",""]}`:     {Param: "input", Code: codeInvalidValue},
		`{"input":["canary",7]}`: {Param: "input[1]", Code: codeInvalidType},
		`{"input":[7,"canary"]}`: {Param: "input", Code: codeInvalidType},
		`{"input":[[7],[]]}`:     {Param: "input", Code: codeInvalidType},
		`{"input":{"canary":1}}`: {Param: "input", Code: codeInvalidType},
		`{"input":"a","encoding_format":"canary"}`: {Param: "encoding_format", Code: codeInvalidValue},
		`{"input":"a","dimensions":0}`:             {Param: "dimensions", Code: codeInvalidValue},
	} {
		_, err := ParseEmbeddings([]byte(body))
		wantRefusal(t, body, err, want)
	}
}

// Estimates are upper ones: for prose of several scripts they lie above what tokenizers count, and not absurdly so.
func TestEstimates(t *testing.T) {
	t.Parallel()

	for text, tokens := range map[string]int64{ // counted with o200k_base, rounded up
		"The quick brown fox jumps over the lazy dog.": 10,
		"Donaudampfschifffahrtsgesellschaft":           10,
		"東京都は日本の首都です。":                                 9,
		"Съешь ещё этих мягких французских булок":      12,
		"func main() { fmt.Println(\"hi\") }":          10,
		"":                                             0,
	} {
		if got := textTokens(text); got < tokens || got > 4*tokens {
			t.Errorf("%q: estimated %d, counted %d", text, got, tokens)
		}
	}

	small := chatOf(t, `{"messages":[{"role":"user","content":"x"}]}`).EstimatedPromptTokens()
	image := chatOf(t, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+
		strings.Repeat("aaaa", 1<<16)+`"}}]}]}`).EstimatedPromptTokens()

	const recorded = 1 << 15

	audio := chatOf(t, `{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"format":"mp3","data":"`+
		strings.Repeat("aaa", recorded)+`"}}]}]}`).EstimatedPromptTokens()

	if small < 1 || small > 10 || image < 1000 || image > 3000 || audio < recorded {
		t.Errorf("estimated %d for a letter, %d for an image, %d for a recording", small, image, audio)
	}
}
