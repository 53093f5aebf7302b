package dialect_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

func failureOf(t *testing.T, err error) *dialect.Failure {
	t.Helper()

	var failure *dialect.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure", err)
	}

	if text := failure.Error() + failure.Param + failure.Code; strings.Contains(text, "canary sings") || strings.Contains(text, testKey) ||
		failure.Message == "" || failure.Code == "" {
		t.Errorf("failure %+v says too much or too little", failure)
	}

	return failure
}

// The faults of the table, for a plain call, and for a stream before anything of it was passed on: all free to fail over.
func TestFaultsBeforeAnythingIsDelivered(t *testing.T) {
	t.Parallel()

	reply := gatewaytest.Reply{Text: "a long enough answer", Chunks: 4}

	for name, example := range map[string]struct {
		behaviour gatewaytest.Behaviour
		trigger   dialect.Trigger
		code      string
		wait      time.Duration
	}{
		"hangs before the header": {gatewaytest.Hang(), dialect.Timeout, "first_byte_timeout", 0},
		"hangs after the header":  {gatewaytest.HangAfterHeader(), dialect.Timeout, "first_byte_timeout", 0},
		"aborts":                  {gatewaytest.Abort(), dialect.ServerError, "connect", 0},
		"web page":                {gatewaytest.Garbage(), dialect.ServerError, "", 0},
		"garbage as JSON":         {gatewaytest.Answer(http.StatusOK, `{"choices":[{]}`), dialect.ServerError, "", 0},
		"empty object":            {gatewaytest.Answer(http.StatusOK, `{}`), dialect.ServerError, "", 0},
		"error under status 200":  {gatewaytest.ErrorInAnswer(), dialect.ServerError, "", 0},
		"redirect":                {gatewaytest.Redirect("http://127.0.0.1:1/"), dialect.ServerError, "", 0},
		"429":                     {gatewaytest.RateLimited(0), dialect.RateLimit, "", 0},
		"429 with Retry-After":    {gatewaytest.RateLimited(7 * time.Second), dialect.RateLimit, "", 7 * time.Second},
		"529":                     {gatewaytest.Failing(529), dialect.ServerError, "", 0},
		"500":                     {gatewaytest.Failing(http.StatusInternalServerError), dialect.ServerError, "", 0},
		"502 as text":             {gatewaytest.Text(http.StatusBadGateway, "away"), dialect.ServerError, "", 0},
		"504":                     {gatewaytest.Failing(http.StatusGatewayTimeout), dialect.Timeout, "", 0},
		"401":                     {gatewaytest.Unauthorized(), dialect.Dead, "", 0},
		"413":                     {gatewaytest.Text(http.StatusRequestEntityTooLarge, "too large"), dialect.BadRequest, "", 0},
		"withheld":                {gatewaytest.Chat(gatewaytest.Reply{FinishReason: "content_filter"}), dialect.ContentPolicy, "content_filter", 0},
		"echo":                    {gatewaytest.Text(http.StatusInternalServerError, "I can't answer '"+canary+"' with "+testKey), dialect.ServerError, "", 0},
	} {
		for _, kind := range kinds() {
			if kind == gateway.Ollama && example.trigger == dialect.ContentPolicy {
				continue // it has no filter
			}

			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel()

				_, attempt := provider(t, kind, example.behaviour)
				caller := dialect.NewClient(&http.Client{Transport: &http.Transport{}}, "", short)

				_, plain := caller.Chat(context.Background(), attempt, parse(t, askPlain))

				_, streamed := caller.Stream(context.Background(), attempt, parse(t, askQuiet))

				for _, err := range []error{plain, streamed} {
					failure := failureOf(t, err)
					if failure.Trigger != example.trigger || example.code != "" && failure.Code != example.code ||
						failure.RetryAfter != example.wait {
						t.Errorf("got %+v", failure)
					}
				}
			})
		}
	}

	for _, kind := range kinds() {
		for name, want := range map[string]struct {
			behaviour gatewaytest.Behaviour
			code      string
		}{
			"hangs": {gatewaytest.HangMidAnswer(reply), "idle_timeout"},
			"cut":   {gatewaytest.CutMidAnswer(reply), "answer_cut"},
			"ends":  {gatewaytest.EndMidAnswer(reply), "bad_answer"},
		} {
			_, attempt := provider(t, kind, want.behaviour)

			_, err := client(short).Chat(context.Background(), attempt, parse(t, askPlain))
			if failure := failureOf(t, err); failure.Code != want.code {
				t.Errorf("%s %s: got %+v", kind, name, failure)
			}
		}
	}
}

