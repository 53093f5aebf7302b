package cli_test

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// What issue 3 is done by: OpenAI's own client, as npm has it, against a running Archon. It is told a base URL and a key.
var _ = Describe("OpenAI's client for JavaScript", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	var openai *sdk

	BeforeAll(func() {
		s = surfaceOf(install().start())
		openai = newSDK(s.installation)
	})

	for _, kind := range gateway.ProviderTypes() {
		Describe("through a provider of type "+string(kind), func() {
			var c *sdkUser
			BeforeEach(func() { c = sdkUserOf(s, kind) })

			It("gets whole answers", func() { wholeAnswers(openai, c) })
			It("gets streamed answers", func() { streamedAnswers(openai, c) })
			It("calls tools and sends their results back", func() { toolCalls(openai, c) })
			It("sends images", func() { images(openai, c) })
			It("asks for JSON", func() { jsonMode(openai, c, kind) })
			It("gets embeddings, or is told that there are none", func() { embeddings(openai, c, kind) })
			It("is told when a stream breaks off", func() { brokenStreams(openai, c) })
		})
	}

	Describe("without luck", func() {
		var c *sdkUser
		BeforeEach(func() { c = sdkUserOf(s, gateway.OpenAI) })
		refusalsOfKeys(func() (*sdk, *sdkUser) { return openai, c })
		refusalsOfRequests(func() (*sdk, *sdkUser) { return openai, c })
		failuresOfProviders(func() (*sdk, *sdkUser) { return openai, c })
	})

	It("leaves no prompt, no answer and no key behind", func() {
		everything := dump(s.installation) + s.running.output.String()
		for _, secret := range []string{"canary's prompt", "canary's answer", canary, "made-up-secret"} {
			Expect(everything).NotTo(ContainSubstring(secret))
		}
	})
})

func wholeAnswers(openai *sdk, c *sdkUser) {
	GinkgoHelper()
	models := openai.do(c.key, sdkCall{Call: "models.list"}).good()
	Expect(namesOf(models.Items, "id")).To(Equal([]any{"a-model", "b-model", embedder}))
	Expect(openai.do(c.key, sdkCall{Call: "models.retrieve", Args: []any{"b-model"}}).good().Value).To(HaveKeyWithValue("id", "b-model"))

	answer := openai.create(c.key, c.chat()).good()
	Expect(answer.Value).To(And(HaveKeyWithValue("object", "chat.completion"), HaveKey("id"), HaveKey("created"), HaveKey("model")))
	Expect(choice(answer.Value)).To(And(
		HaveKeyWithValue("finish_reason", "stop"),
		HaveKeyWithValue("message", And(HaveKeyWithValue("role", "assistant"), HaveKeyWithValue("content", hello)))))
	Expect(answer.Value["usage"]).To(And(
		HaveKeyWithValue("prompt_tokens", 12.0), HaveKeyWithValue("completion_tokens", 7.0), HaveKeyWithValue("total_tokens", 19.0)))

	By("finding the call in the log at the position that the answer names")
	calls := c.recorded()
	Expect(calls).To(HaveLen(1))
	Expect(calls[0]).To(And(
		HaveKeyWithValue("call_id", answer.Headers["x-request-id"]), HaveKeyWithValue("outcome", "succeeded"), HaveKeyWithValue("key_id", c.keyID),
		HaveKeyWithValue("requested_model", "a-model"), HaveKeyWithValue("usage_source", "provider"), HaveKeyWithValue("status", 200.0)))
	position, err := strconv.ParseInt(answer.Headers["x-event-position"], 10, 64)
	Expect(err).NotTo(HaveOccurred())
	Expect(position).To(BeNumerically("<=", c.head(c.admin)))
}

