package dialect

import (
	"context"
	"net/http"
	"testing"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

// What OpenAI-like types understand goes up as it came, the unknown included; only what must be is changed.
func TestOpenAIRequest(t *testing.T) {
	t.Parallel()

	const asked = `{"model":"asked","stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"<&>"},
		{"type":"image_url","image_url":{"url":"https://images.test/a.png"}}]}],
		"tools":[{"type":"function","function":{"name":"f"}}],"response_format":{"type":"json_object"},"logit_bias":{"50256":-100},
		"reasoning_effort":"low","seed":7,"user":"u-1","brand_new":{"deep":[1.50,1e400]}`

	const kept = `"messages":[{"role":"user","content":[{"type":"text","text":"<&>"},
		{"type":"image_url","image_url":{"url":"https://images.test/a.png"}}]}],` +
		`"model":"up","reasoning_effort":"low","response_format":{"type":"json_object"}`

	const common = `{"brand_new":{"deep":[1.50,1e400]},"logit_bias":{"50256":-100},`
	const tools = `"tools":[{"type":"function","function":{"name":"f"}}]`

	for name, example := range map[string]struct {
		attempt Attempt
		asked   string
		stream  bool
		url     string
		body    string
	}{
		"openai plain": {
			attemptAt(gateway.OpenAI, "up"), asked + `}`, false, "https://provider.test/v1/chat/completions",
			common + kept + `,"seed":7,` + tools + `,"user":"u-1"}`,
		},
		"openai streamed": {
			attemptAt(gateway.OpenAI, "up"), asked + `,"stream_options":{"include_obfuscation":false}}`, true,
			"https://provider.test/v1/chat/completions",
			common + kept + `,"seed":7,"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true},` + tools + `,"user":"u-1"}`,
		},
		"vllm streamed": {
			attemptAt(gateway.VLLM, "up"), asked + `}`, true, "https://provider.test/v1/chat/completions",
			common + kept + `,"seed":7,"stream":true,"stream_options":{"include_usage":true},` + tools + `,"user":"u-1"}`,
		},
		"custom streamed": {
			attemptAt(gateway.Custom, "up"), asked + `}`, true, "https://provider.test/v1/chat/completions",
			common + kept + `,"seed":7,"stream":true,"stream_options":{"include_usage":true},` + tools + `,"user":"u-1"}`,
		},
		"mistral streamed": {
			attemptAt(gateway.Mistral, "up"), asked + `}`, true, "https://provider.test/v1/chat/completions",
			common + kept[:] + `,"random_seed":7,"stream":true,` + tools + `}`,
		},
		"azure by model": {
			attemptAt(gateway.AzureOpenAI, "gpt/4 o"), `{"messages":[{"role":"user","content":"x"}],"stream":true}`, true,
			"https://provider.test/openai/deployments/gpt%2F4%20o/chat/completions?api-version=2024-02-01",
			`{"messages":[{"role":"user","content":"x"}],"model":"gpt/4 o","stream":true}`,
		},
		"azure by deployment": {
			azureAt("2024-10-21", "depl"), `{"messages":[{"role":"user","content":"x"}],"stream":true}`, true,
			"https://provider.test/openai/deployments/depl/chat/completions?api-version=2024-10-21",
			`{"messages":[{"role":"user","content":"x"}],"model":"up","stream":true,"stream_options":{"include_usage":true}}`,
		},
	} {
		request, err := openAICodec{}.chat(context.Background(), example.attempt, chatOf(t, example.asked), example.stream)

		sent := sentBy(t, request, err)
		if sent.url != example.url || sent.header.Get("Content-Type") != "application/json" || sent.header.Get("X-Correlation-ID") != "c-1" {
			t.Errorf("%s: sent to %s with %v", name, sent.url, sent.header)
		}

		if want := sortedDocument(t, example.body); sent.body != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, sent.body, want)
		}
	}
}