// After the first chunk a fault ends the stream with a failure, never with a good end.
func TestFaultsInTheMiddleOfAStream(t *testing.T) {
	t.Parallel()

	reply := gatewaytest.Reply{Text: "a long enough answer", Chunks: 8}

	for name, example := range map[string]struct {
		behaviour gatewaytest.Behaviour
		trigger   dialect.Trigger
		code      string
	}{
		"hangs":      {gatewaytest.HangMidAnswer(reply), dialect.Timeout, "idle_timeout"},
		"is cut":     {gatewaytest.CutMidAnswer(reply), dialect.ServerError, "stream_cut"},
		"ends early": {gatewaytest.EndMidAnswer(reply), dialect.ServerError, "stream_cut"},
		"error":      {gatewaytest.ErrorMidAnswer(reply), dialect.ServerError, ""},
	} {
		for _, kind := range kinds() {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				t.Parallel()

				_, attempt := provider(t, kind, example.behaviour)

				stream, err := client(short).Stream(context.Background(), attempt, parse(t, askUsage))
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Close()

				got := collect(t, stream)
				if failure := failureOf(t, got.err); failure.Trigger != example.trigger || example.code != "" && failure.Code != example.code {
					t.Errorf("got %+v", failure)
				}

				if got.text == "" || !strings.HasPrefix(reply.Text, got.text) || got.usageChunks != 0 || stream.Usage().Tokens.Total() == 0 {
					t.Errorf("got %+v, %+v", got, stream.Usage())
				}

				if _, again := stream.Next(); !errors.Is(again, got.err) {
					t.Errorf("after the failure came %v", again)
				}
			})
		}
	}
}

// A filter that strikes after something was passed on is a finish reason, as with OpenAI.
func TestFilterAfterTheFirstChunk(t *testing.T) {
	t.Parallel()

	for _, kind := range openAIKinds() {
		_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Text: "some", FinishReason: "content_filter"}))

		stream, err := client(dialect.Timeouts{}).Stream(context.Background(), attempt, parse(t, askQuiet))
		if err != nil {
			t.Fatal(err)
		}

		if got := collect(t, stream); got.finish != "content_filter" || !errors.Is(got.err, io.EOF) {
			t.Errorf("%s: got %+v", kind, got)
		}

		stream.Close()
	}
}

func TestTheWholeAttemptIsBounded(t *testing.T) {
	t.Parallel()

	_, attempt := provider(t, gateway.OpenAI, gatewaytest.HangMidAnswer(gatewaytest.Reply{Text: "some text", Chunks: 8}))
	caller := client(dialect.Timeouts{Total: 100 * time.Millisecond})

	_, err := caller.Chat(context.Background(), attempt, parse(t, askPlain))
	if failure := failureOf(t, err); failure.Trigger != dialect.Timeout || failure.Code != "total_timeout" {
		t.Errorf("got %+v", failure)
	}
}

func TestACallerWhoGoesAwayIsNoFaultOfTheProvider(t *testing.T) {
	t.Parallel()

	_, attempt := provider(t, gateway.OpenAI, gatewaytest.HangMidAnswer(gatewaytest.Reply{Text: "some text", Chunks: 8}))

	ctx, cancel := context.WithCancel(context.Background())

	stream, err := client(dialect.Timeouts{}).Stream(ctx, attempt, parse(t, askQuiet))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()

	cancel()

	if failure := failureOf(t, collect(t, stream).err); failure.Trigger != dialect.Cancelled {
		t.Errorf("got %+v", failure)
	}

	_, err = client(dialect.Timeouts{}).Chat(ctx, attempt, parse(t, askPlain))
	if failure := failureOf(t, err); failure.Trigger != dialect.Cancelled {
		t.Errorf("got %+v", failure)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()

	server, attempt := provider(t, gateway.OpenAI, gatewaytest.Hang())
	server.Close()

	_, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askPlain))
	if failure := failureOf(t, err); failure.Trigger != dialect.ServerError || failure.Code != "connect" || failure.Status != 0 {
		t.Errorf("got %+v", failure)
	}
}