func streamedAnswers(openai *sdk, c *sdkUser) {
	GinkgoHelper()
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello, Chunks: 5, FinishReason: "length", Usage: domain.Tokens{Input: 30, Output: 4}}))

	text, finish, usage := openai.create(c.key, c.chat(map[string]any{"stream": true})).good().said()
	Expect(text).To(Equal(hello))
	Expect(finish).To(Equal("length"))
	Expect(usage).To(BeNil(), "it was not asked for")

	counted := map[string]any{"stream": true, "stream_options": map[string]any{"include_usage": true}}
	answer := openai.create(c.key, c.chat(counted)).good()
	text, finish, usage = answer.said()
	Expect(text).To(Equal(hello))
	Expect(finish).To(Equal("length"))
	Expect(usage).To(And(HaveKeyWithValue("prompt_tokens", 30.0), HaveKeyWithValue("completion_tokens", 4.0), HaveKeyWithValue("total_tokens", 34.0)))
	Expect(answer.Headers).To(And(HaveKey("x-request-id"), HaveKeyWithValue("content-type", HavePrefix("text/event-stream"))))

	By("letting the client put the pieces together")
	final := openai.do(c.key, sdkCall{Call: "chat.completions.stream", Args: []any{c.chat(counted)}}).good().Final
	Expect(choice(final)).To(And(HaveKeyWithValue("finish_reason", "length"), HaveKeyWithValue("message", HaveKeyWithValue("content", hello))))
	Expect(final["usage"]).To(HaveKeyWithValue("total_tokens", 34.0))

	calls := c.recorded()
	Expect(calls).To(HaveLen(3), "as many as were served")
	Expect(calls).To(HaveEach(And(HaveKeyWithValue("streamed", true), HaveKeyWithValue("outcome", "succeeded"),
		HaveKeyWithValue("tokens", And(HaveKeyWithValue("input", 30.0), HaveKeyWithValue("output", 4.0))))))
}

// weather is a tool that models may call.
func weather() []any {
	return []any{map[string]any{"type": "function", "function": map[string]any{
		"name": "weather", "description": "What the weather is like.",
		"parameters": map[string]any{
			"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}, "additionalProperties": false,
		},
	}}}
}

func toolCalls(openai *sdk, c *sdkUser) {
	GinkgoHelper()
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{ToolCalls: []gatewaytest.ToolCall{
		{ID: "call_one", Name: "weather", Arguments: `{"city":"Zürich"}`}, {ID: "call_two", Name: "weather", Arguments: `{"city":"Genève"}`},
	}}))
	wanted := c.chat(map[string]any{"tools": weather(), "tool_choice": "auto"})
	plain := choice(openai.create(c.key, wanted).good().Value)
	Expect(c.sent()).To(ContainSubstring("What the weather is like."))
	wanted["stream"] = true
	streamed := choice(openai.do(c.key, sdkCall{Call: "chat.completions.stream", Args: []any{wanted}}).good().Final)
	for _, got := range []map[string]any{plain, streamed} {
		Expect(got).To(HaveKeyWithValue("finish_reason", "tool_calls"))
		calls, _ := got["message"].(map[string]any)["tool_calls"].([]any)
		Expect(calls).To(HaveLen(2), "parallel calls stay apart: %v", got)
		for i, city := range []string{"Zürich", "Genève"} {
			Expect(calls[i]).To(And(HaveKeyWithValue("type", "function"), HaveKeyWithValue("id", Not(BeEmpty())),
				HaveKeyWithValue("function", And(HaveKeyWithValue("name", "weather"), HaveKeyWithValue("arguments", MatchJSON(`{"city":"`+city+`"}`))))))
		}
		Expect(calls[0].(map[string]any)["id"]).NotTo(Equal(calls[1].(map[string]any)["id"]))
	}

	By("sending the results back")
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello}))
	said := plain["message"].(map[string]any)
	conversation := []any{message("user", question), said}
	for i, result := range []string{"sunny", "foggy"} {
		id := said["tool_calls"].([]any)[i].(map[string]any)["id"]
		conversation = append(conversation, map[string]any{"role": "tool", "tool_call_id": id, "content": result})
	}
	answer := openai.create(c.key, c.chat(map[string]any{"tools": weather(), "messages": conversation})).good()
	Expect(choice(answer.Value)["message"]).To(HaveKeyWithValue("content", hello))
	Expect(c.sent()).To(And(ContainSubstring("sunny"), ContainSubstring("foggy"), ContainSubstring("Genève")))
}