// sortedDocument keeps every byte of the values.
func sortedDocument(t *testing.T, text string) string {
	t.Helper()

	fields := (&reader{}).fields([]byte(text))
	if fields == nil {
		t.Fatalf("no object: %s", text)
	}

	return string(document(fields))
}

func azureAt(version, deployment string) Attempt {
	attempt := attemptAt(gateway.AzureOpenAI, "up")
	attempt.Target.Credentials["api_version"] = version
	attempt.Target.Credentials["deployment_name"] = deployment

	return attempt
}

func TestTheClampGoesUpstream(t *testing.T) {
	t.Parallel()

	for kind, plain := range map[gateway.ProviderType]string{
		gateway.OpenAI: "max_completion_tokens", gateway.Mistral: "max_tokens", gateway.VLLM: "max_tokens", gateway.Custom: "max_tokens",
	} {
		newer := "max_completion_tokens"
		if kind == gateway.Mistral {
			newer = "max_tokens" // the only name it knows
		}

		for asked, field := range map[string]string{
			``: plain, `"max_tokens":900,`: "max_tokens", `"max_completion_tokens":900,`: newer,
			`"max_tokens":900,"max_completion_tokens":800,`: newer, `"max_tokens":null,`: plain,
		} {
			attempt := attemptAt(kind, "up")
			attempt.MaxOutputTokens = 100

			sent := chatSent(t, openAICodec{}, attempt, `{`+asked+`"messages":[{"role":"user","content":"x"}]}`)
			for _, name := range []string{"max_tokens", "max_completion_tokens"} {
				want := ""
				if name == field {
					want = "100"
				}

				if got := memberOf(sent.body, name); got != want {
					t.Errorf("%s asked %s: %s is %q, want %q", kind, asked, name, got, want)
				}
			}
		}
	}

	for version, field := range map[string]string{"2024-02-01": "max_tokens", "2024-10-21": "max_completion_tokens"} {
		attempt := azureAt(version, "d")
		attempt.MaxOutputTokens = 100

		if sent := chatSent(t, openAICodec{}, attempt, `{"messages":[{"role":"user","content":"x"}]}`); memberOf(sent.body, field) != "100" {
			t.Errorf("azure %s: got %s", version, sent.body)
		}
	}

	if sent := chatSent(t, openAICodec{}, attemptAt(gateway.OpenAI, "up"), `{"messages":[{"role":"user","content":"x"}],"max_tokens":5}`); memberOf(sent.body, "max_tokens") != "5" {
		t.Errorf("without a clamp: got %s", sent.body)
	}
}

func TestReadingUsage(t *testing.T) {
	t.Parallel()

	for raw, want := range map[string]domain.Tokens{
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14}`: {Input: 10, Output: 4},
		`{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":6},"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":3}}`: {
			Input: 4, CacheRead: 6, Output: 1, Reasoning: 3,
		},
		`{"prompt_tokens":10,"prompt_cache_hit_tokens":6,"completion_tokens":4}`:                                              {Input: 4, CacheRead: 6, Output: 4},
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":17,"completion_tokens_details":{"reasoning_tokens":3}}`:     {Input: 10, Output: 4, Reasoning: 3},
		`{"prompt_tokens":10,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":30}}`:                      {Input: 10, Output: 4, Reasoning: 30},
		`{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":60},"completion_tokens":-4}`:                            {CacheRead: 10},
		`{"prompt_tokens":10,"prompt_tokens_details":null,"completion_tokens":4,"completion_tokens_details":null,"extra":{}}`: {Input: 10, Output: 4},
		`{"prompt_tokens":0,"completion_tokens":0}`:                                                                           {},
		`{"prompt_tokens":8,"total_tokens":8}`:                                                                                {Input: 8},
	} {
		if got := readUsage([]byte(raw)); got.Tokens != want || got.Source != Reported || string(got.Raw) != raw {
			t.Errorf("%s: got %+v", raw, got)
		}
	}

	for _, raw := range []string{``, `null`, `{}`, `{"total_tokens":3}`, `{"prompt_tokens":"many"}`, `[]`} {
		if got := readUsage([]byte(raw)); got.Source != "" {
			t.Errorf("%s: got %+v", raw, got)
		}
	}
}