// The transport's own timeouts are timeouts too, told apart by what they waited for.
func TestTheTransportsTimeouts(t *testing.T) {
	t.Parallel()

	_, attempt := provider(t, gateway.OpenAI, gatewaytest.Hang())

	for code, transport := range map[string]*http.Transport{
		"first_byte_timeout": {ResponseHeaderTimeout: 50 * time.Millisecond},
		"connect_timeout":    {DialContext: (&net.Dialer{Timeout: time.Nanosecond}).DialContext},
	} {
		caller := dialect.NewClient(&http.Client{Transport: transport}, "", dialect.Timeouts{})

		_, err := caller.Chat(context.Background(), attempt, parse(t, askPlain))
		if failure := failureOf(t, err); failure.Trigger != dialect.Timeout || failure.Code != code {
			t.Errorf("got %+v, want %s", failure, code)
		}
	}
}

func TestTargetsThatCantBeCalled(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*dialect.Attempt){
		"unknown type":   func(a *dialect.Attempt) { a.Target.Type = "bedrock" },
		"no base URL":    func(a *dialect.Attempt) { a.Target = gateway.Target{Type: gateway.VLLM} },
		"dots for azure": func(a *dialect.Attempt) { a.Target.Type, a.Model = gateway.AzureOpenAI, ".." },
		"custom header":  func(a *dialect.Attempt) { a.Target.CustomHeaders = map[string]string{"Host": "x"} },
	} {
		_, attempt := provider(t, gateway.OpenAI, gatewaytest.Hang())
		change(&attempt)

		_, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askPlain))
		if failure := failureOf(t, err); failure.Trigger != dialect.Dead || failure.Code != "provider_configuration" {
			t.Errorf("%s: got %+v", name, failure)
		}
	}
}

// What only OpenAI-like types can take is refused for others, by name, and passes for those.
func TestForeignFields(t *testing.T) {
	t.Parallel()

	chat := parse(t, `{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"QUJD","format":"wav"}}]}]}`)

	for _, kind := range gateway.ProviderTypes() {
		_, attempt := provider(t, gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: "x"}))
		attempt.Target.Type = kind

		_, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, chat)

		var failure *dialect.Failure
		if isForeign := errors.As(err, &failure) && failure.Param == "messages[0].content[0]"; isForeign == isOpenAILike(kind) {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

func isOpenAILike(kind gateway.ProviderType) bool {
	return slices.Contains(openAIKinds(), kind)
}

// An answer that never ends is not read for ever, in one piece or as one event.
func TestAnswersThatAreTooLarge(t *testing.T) {
	t.Parallel()

	_, attempt := provider(t, gateway.OpenAI, gatewaytest.Big(40<<20))

	_, err := client(dialect.Timeouts{}).Chat(context.Background(), attempt, parse(t, askPlain))
	if failure := failureOf(t, err); !strings.Contains(failure.Message, "too large") {
		t.Errorf("got %+v", failure)
	}

	_, attempt = provider(t, gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: strings.Repeat("x", 5<<20), Chunks: 1}))

	_, err = client(dialect.Timeouts{}).Stream(context.Background(), attempt, parse(t, askQuiet))
	if failure := failureOf(t, err); !strings.Contains(failure.Message, "too large") {
		t.Errorf("got %+v", failure)
	}
}

func TestEmbeddings(t *testing.T) {
	t.Parallel()

	for _, kind := range openAIKinds() {
		for _, input := range []string{`"one"`, `["one","two"]`} {
			_, attempt := provider(t, kind, gatewaytest.Chat(gatewaytest.Reply{Embedding: []float64{1, 2}}))

			request, err := dialect.ParseEmbeddings([]byte(`{"model":"e","user":"u","dimensions":2,"input":` + input + `}`))
			if err != nil {
				t.Fatal(err)
			}

			got, err := client(dialect.Timeouts{}).Embed(context.Background(), attempt, request)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}

			var answer struct {
				Object string
				Data   []struct{ Embedding []float64 }
			}
			if json.Unmarshal(got.Body, &answer) != nil || len(answer.Data) != len(request.Inputs) || len(answer.Data[0].Embedding) != 2 ||
				got.Usage.Tokens.Input != 12 || got.Usage.Tokens.Output != 0 || got.FinishReason != "" || got.FirstByte <= 0 {
				t.Errorf("%s: got %+v, %s", kind, got.Usage, got.Body)
			}
		}

		_, attempt := provider(t, kind, gatewaytest.Failing(http.StatusTooManyRequests))

		request, _ := dialect.ParseEmbeddings([]byte(`{"input":"` + canary + `"}`))

		_, err := client(dialect.Timeouts{}).Embed(context.Background(), attempt, request)
		if failure := failureOf(t, err); failure.Trigger != dialect.RateLimit {
			t.Errorf("%s: got %+v", kind, failure)
		}
	}
}