func images(openai *sdk, c *sdkUser) {
	GinkgoHelper()
	pixel := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n, the rest of an image"))
	answer := openai.create(c.key, c.chat(map[string]any{"messages": []any{map[string]any{"role": "user", "content": []any{
		map[string]any{"type": "text", "text": question},
		map[string]any{"type": "image_url", "image_url": map[string]any{"url": "data:image/png;base64," + pixel}},
	}}}})).good()
	Expect(choice(answer.Value)["message"]).To(HaveKeyWithValue("content", hello))
	Expect(c.sent()).To(And(ContainSubstring(pixel), ContainSubstring(question)))
}

func jsonMode(openai *sdk, c *sdkUser, kind gateway.ProviderType) {
	GinkgoHelper()
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: `{"hello":"world"}`}))
	for _, format := range []map[string]any{
		{"type": "json_object"},
		{"type": "json_schema", "json_schema": map[string]any{"name": "greeting", "schema": map[string]any{
			"type": "object", "properties": map[string]any{"hello": map[string]any{"type": "string"}}, "required": []string{"hello"}, "additionalProperties": false,
		}}},
	} {
		if kind == gateway.Anthropic && format["type"] == "json_schema" { // it is made to call a tool with the answer
			c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{ToolCalls: []gatewaytest.ToolCall{{ID: "call_one", Name: "json_answer", Arguments: `{"hello":"world"}`}}}))
		}
		answer := openai.do(c.key, sdkCall{Call: "chat.completions.parse", Args: []any{c.chat(map[string]any{"response_format": format})}}).good()
		Expect(choice(answer.Value)["message"]).To(HaveKeyWithValue("content", MatchJSON(`{"hello":"world"}`)))
	}
}

func embeddings(openai *sdk, c *sdkUser, kind gateway.ProviderType) {
	GinkgoHelper()
	vector := []float64{0.5, -0.25, 2}
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Embedding: vector}))
	texts := map[string]any{"model": embedder, "input": []string{question, "another text"}}
	answer := openai.do(c.key, sdkCall{Call: "embeddings.create", Args: []any{texts}})
	if kind == gateway.Anthropic {
		Expect(answer.Error).NotTo(BeNil())
		Expect(answer.Error.Class).To(Equal("BadRequestError"), answer.Error.Message)
		return
	}
	answer.good() // without being told otherwise the client asks for base64 and takes it apart
	texts["encoding_format"] = "float"
	for _, got := range []sdkAnswer{answer, openai.do(c.key, sdkCall{Call: "embeddings.create", Args: []any{texts}}).good()} {
		Expect(got.Value).To(And(HaveKeyWithValue("object", "list"), HaveKey("model"), HaveKeyWithValue("usage", HaveKeyWithValue("total_tokens", BeNumerically(">", 0)))))
		data := got.Value["data"].([]any)
		Expect(data).To(HaveLen(2))
		for i, entry := range data {
			Expect(entry).To(And(HaveKeyWithValue("index", float64(i)), HaveKeyWithValue("embedding", HaveExactElements(0.5, -0.25, 2.0))))
		}
	}
}

func brokenStreams(openai *sdk, c *sdkUser) {
	GinkgoHelper()
	reply := gatewaytest.Reply{Text: hello, Chunks: 6}
	for name, behaviour := range map[string]gatewaytest.Behaviour{
		"cut": gatewaytest.CutMidAnswer(reply), "ended": gatewaytest.EndMidAnswer(reply), "error": gatewaytest.ErrorMidAnswer(reply),
	} {
		c.upstream.Behave(behaviour)
		broken := openai.create(c.key, c.chat(map[string]any{"stream": true}))
		Expect(broken.Error).NotTo(BeNil(), name)
		Expect(broken.Error.IsAPIError).To(BeTrue(), "%s: %+v", name, broken.Error)
		Expect(broken.Error.Code).NotTo(BeEmpty(), name)
		Expect(broken.Items).NotTo(BeEmpty(), "what came before the break was passed on")
	}
	Expect(c.recorded()).To(And(HaveLen(3), HaveEach(HaveKeyWithValue("outcome", "incomplete"))))
}