// The table "From a failure to a failover trigger".
func TestOpenAIFailures(t *testing.T) {
	t.Parallel()

	said := func(code, kind string) string {
		return `{"error":{"message":"because","type":"` + kind + `","param":"messages[0].role","code":"` + code + `"}}`
	}

	for name, example := range map[string]struct {
		status  int
		body    string
		trigger Trigger
		code    string
		param   string
	}{
		"408":                       {408, ``, Timeout, "provider_timeout", ""},
		"504":                       {504, `<html>`, Timeout, "provider_timeout", ""},
		"429":                       {429, said("rate_limit_exceeded", "requests"), RateLimit, "rate_limit_exceeded", ""},
		"429 without a word":        {429, ``, RateLimit, "rate_limited", ""},
		"429 mistral":               {429, `{"object":"error","message":"Requests rate limit exceeded","code":"1300"}`, RateLimit, "rate_limited", ""},
		"429 azure":                 {429, `{"error":{"code":"429","message":"Please retry after 8 seconds."}}`, RateLimit, "rate_limited", ""},
		"429 out of money":          {429, said("insufficient_quota", "insufficient_quota"), Dead, "insufficient_quota", ""},
		"429 billing":               {429, said("billing_not_active", "x"), Dead, "billing_not_active", ""},
		"500":                       {500, said("", "server_error"), ServerError, "server_error", ""},
		"502":                       {502, `bad gateway`, ServerError, "provider_error", ""},
		"503":                       {503, ``, ServerError, "provider_error", ""},
		"529":                       {529, ``, ServerError, "provider_error", ""},
		"302":                       {302, ``, ServerError, "provider_error", ""},
		"409":                       {409, ``, ServerError, "provider_error", ""},
		"400 policy":                {400, said("content_policy_violation", "invalid_request_error"), ContentPolicy, "content_filter", "messages[0].role"},
		"400 azure's filter":        {400, `{"error":{"code":"content_filter","message":"filtered","param":"prompt","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, ContentPolicy, "content_filter", "prompt"},
		"401":                       {401, said("invalid_api_key", "invalid_request_error"), Dead, "invalid_api_key", ""},
		"402":                       {402, ``, Dead, "provider_unusable", ""},
		"403":                       {403, said("unsupported_country_region_territory", "request_forbidden"), Dead, "unsupported_country_region_territory", ""},
		"400":                       {400, said("context_length_exceeded", "invalid_request_error"), BadRequest, "context_length_exceeded", "messages[0].role"},
		"400 with a key of unknown": {400, said("canary", "canary"), BadRequest, "provider_refused", "messages[0].role"},
		"404":                       {404, said("model_not_found", "invalid_request_error"), BadRequest, "model_not_found", "messages[0].role"},
		"404 azure":                 {404, `{"error":{"code":"DeploymentNotFound","message":"no"}}`, BadRequest, "DeploymentNotFound", ""},
		"413":                       {413, ``, BadRequest, "provider_refused", ""},
		"422 mistral":               {422, `{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}`, BadRequest, "provider_refused", ""},
		"422 odd param":             {422, `{"error":{"message":"m","param":"what you said: hello"}}`, BadRequest, "provider_refused", ""},
		"400 vllm":                  {400, `{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`, BadRequest, "provider_refused", ""},
		"200 with an error":         {200, said("", "server_error"), ServerError, "server_error", ""},
		"200 rate":                  {200, said("rate_limit_exceeded", "tokens"), RateLimit, "rate_limit_exceeded", ""},
		"200 as vllm":               {200, `{"error":{"object":"error","message":"too long","type":"BadRequestError","code":400}}`, BadRequest, "provider_refused", ""},
		"200 no money":              {200, said("insufficient_quota", ""), Dead, "insufficient_quota", ""},
		"200 no reason":             {200, `{"error":"oh"}`, ServerError, "provider_error", ""},
	} {
		failure := openAICodec{}.failure(attemptAt(gateway.OpenAI, "m"), example.status, http.Header{}, []byte(example.body))
		if failure.Trigger != example.trigger || failure.Code != example.code || failure.Param != example.param ||
			failure.Status != example.status || failure.Message == "" {
			t.Errorf("%s: got %+v", name, failure)
		}
	}
}

func TestOpenAIStreamOddities(t *testing.T) {
	t.Parallel()

	const (
		head = `{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,`
		last = head + `"delta":{},"finish_reason":"stop"}]}`
	)

	for name, example := range map[string]struct {
		events []string
		want   said
		usage  domain.Tokens
	}{
		"no role":          {[]string{head + `"delta":{"content":"a"}}]}`, last, `[DONE]`}, said{Content: "a"}, domain.Tokens{}},
		"empty delta":      {[]string{head + `"delta":{ }}]}`, head + `"delta":{"content":"a"}}]}`, last}, said{Content: "a"}, domain.Tokens{}},
		"no end mark":      {[]string{head + `"delta":{"role":"assistant","content":"a"}}]}`, last}, said{Content: "a"}, domain.Tokens{}},
		"usage everywhere": {[]string{head + `"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`, head + `"delta":{"content":"{\"prompt_tokens\":3}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2},"x":1}`}, said{Content: `a{"prompt_tokens":3}`}, domain.Tokens{Input: 3, Output: 2}},
		"usage is null":    {[]string{head + `"delta":{"role":"assistant","content":"a"},"finish_reason":null}],"usage":null}`, last}, said{Content: "a"}, domain.Tokens{}},
	} {
		decoder := openAICodec{}.decoder(attemptAt(gateway.Custom, "m"), chatOf(t, `{"messages":[{"role":"user","content":"x"}]}`))

		got, err := played(t, decoder, example.events...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}

		if got.Role != "assistant" || got.Content != example.want.Content || got.Finish != "stop" || decoder.usage().Tokens != example.usage {
			t.Errorf("%s: got %+v, %+v", name, got, decoder.usage())
		}
	}

	for name, events := range map[string][]string{
		"cut":                 {head + `"delta":{"role":"assistant","content":"a"}}]}`},
		"nothing":             {},
		"garbage":             {`{"id":`},
		"no object":           {`[1]`},
		"error":               {`{"error":{"message":"no"}}`},
		"error, as vllm said": {`{"object":"error","message":"no","type":"InternalServerError","code":500}`},
	} {
		decoder := openAICodec{}.decoder(attemptAt(gateway.VLLM, "m"), chatOf(t, `{"messages":[{"role":"user","content":"x"}]}`))

		_, err := played(t, decoder, events...)
		wantFailure(t, name, err, ServerError)
	}
}

// Of two choices both have to end.
func TestEveryChoiceHasToEnd(t *testing.T) {
	t.Parallel()

	chat := chatOf(t, `{"n":2,"messages":[{"role":"user","content":"x"}]}`)
	decoder := openAICodec{}.decoder(attemptAt(gateway.OpenAI, "m"), chat)

	for i, choices := range []string{
		`[{"index":0,"delta":{"role":"assistant","content":"a"}},{"index":1,"delta":{"role":"assistant","content":"b"}}]`,
		`[{"index":0,"delta":{},"finish_reason":"stop"}]`,
		`[{"index":1,"delta":{},"finish_reason":"stop"}]`,
	} {
		if _, _, err := decoder.event("", []byte(`{"id":"c","choices":`+choices+`}`)); err != nil {
			t.Fatal(err)
		}

		if err := decoder.end(); (err == nil) != (i == 2) {
			t.Errorf("after %d chunks the end is %v", i+1, err)
		}
	}
}
