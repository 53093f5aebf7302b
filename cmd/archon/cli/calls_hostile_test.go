package cli_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apikeys "github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// promptCanary and answerCanary are what is said in calls; neither may be found anywhere but at the provider and the client.
const (
	promptCanary = "prompt-canary-71c0de"
	answerCanary = "answer-canary-90d4e2"
)

var _ = Describe("Hostile calls", Label("e2e"), Ordered, ContinueOnFailure, func() {
	var (
		running  *archon
		c        *customer
		upstream *gatewaytest.Server
		key      string
	)

	BeforeAll(func() {
		running = install().start()
		c = running.customer()
		upstream = chatting(gateway.OpenAI, answerCanary)
		c.registers("Only", "openai", upstream.URL)
		key, _ = c.makesKey(nil)
		Expect(c.mustChat(key, talk("hello")).status).To(Equal(http.StatusOK))
	})

	// refused asserts that a request is refused in OpenAI's format, and that nobody was asked for it.
	refused := func(what, method, path, token string, body any, statuses []int, headers ...header) reply {
		GinkgoHelper()
		before := len(posts(upstream))
		r := c.must(method, path, token, body, headers...)
		Expect(r.status).To(BeElementOf(statuses), what+" "+r.body)
		conformOpenAI(what, r)
		Expect(r.body).NotTo(Or(ContainSubstring(promptCanary), ContainSubstring(canary)), what)
		Expect(posts(upstream)).To(HaveLen(before), what)
		return r
	}
	badRequest := []int{http.StatusBadRequest}

	It("find models whose ids have slashes, and none that are not there", func() {
		other := running.customer()
		other.registers("House", "custom", upstream.URL, object{"supported_models": []string{"org/model-7b"}})
		token, _ := other.makesKey(nil)
		for path, status := range map[string]int{
			"/org/model-7b": http.StatusOK, "/org%2Fmodel-7b": http.StatusOK, "/org": http.StatusNotFound, "/org/": http.StatusNotFound, "/": http.StatusNotFound,
		} {
			r := other.must(http.MethodGet, modelsPath+path, token, nil)
			Expect(r.status).To(Equal(status), path+r.body)
		}
	})

	It("with a body that is no JSON, or not JSON that everybody reads in the same way, are refused", func() {
		for what, body := range hostileBodies() {
			for _, path := range []string{chatPath, embeddingsPath} {
				refused(what, http.MethodPost, path, key, body, badRequest)
			}
		}
		for what, body := range map[string]string{
			"nothing": "", "null": "null", "a list": "[]", "a text": `"` + promptCanary + `"`, "a number": "1", "an empty object": "{}", "true": "true",
		} {
			for _, path := range []string{chatPath, embeddingsPath} {
				refused(what, http.MethodPost, path, key, body, badRequest)
			}
		}
	})

	It("with fields of the wrong type or beyond their bounds are refused, with the field's name", func() {
		for field, values := range map[string][]any{
			"model":                 {1, true, []string{"a"}, object{}},
			"messages":              {nil, "hello", 1, object{}, []any{}, []any{1}, []any{nil}, []any{"hello"}, []any{[]any{}}},
			"messages[0]":           {},
			"stream":                {"yes", 1, object{}},
			"max_tokens":            {-1, "5", 1.5, 1e300, []any{}},
			"max_completion_tokens": {-1, "5", 1.5},
			"n":                     {-1, "2", 1.5, 1_000_000},
			"temperature":           {"hot", true, object{}},
			"stop":                  {1, object{}, []any{1}},
			"tools":                 {"x", object{}, []any{1}, []any{object{"type": 1}}},
			"stream_options":        {"x", 1, object{"include_usage": true}},
			"response_format":       {"json", 1, []any{}},
		} {
			for _, value := range values {
				what := fmt.Sprintf("%s = %v", field, value)
				r := refused(what, http.MethodPost, chatPath, key, talk(promptCanary, object{field: value}), badRequest)
				Expect(r.body).To(ContainSubstring(field), what)
			}
		}
		for what, message := range map[string]object{
			"no role": {"content": promptCanary}, "an unknown role": {"role": "root", "content": promptCanary}, "a role of another type": {"role": 1, "content": promptCanary},
			"a content of another type": {"role": "user", "content": 7}, "parts of another type": {"role": "user", "content": []any{7}},
			"a part without a type": {"role": "user", "content": []any{object{"text": promptCanary}}}, "tool calls of another type": {"role": "assistant", "tool_calls": "x"},
		} {
			refused(what, http.MethodPost, chatPath, key, talk("", object{"messages": []any{message}}), badRequest)
		}
		for _, value := range []any{nil, 1, object{}, []any{}, []any{object{}}} {
			refused("input", http.MethodPost, embeddingsPath, key, object{"model": cheapModel, "input": value}, badRequest)
		}
	})

	It("that are too large are refused with 413, whether or not they say so beforehand", func() {
		body := `{"model":"` + cheapModel + `","messages":[{"role":"user","content":"` + strings.Repeat("x", 33<<20) + `"}]}`
		for _, path := range []string{chatPath, embeddingsPath} {
			r := refused("33 MB", http.MethodPost, path, key, body, []int{http.StatusRequestEntityTooLarge})
			Expect(r.code()).To(Equal("body_too_large"))
		}
		status, answer := raw(c.addr, "POST "+chatPath+" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "+key+"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"+
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		Expect(status).To(Equal(http.StatusRequestEntityTooLarge))
		Expect(answer).To(ContainSubstring("body_too_large"))
	})

	It("that fit, but only just, are served", func() {
		c := running.customer()
		roomy := newPausing()
		close(roomy.goOn)
		c.registers("Roomy", "openai", roomy.URL)
		key, _ := c.makesKey(nil)
		Expect(c.mustChat(key, talk(strings.Repeat("word ", 6<<20))).status).To(Equal(http.StatusOK), "30 MB, which images easily are")
	})

	It("to unknown routes and with wrong methods are refused", func() {
		for what, target := range map[string][2]string{
			"no route": {http.MethodPost, "/v1/responses"}, "another": {http.MethodPost, "/v1/messages"}, "a deep one": {http.MethodGet, "/v1/a/b/c/d"},
			"the root": {http.MethodGet, "/v1"}, "the root with a slash": {http.MethodGet, "/v1/"}, "a model too deep": {http.MethodGet, modelsPath + "/a/b"},
			"dots": {http.MethodGet, "/v1/%2e%2e/api/v1/keys"}, "a slash at the end": {http.MethodPost, chatPath + "/"}, "two slashes": {http.MethodPost, "/v1//chat/completions"},
		} {
			refused(what, target[0], target[1], key, nil, []int{http.StatusNotFound, http.StatusMethodNotAllowed})
		}
		for path, methods := range map[string][]string{
			chatPath:       {http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch, "BREW"},
			embeddingsPath: {http.MethodGet, http.MethodPut, "BREW"},
			modelsPath:     {http.MethodPost, http.MethodDelete, "BREW"},
		} {
			for _, method := range methods {
				r := refused(method, method, path, key, nil, []int{http.StatusMethodNotAllowed})
				Expect(r.header.Get("Allow")).NotTo(BeEmpty(), method+" "+path)
			}
		}
		r := refused("no such model", http.MethodGet, modelsPath+"/"+promptCanary, key, nil, []int{http.StatusNotFound})
		Expect(r.code()).To(Equal("model_not_found"))
	})

	It("without a key, or with one that is not good here, are refused with 401", func() {
		other := running.customer()
		foreign, _ := other.makesKey(nil)
		revoked, id := c.makesKey(nil)
		Expect(c.must(http.MethodDelete, keysPath+"/"+id, c.admin, nil).status).To(Equal(http.StatusNoContent))
		_, keyID, secret, _ := apikeys.Parse(key)
		_, foreignID, foreignSecret, _ := apikeys.Parse(foreign)
		for what, token := range map[string]string{
			"nothing": "", "garbage": canary, "a prefix alone": "ak_", "dots": "ak_..", "an unknown key": "ak_" + c.name + "." + foreignID + "." + secret,
			"another's secret": "ak_" + c.name + "." + keyID + "." + foreignSecret, "another tenant's name": "ak_" + other.name + "." + keyID + "." + secret,
			"an unknown tenant": "ak_nobody." + keyID + "." + secret, "a tenant that can't be": "ak_A B." + keyID + "." + secret, "no secret": "ak_" + c.name + "." + keyID + ".",
			"a longer secret": key + "x", "a shorter secret": key[:len(key)-1], "revoked": revoked, "a huge one": "ak_" + strings.Repeat("x", 8<<10),
			"a token that is none": "eyJhbGciOiJub25lIn0.e30.", "quotes": `ak_'or'1'='1.` + keyID + `."--`,
		} {
			for _, target := range [][2]string{{http.MethodPost, chatPath}, {http.MethodPost, embeddingsPath}, {http.MethodGet, modelsPath}} {
				r := refused(what, target[0], target[1], token, talk(promptCanary), []int{http.StatusUnauthorized})
				if token != "" {
					Expect(r.body).NotTo(ContainSubstring(token), what)
				}
			}
		}
		for _, value := range []string{"Basic " + key, "Token " + key, key, "Bearer", "Bearer  ", "Bearer " + key + " " + key} {
			refused(value, http.MethodPost, chatPath, "", talk(promptCanary), []int{http.StatusUnauthorized}, header{"Authorization": value})
		}
		refused("in the URL", http.MethodPost, chatPath+"?api_key="+url.QueryEscape(key), "", talk(promptCanary), []int{http.StatusUnauthorized})
		Expect(c.must(http.MethodPost, chatPath, "", talk("hello"), header{"Api-Key": key}).status).To(Equal(http.StatusOK), "as clients for Azure send it")
	})

	It("with a key are no way into the rest of the API", func() {
		for _, path := range []string{providersPath, keysPath, rulesPath, auditPath} {
			Expect(c.must(http.MethodGet, path, key, nil).status).To(Equal(http.StatusUnauthorized))
		}
	})

	It("with models that would be headers, paths or queries elsewhere do no harm", func() {
		c := running.customer()
		anything := chatting(gateway.OpenAI, "x")
		azure := chatting(gateway.AzureOpenAI, "x")
		google := chatting(gateway.Google, "x")
		key, _ := c.makesKey(nil)
		ids := map[*gatewaytest.Server]string{
			anything: c.registers("OpenAI", "openai", anything.URL, object{"supported_models": []string{}}),
			google:   c.registers("Google", "google", google.URL, object{"supported_models": []string{}}),
			azure: c.registers("Azure", "azure_openai", azure.URL, object{"supported_models": []string{}, "credentials": object{
				"api_key": canary, "endpoint": azure.URL, "deployment_name": "d",
			}}),
		}
		for server, id := range ids {
			c.sends(id)
			for _, model := range []string{
				"a\r\nX-Injected: 1", "../../admin", "a?key=b", "a#b", "a/../../b", "%2e%2e%2f", "a\x7fb", strings.Repeat("m", 100_000), "モデル", "a b", "''\"",
			} {
				r := c.must(http.MethodPost, chatPath, key, talk("hello", object{"model": model}))
				Expect(r.status).To(Or(BeNumerically("<", http.StatusInternalServerError), Equal(http.StatusServiceUnavailable)), "%q: %s", model, r.body)
				if r.status != http.StatusOK {
					conformOpenAI(model, r)
				}
			}
			Expect(posts(server)).NotTo(BeEmpty())
			for _, request := range server.Requests() {
				Expect(request.Header).NotTo(HaveKey("X-Injected"))
				Expect(request.Path).To(MatchRegexp(`(?s)^/(v1/(models|chat/completions)|openai/(models|deployments/d/chat/completions)|v1beta/models(/.+:generateContent)?)$`))
				Expect(request.Query.Get("key")).To(BeEmpty())
			}
		}
	})

	It("reach no provider, rule or model of another tenant", func() {
		other := running.customer()
		theirs := chatting(gateway.OpenAI, "theirs")
		id := other.registers("Theirs", "openai", theirs.URL, object{"supported_models": []string{"gpt-4o", "secret-model"}})
		other.sends(id)
		ours, _ := c.makesKey(nil)
		empty := running.customer()
		bare, _ := empty.makesKey(nil)

		Expect(c.must(http.MethodGet, modelsPath, ours, nil).body).NotTo(ContainSubstring("secret-model"))
		refused("another tenant's model", http.MethodGet, modelsPath+"/secret-model", ours, nil, []int{http.StatusNotFound})
		Expect(c.mustChat(ours, talk("hello", object{"model": "secret-model"})).text).NotTo(Equal("theirs"))
		none := empty.mustChat(bare, talk("hello"))
		Expect(none.status).To(Equal(http.StatusServiceUnavailable), none.body)
		Expect(none.code()).To(Equal("no_provider"))
		put := c.must(http.MethodPut, rulesPath, c.admin, object{"rules": []object{}, "default_rule": object{"provider_id": id}})
		Expect(put.status).To(Equal(http.StatusUnprocessableEntity), put.body)
		Expect(posts(theirs)).To(BeEmpty())
		Expect(other.calls()).To(BeEmpty())
	})

	It("leave the node well, and nothing of what they sent in its output or the database", func() {
		Expect(c.must(http.MethodGet, "/health", "", nil).report().Status).To(Equal("ok"))
		output := running.output.String()
		for _, private := range []string{promptCanary, answerCanary, canary} {
			Expect(strings.Contains(output, private)).To(BeFalse(), private)
		}
		Expect(output).NotTo(Or(ContainSubstring("panic"), ContainSubstring("level=ERROR")))
		Expect(c.mustChat(key, talk("hello")).status).To(Equal(http.StatusOK))
		c.expectReplayToAgree()
	})
})