// refused expects what the client throws for a refusal.
func refused(answer sdkAnswer, class string, status int, code string) sdkError {
	GinkgoHelper()
	Expect(answer.Error).NotTo(BeNil())
	Expect(answer.Error.Class).To(Equal(class), answer.Error.Message)
	Expect(answer.Error.Status).To(Equal(status), answer.Error.Message)
	Expect(answer.Error.Code).To(Equal(code), answer.Error.Message)
	Expect(answer.Error.Message).To(MatchRegexp(`^\d{3} [A-Z].*\.$`), "a sentence for a person")
	Expect(answer.Error.RequestID).NotTo(BeEmpty(), "what to ask an operator about")
	return *answer.Error
}

func refusalsOfKeys(given func() (*sdk, *sdkUser)) {
	It("tells a wrong key from a revoked one from one for other models", func() {
		openai, c := given()
		refused(openai.create("ak_"+c.name+".nobody.made-up-secret", c.chat()), "AuthenticationError", http.StatusUnauthorized, "invalid_api_key")
		refused(openai.do("sk-made-up-secret", sdkCall{Call: "models.list"}), "AuthenticationError", http.StatusUnauthorized, "invalid_api_key")

		narrow, _ := c.newKey(map[string]any{"models": []string{"b-*"}})
		refused(openai.create(narrow, c.chat()), "PermissionDeniedError", http.StatusForbidden, "model_not_allowed")
		openai.create(narrow, c.chat(map[string]any{"model": "b-model"})).good()
		Expect(namesOf(openai.do(narrow, sdkCall{Call: "models.list"}).good().Items, "id")).To(ConsistOf("b-model"))

		Expect(c.ask(http.MethodDelete, keysPath+"/"+c.keyID, c.admin, nil).status).To(Equal(http.StatusNoContent))
		refused(openai.create(c.key, c.chat()), "AuthenticationError", http.StatusUnauthorized, "invalid_api_key")
	})

	It("is told how long a key's limit lasts, and what is left of it", func() {
		openai, c := given()
		one, _ := c.newKey(map[string]any{"rate_limit_rpm": 1})
		first := openai.create(one, c.chat()).good()
		Expect(first.Headers).To(And(HaveKeyWithValue("x-ratelimit-limit-requests", "1"), HaveKeyWithValue("x-ratelimit-remaining-requests", "0"), HaveKey("x-ratelimit-reset-requests")))
		second := openai.create(one, c.chat())
		refused(second, "RateLimitError", http.StatusTooManyRequests, "rate_limit_exceeded")
		Expect(second.Requests[0].RetryAfterMs).To(HaveValue(MatchRegexp(`^\d+$`)))
	})

	It("is refused once the key's budget is spent, and does not try again", func() {
		openai, c := given()
		spent, _ := c.newKey(map[string]any{"budget_usd": 0})
		answer := openai.do(spent, sdkCall{Client: map[string]any{"maxRetries": 2}, Call: "chat.completions.create", Args: []any{c.chat(map[string]any{"model": "gpt-4o"})}})
		refused(answer, "RateLimitError", http.StatusTooManyRequests, "budget_exceeded")
		Expect(answer.Requests).To(HaveLen(1), "a budget does not refill while one waits")
	})
}

