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

// Whatever a client sends, it is refused with a reason, or it becomes a JSON document for every type that speaks OpenAI's format.
func FuzzOpenAIRequest(f *testing.F) {
	for _, seed := range []string{
		conversation, `{"messages":[{"role":"user","content":"x"}],"n":2,"seed":1e9,"stop":["a"],"max_tokens":1}`,
		`{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true,"x":[]},"logit_bias":{"1":2}}`,
		`{"messages":[{"role":"system","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}}`,
		`{"messages":[{"role":"function","name":"f","content":"x"}],"tool_choice":{"type":"function","function":{"name":"f"}}}`,
		`{"model":"e","input":["a","b"],"dimensions":3,"encoding_format":"base64"}`, `{"input":[[1,2],[3]]}`, `{`, `[]`, ``,
	} {
		f.Add([]byte(seed), int64(0))
		f.Add([]byte(seed), int64(77))
	}

	f.Fuzz(func(t *testing.T, body []byte, clamp int64) {
		var refusal *RequestError

		chat, err := ParseChat(body)
		if err != nil && (!errors.As(err, &refusal) || refusal.Message == "") {
			t.Fatalf("got %v", err)
		}

		embeddings, err := ParseEmbeddings(body)
		if err != nil && (!errors.As(err, &refusal) || refusal.Message == "") {
			t.Fatalf("got %v", err)
		}

		for _, kind := range []gateway.ProviderType{gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI} {
			attempt := attemptAt(kind, "model")
			attempt.MaxOutputTokens = max(0, clamp)

			codec, _ := codecOf(kind)

			if chat != nil {
				for _, stream := range []bool{false, true} {
					request, err := codec.chat(context.Background(), attempt, chat, stream)
					if err != nil {
						wantFailure(t, string(kind), err, BadRequest)

						continue
					}

					if sent, _ := io.ReadAll(request.Body); !json.Valid(sent) {
						t.Errorf("%s sends %s", kind, sent)
					}
				}

				if chat.EstimatedPromptTokens() < 0 {
					t.Error("estimates a negative count")
				}
			}

			if embeddings != nil {
				request, err := codec.embeddings(context.Background(), attempt, embeddings)
				if err != nil {
					wantFailure(t, string(kind), err, BadRequest)

					continue
				}

				if sent, _ := io.ReadAll(request.Body); !json.Valid(sent) {
					t.Errorf("%s sends %s", kind, sent)
				}
			}
		}
	})
}

// Whatever a provider answers, plain or in events, it is a failure or JSON in OpenAI's format.
func FuzzOpenAIAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
		`{"id":"a","choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}` + "\n" + `[DONE]`,
		`{"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`, `{"choices":[{"delta":null}]}`,
		`{"data":[{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":1}}`, `{"object":"error","code":429}`,
		`{"error":{"message":"x","code":429}}`, `{`, `null`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}

	chat, err := ParseChat([]byte(`{"messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		f.Fatal(err)
	}

	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []gateway.ProviderType{gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI} {
			attempt := attemptAt(kind, "model")
			codec, _ := codecOf(kind)

			completion, err := codec.completion(attempt, chat, text)
			if failure := (*Failure)(nil); err != nil && !errors.As(err, &failure) || err == nil && !json.Valid(completion.Body) {
				t.Errorf("%s reads %s, %v", kind, completion.Body, err)
			}

			vectors, err := codec.embedded(attempt, &Embeddings{Inputs: []string{"x"}}, text)
			if failure := (*Failure)(nil); err != nil && !errors.As(err, &failure) || err == nil && !json.Valid(vectors.Body) {
				t.Errorf("%s reads %s, %v", kind, vectors.Body, err)
			}

			for _, status := range []int{200, 400, 429, 503} {
				if failure := codec.failure(attempt, status, nil, text); failure.Trigger == "" || failure.Message == "" || failure.Code == "" {
					t.Errorf("%s judges %d %s as %+v", kind, status, text, failure)
				}
			}

			playAll(t, string(kind), codec.decoder(attempt, chat), string(text))
		}
	})
}

// playAll feeds a decoder line by line, as a stream does.
func playAll(t *testing.T, kind string, decoder streamDecoder, lines string) {
	t.Helper()

	for line := range strings.SplitSeq(lines, "\n") {
		chunks, done, err := decoder.event("", []byte(line))
		for _, chunk := range chunks {
			if !json.Valid(chunk) {
				t.Errorf("%s makes %q of %q", kind, chunk, line)
			}
		}

		if failure := (*Failure)(nil); err != nil && !errors.As(err, &failure) {
			t.Errorf("%s fails with %v", kind, err)
		}

		if done || err != nil {
			break
		}
	}

	if usage := decoder.usage().Tokens; usage.Input < 0 || usage.Output < 0 || usage.CacheRead < 0 || usage.CacheWrite < 0 || usage.Reasoning < 0 {
		t.Errorf("%s counts %+v", kind, usage)
	}

	if err := decoder.end(); err != nil {
		wantFailure(t, kind, err, ServerError)
	}
}
