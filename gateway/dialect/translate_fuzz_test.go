package dialect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
)

func translatingCodecs() map[gateway.ProviderType]codec {
	return map[gateway.ProviderType]codec{
		gateway.Anthropic: anthropicCodec{}, gateway.Google: googleCodec{}, gateway.Cohere: cohereCodec{}, gateway.Ollama: ollamaCodec{},
	}
}

// FuzzTranslateRequest: whatever ParseChat takes becomes valid JSON, or a bad request.
func FuzzTranslateRequest(f *testing.F) {
	f.Add(conversation)
	f.Add(`{"messages": [{"role": "user", "content": "Hi"}], "response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}`)
	f.Add(`{"messages": [{"role": "assistant", "content": " "}], "reasoning_effort": "high", "temperature": 1e999, "n": 3}`)
	f.Add(`{"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}], "tool_choice": "none", "tools": []}`)

	f.Fuzz(func(t *testing.T, body string) {
		chat, err := ParseChat([]byte(body))
		if err != nil {
			return
		}

		for kind, codec := range translatingCodecs() {
			for _, model := range []string{"claude-sonnet-4-5", "claude-opus-5"} {
				request, err := codec.chat(context.Background(), attemptAt(kind, model), chat, true)

				var failure *Failure

				switch {
				case errors.As(err, &failure) && failure.Trigger == BadRequest:
				case err != nil:
					t.Errorf("%s: %v", kind, err)
				default:
					if sent, _ := io.ReadAll(request.Body); !json.Valid(sent) {
						t.Errorf("%s: sent %s", kind, sent)
					}
				}
			}
		}
	})
}

// FuzzTranslateAnswer: any events give chunks that are JSON, and end in a good end or a failure; and so does any body.
func FuzzTranslateAnswer(f *testing.F) {
	for _, events := range [][]string{anthropicEvents(), googleEvents(), cohereEvents()} {
		f.Add(strings.Join(events, "\n"))
	}

	f.Add(compact(json.RawMessage(anthropicWhole)))
	f.Add(compact(json.RawMessage(googleWhole)))
	f.Add(compact(json.RawMessage(cohereWhole)))
	f.Add(`{"model":"m","message":{"content":"a","tool_calls":[{"function":{"arguments":null}}]}}` + "\n" + `{"done":true,"eval_count":-1}`)
	f.Add(`{"candidates":[{"index":-1,"finishReason":"STOP"},{"index":99999,"content":{"parts":[{"functionCall":{}}]}}]}`)

	chat := chatOf(f, conversation)

	f.Fuzz(func(t *testing.T, text string) {
		for kind, codec := range translatingCodecs() {
			decoder := codec.decoder(attemptAt(kind, "m"), chat)

			for line := range strings.Lines(text) {
				chunks, done, err := decoder.event("", []byte(line))
				if wantChunks(t, kind, chunks, err); done || err != nil {
					break
				}
			}

			wantChunks(t, kind, nil, decoder.end())

			if tokens := decoder.usage().Tokens; tokens.Input < 0 || tokens.Output < 0 || tokens.CacheRead < 0 || tokens.CacheWrite < 0 || tokens.Reasoning < 0 {
				t.Errorf("%s: counted %+v", kind, tokens)
			}

			completion, err := codec.completion(attemptAt(kind, "m"), chat, []byte(text))
			if err == nil {
				wantChunks(t, kind, [][]byte{completion.Body}, nil)
			} else {
				wantChunks(t, kind, nil, err)
			}
		}
	})
}

func wantChunks(t *testing.T, kind gateway.ProviderType, chunks [][]byte, err error) {
	t.Helper()

	var failure *Failure
	if err != nil && !errors.As(err, &failure) {
		t.Errorf("%s: %v is no failure", kind, err)
	}

	for _, chunk := range chunks {
		if !json.Valid(chunk) {
			t.Errorf("%s: made %s", kind, chunk)
		}
	}
}

// FuzzAppendText: the text is a JSON string that says the same.
func FuzzAppendText(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f \"\\/\n\t\u2028é😀\xff")

	f.Fuzz(func(t *testing.T, text string) {
		var back string
		if err := json.Unmarshal(appendText(nil, text), &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") && back != validated(text) {
			t.Errorf("got %q, %v", back, err)
		}
	})
}

// validated has a replacement for each bad byte, as encoding/json has.
func validated(text string) string { return string([]rune(text)) }