func refusalsOfRequests(given func() (*sdk, *sdkUser)) {
	It("is told which field is wrong", func() {
		openai, c := given()
		for param, body := range map[string]map[string]any{
			"messages":         c.chat(map[string]any{"messages": []any{}}),
			"messages[0].role": c.chat(map[string]any{"messages": []any{message("made-up-secret", question)}}),
			"temperature":      c.chat(map[string]any{"temperature": "hot"}),
		} {
			Expect(refused(openai.create(c.key, body), "BadRequestError", http.StatusBadRequest, codeOf(param)).Param).To(Equal(param))
		}
		Expect(c.upstream.Requests()).To(BeEmpty())
	})

	It("is told where nobody serves a model, and does not try again", func() {
		openai, c := given()
		provider := namesOf(c.get(providersPath, c.admin).list(), "id")[0].(string)
		Expect(c.ask(http.MethodPatch, providersPath+"/"+provider, c.admin, map[string]any{"is_enabled": false}).status).To(Equal(http.StatusOK))
		answer := openai.do(c.key, sdkCall{
			Client: map[string]any{"maxRetries": 2}, Call: "chat.completions.create", Args: []any{c.chat(map[string]any{"model": "no-such-model"})},
		})
		refused(answer, "InternalServerError", http.StatusServiceUnavailable, "no_provider")
		Expect(answer.Requests).To(HaveLen(1))
		refused(openai.do(c.key, sdkCall{Call: "models.retrieve", Args: []any{"no-such-model"}}), "NotFoundError", http.StatusNotFound, "model_not_found")
		refused(openai.do(c.key, sdkCall{Call: "responses.create", Args: []any{map[string]any{"model": c.model, "input": question}}}), "NotFoundError", http.StatusNotFound, "unknown_url")
	})
}

// codeOf is the code of a refusal of a field.
func codeOf(param string) string {
	if param == "temperature" {
		return "invalid_type"
	}
	return "invalid_value"
}

func failuresOfProviders(given func() (*sdk, *sdkUser)) {
	It("waits as long as a provider asks, and then gets its answer", func() {
		openai, c := given()
		c.upstream.Behave(gatewaytest.RateLimited(2 * time.Second))
		done := make(chan sdkAnswer, 1)
		go func() {
			defer GinkgoRecover()
			done <- openai.do(c.key, sdkCall{Client: map[string]any{"maxRetries": 1}, Call: "chat.completions.create", Args: []any{c.chat()}})
		}()
		Eventually(c.upstream.Requests).WithTimeout(bound).ShouldNot(BeEmpty())
		c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello}))
		var answer sdkAnswer
		Eventually(done).WithTimeout(bound).Should(Receive(&answer))
		answer.good()
		Expect(answer.Requests).To(HaveLen(2), "a second one before its time would have been refused")
		Expect(answer.Requests[0].Status).To(Equal(http.StatusTooManyRequests))
		Expect(answer.Requests[0].RetryAfterMs).To(HaveValue(Equal("2000")))
		Expect(answer.Requests[1].Status).To(Equal(http.StatusOK))
	})

	It("does not take a provider's trouble with Archon for its own", func() {
		openai, c := given()
		c.upstream.Behave(gatewaytest.Unauthorized())
		refused(openai.create(c.key, c.chat()), "InternalServerError", http.StatusBadGateway, "provider_refused")
	})

	It("is told that a provider fails, and nothing that it must not know", func() {
		openai, c := given()
		c.upstream.Behave(gatewaytest.Failing(http.StatusInternalServerError))
		refused(openai.create(c.key, c.chat()), "InternalServerError", http.StatusBadGateway, "server_error")
		Expect(c.recorded()).To(ConsistOf(And(HaveKeyWithValue("outcome", "failed"), HaveKeyWithValue("status", 502.0), HaveKeyWithValue("attempts", HaveLen(2)))))
	})

	It("has what it did not wait for recorded all the same", func() {
		openai, c := given()
		c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello, Chunks: 20, Usage: domain.Tokens{Input: 3, Output: 20}}))
		left := openai.do(c.key, sdkCall{Call: "chat.completions.create", Args: []any{c.chat(map[string]any{"stream": true})}, Take: 1})
		Expect(left.Items).To(HaveLen(1))
		Eventually(c.recorded).WithTimeout(bound).Should(ConsistOf(HaveKeyWithValue("tokens", And(HaveKeyWithValue("input", 3.0), HaveKeyWithValue("output", 20.0)))))
	})
}
