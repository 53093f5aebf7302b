package httpx_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// with is a valid registration with one field set to a JSON text.
func with(field, value string) string {
	var fields map[string]json.RawMessage
	Expect(json.Unmarshal([]byte(goodBody), &fields)).To(Succeed())
	fields[field] = json.RawMessage(value)
	encoded, err := json.Marshal(fields)
	Expect(err).NotTo(HaveOccurred())
	return string(encoded)
}

func quoted(text string) string {
	encoded, err := json.Marshal(text)
	Expect(err).NotTo(HaveOccurred())
	return string(encoded)
}

var _ = Describe("a body", func() {
	DescribeTable("that is malformed is a 400", func(body, message string) {
		s := newStack()
		got := s.post(body)
		Expect(got.Code).To(Equal(400))
		Expect(got.failure()).To(Equal(failure{Code: "malformed_body", Message: "The body " + message + "."}))
		Expect(s.handlers.reached).To(BeEmpty())
	},
		Entry("cut off", `{"name": "x"`, "is not one well-formed JSON value"),
		Entry("trailing garbage", goodBody+"x", "is not one well-formed JSON value"),
		Entry("two values", goodBody+goodBody, "is not one well-formed JSON value"),
		Entry("invalid UTF-8", "{\"name\": \"\xff\"}", "is not valid UTF-8"),
		Entry("raw NUL", "{\"name\": \"\x00\"}", "is not one well-formed JSON value"),
		Entry("escaped NUL", `{"name": "a\u0000b"}`, "has a NUL character in a string"),
		Entry("duplicate key", `{"name": "a", "name": "b"}`, "has the same key twice in an object"),
		Entry("deep nesting", nested(1000), "is nested more than 64 deep"),
		Entry("very deep nesting", strings.Repeat(`{"a":`, 150_000), "is not one well-formed JSON value"),
	)

	DescribeTable("that is well-formed and does not fit is a 422 that names the field and the reason", func(body string, details map[string]any) {
		s := newStack()
		got := s.post(body)
		Expect(got.Code).To(Equal(422), got.Body.String())
		Expect(got.failure()).To(Equal(failure{Code: "validation_failed", Message: "Some fields do not fit.", Details: details}))
		Expect(s.handlers.reached).To(BeEmpty())
	},
		Entry("nothing in it", `{}`, map[string]any{"name": "is required", "type": "is required"}),
		Entry("a list", `[]`, map[string]any{"(body)": "must be an object"}),
		Entry("null", `null`, map[string]any{"(body)": "must not be null"}),
		Entry("a text", `"x"`, map[string]any{"(body)": "must be an object"}),
		Entry("everything wrong", `{"name": 1, "type": "x", "base_url": "ftp://x", "is_enabled": "yes", "rate_limit_rpm": 0, "supported_models": [1], "colour": 1}`,
			map[string]any{
				"name": "must be text", "base_url": "must be an absolute http or https URL", "is_enabled": "must be true or false",
				"type":           "must be one of: openai, anthropic, google, mistral, cohere, azure_openai, ollama, vllm, custom",
				"rate_limit_rpm": "must be at least 1", "supported_models.0": "must be text", "colour": "is not a known field",
			}),
		Entry("another spelling of a field", `{"Name": "x", "name": "a", "type": "openai", "base_url": "http://x"}`, map[string]any{"Name": "is not a known field"}),
		Entry("a secret for a name", `{"sk-proj-0123456789": 1, "name": "a", "type": "openai", "base_url": "http://x"}`, map[string]any{"*": "is not a known field"}),
	)

	describe := func(field, value, _, _ string) string { return fmt.Sprintf("%s = %.40s", field, value) }
	DescribeTable("with a field that does not fit", describe, func(field, value, at, reason string) {
		got := newStack().post(with(field, value))
		Expect(got.Code).To(Equal(422), got.Body.String())
		Expect(got.failure().Details).To(Equal(map[string]any{at: reason}))
	},
		Entry(nil, "name", `""`, "name", "must not be empty"),
		Entry(nil, "name", `"   "`, "name", "must not be blank or contain control characters"),
		Entry(nil, "name", `"a\nb"`, "name", "must not be blank or contain control characters"),
		Entry(nil, "name", `null`, "name", "must not be null"),
		Entry(nil, "name", quoted(strings.Repeat("é", 201)), "name", "must be at most 200 characters long"),
		Entry(nil, "base_url", `"javascript:alert(1)"`, "base_url", "must be an absolute http or https URL"),
		Entry(nil, "base_url", `"file:///etc/passwd"`, "base_url", "must be an absolute http or https URL"),
		Entry(nil, "base_url", `"http://a b"`, "base_url", "must be an absolute http or https URL"),
		Entry(nil, "base_url", quoted("http://"+strings.Repeat("x", 2048)), "base_url", "must be at most 2048 characters long"),
		Entry(nil, "api_key", `"a\r\nb"`, "api_key", "must not contain control characters"),
		Entry(nil, "api_key", quoted(strings.Repeat("x", 8193)), "api_key", "must be at most 8192 characters long"),
		Entry(nil, "credentials", `{"api_key": 1}`, "credentials.api_key", "must be text"),
		Entry(nil, "credentials", `{"api_key": {"a": 1}}`, "credentials.api_key", "must be text"),
		Entry(nil, "is_enabled", `1`, "is_enabled", "must be true or false"),
		Entry(nil, "rate_limit_rpm", `-1`, "rate_limit_rpm", "must be at least 1"),
		Entry(nil, "rate_limit_rpm", `1.5`, "rate_limit_rpm", "must be a whole number in range, without fraction or exponent"),
		Entry(nil, "rate_limit_rpm", `1.0`, "rate_limit_rpm", "must be a whole number in range, without fraction or exponent"),
		Entry(nil, "rate_limit_tpm", `1e400`, "rate_limit_tpm", "must be a whole number in range, without fraction or exponent"),
		Entry(nil, "rate_limit_tpm", `99999999999999999999`, "rate_limit_tpm", "must be a whole number in range, without fraction or exponent"),
		Entry(nil, "rate_limit_tpm", `1000000001`, "rate_limit_tpm", "must be at most 1000000000"),
		Entry(nil, "rate_limit_tpm", `"5"`, "rate_limit_tpm", "must be a whole number or null"),
		Entry(nil, "supported_models", `{"0": "x"}`, "supported_models", "must be a list"),
		Entry(nil, "supported_models", `["a", "b", " c"]`, "supported_models.2", "must not begin or end with a space or contain control characters"),
		Entry(nil, "supported_models", `["a", "b", "a"]`, "supported_models", "must not have the same entry twice"),
		Entry(nil, "supported_models", `["a", "b", ""]`, "supported_models.2", "must not be empty"),
		Entry(nil, "supported_models", `[`+strings.Repeat("1,", 200_000)+`1]`, "supported_models", "must have at most 1000 entries"),
		Entry(nil, "capabilities", `["telepathy"]`, "capabilities.0", "must be one of: vision, function_calling, json_mode, streaming, embeddings"),
		Entry(nil, "capabilities", `["vision", "vision"]`, "capabilities", "must not have the same entry twice"),
		Entry(nil, "custom_headers", `{"X-A": "a\r\nX-B: b"}`, "custom_headers.X-A", "must not contain control characters"),
		Entry(nil, "custom_headers", `{"X-A: b\r\nX-C": "a"}`, "custom_headers.*", "is not a valid name"),
		Entry(nil, "custom_headers", `{"": "a"}`, "custom_headers.*", "is not a valid name"),
		Entry(nil, "custom_headers", `["X-A"]`, "custom_headers", "must be an object"),
		Entry(nil, "custom_headers", "{"+strings.TrimSuffix(many(51, `"X-%d": "a",`), ",")+"}", "custom_headers", "must have at most 50 fields"),
	)

	It("reports a bounded number of problems", func() {
		got := newStack().post(with("supported_models", `[`+strings.Repeat("1,", 900)+`1]`))
		Expect(got.Code).To(Equal(422))
		Expect(got.failure().Details).To(HaveLen(50))
		got = newStack().post("{" + many(70_000, `"a%d": 1,`) + `"name": 1}`)
		Expect(got.Code).To(Equal(422))
		Expect(got.failure().Details).To(Equal(map[string]any{"(body)": "has too many fields"}))
	})

	It("may leave out what has a default, and null is no limit", func() {
		s := newStack()
		Expect(s.post(with("rate_limit_rpm", "null")).Code).To(Equal(statusReached))
		Expect(s.handlers.register.Name).To(Equal("OpenAI"))
		Expect(s.handlers.register.RateLimitRPM).To(BeNil())
		Expect(s.handlers.register.IsEnabled).To(BeNil())
		Expect(s.handlers.register.SupportedModels).To(BeNil())
	})

	It("of a PATCH tells absent, null and a value apart", func() {
		s := newStack()
		patch := func(body string) {
			GinkgoHelper()
			Expect(s.do(call{method: "PATCH", path: providersPath + "/p", token: "admin.acme", body: body}).Code).To(Equal(statusReached))
		}
		present := int64(5)
		patch(`{}`)
		Expect(s.handlers.change.RateLimitRPM.Sent).To(BeFalse())
		Expect(s.handlers.change.RateLimitRPM.Apply(&present)).To(HaveValue(Equal(int64(5))))
		Expect(s.handlers.change.SupportedModels).To(BeNil())
		patch(`{"rate_limit_rpm": null, "supported_models": [], "custom_headers": {}}`)
		Expect(s.handlers.change.RateLimitRPM.Sent).To(BeTrue())
		Expect(s.handlers.change.RateLimitRPM.Apply(&present)).To(BeNil())
		Expect(s.handlers.change.SupportedModels).To(HaveValue(BeEmpty()))
		Expect(s.handlers.change.CustomHeaders).To(HaveValue(BeEmpty()))
		patch(`{"rate_limit_rpm": 7}`)
		Expect(s.handlers.change.RateLimitRPM.Apply(&present)).To(HaveValue(Equal(int64(7))))
		encoded, err := json.Marshal(s.handlers.change)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(encoded)).To(Equal(`{"rate_limit_rpm":7}`))
	})

	It("of new credentials is one of two", func() {
		s := newStack()
		for _, body := range []string{`{}`, `{"api_key": "a", "credentials": {"api_key": "b"}}`} {
			got := s.do(call{method: "PUT", path: providersPath + "/p/credentials", token: "admin.acme", body: body})
			Expect(got.Code).To(Equal(422))
			Expect(got.failure().Details).To(Equal(map[string]any{"(body)": "must hold either api_key or credentials"}))
		}
	})

	DescribeTable("that is over 1 MiB is a 413, and is not kept", func(reader func() io.Reader) {
		s := newStack()
		got := s.do(call{method: "POST", path: providersPath, token: "admin.acme", reader: reader()})
		Expect(got.Code).To(Equal(413))
		Expect(got.failure().Code).To(Equal("body_too_large"))
		Expect(s.book.refused[0].Request.Body).To(BeEmpty())
	},
		Entry("by its length", func() io.Reader { return strings.NewReader(strings.Repeat("x", 10<<20)) }),
		Entry("by one byte", func() io.Reader { return strings.NewReader(strings.Repeat("x", 1<<20+1)) }),
		Entry("in chunks", func() io.Reader {
			return io.LimitReader(io.MultiReader(strings.NewReader("{"), zeros{}), 10<<20)
		}),
	)

	It("of exactly 1 MiB is read", func() {
		padding := strings.Repeat(" ", 1<<20-len(goodBody))
		Expect(newStack().post(goodBody + padding).Code).To(Equal(statusReached))
	})

	It("that ends early is a 400", func() {
		got := newStack().do(call{method: "POST", path: providersPath, token: "admin.acme", reader: io.MultiReader(strings.NewReader("{"), broken{})})
		Expect(got.Code).To(Equal(400))
		Expect(got.failure().Code).To(Equal("malformed_body"))
	})

	DescribeTable("of another media type is a 415", func(header ...string) {
		got := newStack().post(goodBody, header...)
		Expect(got.Code).To(Equal(415))
		Expect(got.failure().Code).To(Equal("unsupported_media_type"))
	},
		Entry(nil, "Content-Type", "text/plain"), Entry(nil, "Content-Type", ""), Entry(nil, "Content-Type", "application/json; charset=utf-16"),
		Entry(nil, "Content-Type", "application/merge-patch+json"), Entry(nil, "Content-Type", "application/json", "Content-Type", "application/json"),
		Entry(nil, "Content-Encoding", "gzip"), Entry(nil, "Content-Type", ";"),
	)

	It("in JSON is taken whatever the spelling of its type", func() {
		Expect(newStack().post(goodBody, "Content-Type", `Application/JSON; charset="UTF-8"`).Code).To(Equal(statusReached))
	})

	It("that is missing, or one too many, is a 400", func() {
		s := newStack()
		got := s.post(" ")
		Expect(got.Code).To(Equal(400))
		Expect(got.failure().Code).To(Equal("missing_body"))
		test := call{method: "POST", path: providersPath + "/p/test-connection", token: "admin.acme", body: `{"a": 1}`}
		got = s.do(test)
		Expect(got.Code).To(Equal(400))
		Expect(got.failure().Code).To(Equal("unexpected_body"))
		test.body = ` {} `
		Expect(s.do(test).Code).To(Equal(statusReached))
	})
})

var _ = Describe("a query", func() {
	DescribeTable("that does not fit is a 400 that names the parameter and the reason", func(path string, details map[string]any) {
		s := newStack()
		got := s.get(path)
		Expect(got.Code).To(Equal(400), got.Body.String())
		Expect(got.failure()).To(Equal(failure{Code: "invalid_parameter", Message: "The request has parameters that do not fit.", Details: details}))
		Expect(s.handlers.reached).To(BeEmpty())
	},
		Entry(nil, providersPath+"?limit=501", map[string]any{"limit": "must be at most 500"}),
		Entry(nil, providersPath+"?limit=0", map[string]any{"limit": "must be at least 1"}),
		Entry(nil, providersPath+"?limit=-5", map[string]any{"limit": "must be at least 1"}),
		Entry(nil, providersPath+"?limit=ten", map[string]any{"limit": "must be a whole number"}),
		Entry(nil, providersPath+"?limit=", map[string]any{"limit": "must be a whole number"}),
		Entry(nil, providersPath+"?limit=1&limit=2", map[string]any{"limit": "must be given once"}),
		Entry(nil, providersPath+"?limit=99999999999999999999", map[string]any{"limit": "must be a whole number"}),
		Entry(nil, providersPath+"?as_of=yesterday", map[string]any{"as_of": "must be a time such as 2025-06-13T09:41:07Z"}),
		Entry(nil, providersPath+"?as_of=2025-02-30T00:00:00Z", map[string]any{"as_of": "must be a time such as 2025-06-13T09:41:07Z"}),
		Entry(nil, providersPath+"?as_of=2025-06-13", map[string]any{"as_of": "must be a time such as 2025-06-13T09:41:07Z"}),
		Entry(nil, providersPath+"?cursor=", map[string]any{"cursor": "must not be empty"}),
		Entry(nil, providersPath+"?limt=5", map[string]any{"limt": "is not a known parameter"}),
		Entry(nil, providersPath+"?limit=%zz", map[string]any{"(query)": "is not well-formed"}),
		Entry(nil, providersPath+"?limit=1;cursor=x", map[string]any{"(query)": "is not well-formed"}),
		Entry(nil, providersPath+"/p/health?window=2h", map[string]any{"window": "must be one of: 1h, 24h, 7d"}),
		Entry(nil, "/api/v1/audit?outcome=maybe&telemetry=yes&q=%00&actor=%ff&resource_id=a%0Ab", map[string]any{
			"outcome": "must be one of: succeeded, rejected", "telemetry": "must be true or false", "q": "must be UTF-8 without NUL characters",
			"actor": "must be UTF-8 without NUL characters", "resource_id": "must not contain control characters",
		}),
		Entry(nil, "/api/v1/audit/verify?from=0", map[string]any{"from": "must be at least 1"}),
		Entry(nil, "/api/v1/jobs?status=lost", map[string]any{"status": "must be one of: queued, running, succeeded, failed, discarded"}),
	)

	It("is parsed for the handler", func() {
		s := newStack()
		Expect(s.get("/api/v1/audit?from=2025-06-13T09:41:07.123456%2B02:00&telemetry=true&limit=500&action=POST%20%2Fapi").Code).To(Equal(statusReached))
		Expect(s.handlers.audit.From.UTC().Format("15:04:05.000000")).To(Equal("07:41:07.123456"))
		Expect(s.handlers.audit.Telemetry).To(HaveValue(BeTrue()))
		Expect(s.handlers.audit.Limit).To(HaveValue(Equal(500)))
		Expect(s.handlers.audit.Action).To(HaveValue(Equal("POST /api")))
	})
})

const canary = "CANARY-7f3a9c51"

var _ = Describe("no value of a request", func() {
	// echoed says where the canary shows: in the answer, its headers, the log, a span or the record. It forgets what it saw.
	echoed := func(s *stack, got *answer) []string {
		places := shows(map[string]string{
			"body": got.Body.String(), "header": fmt.Sprint(got.Header()), "log": s.log.String(), "spans": fmt.Sprint(s.spans.GetSpans()),
		})
		for _, refused := range s.book.refused {
			places = append(places, shows(map[string]string{"record": fmt.Sprint(refused.Message, refused.Details, string(refused.Answer.Body))})...)
		}
		s.log.Reset()
		s.spans.Reset()
		s.book.refused = nil
		return places
	}
	metricsAreClean := func(s *stack) {
		GinkgoHelper()
		Expect(shows(map[string]string{"metrics": s.get("/metrics").Body.String()})).To(BeEmpty())
	}

	It("comes back from any field of any body, whatever is wrong with it", func() {
		tried := 0
		eachOperation(func(method, path string, o *openapi3.Operation) {
			if o.RequestBody == nil {
				return
			}
			s := newStack()
			schema := o.RequestBody.Value.Content["application/json"].Schema.Value
			for _, field := range append(slices.Sorted(maps.Keys(schema.Properties)), canary) {
				for _, wrong := range []string{
					quoted(canary), quoted(canary + "\n"), quoted(strings.Repeat(canary, 2000)), quoted(" " + canary),
					`["` + canary + `\n"]`, `{"` + canary + `": "` + canary + `\n"}`, `{"` + canary + `": {"a": "` + canary + `"}}`, `[["` + canary + `"]]`,
				} {
					tried++
					got := s.do(call{method: method, path: fill(path), token: "admin.acme", body: "{" + quoted(field) + ":" + wrong + "}"})
					Expect(echoed(s, got)).To(BeEmpty(), "%s %s: %s = %.80s: %s", method, path, field, wrong, got.Body)
				}
			}
			for _, body := range []string{canary, `"` + canary, `{"a":` + canary + `}`, `{"` + canary + `":1,"` + canary + `":2}`, `["` + canary + `"]`, "\xff" + canary} {
				got := s.do(call{method: method, path: fill(path), token: "admin.acme", body: body})
				Expect(got.Code).To(BeElementOf(400, 422))
				Expect(echoed(s, got)).To(BeEmpty(), got.Body.String())
			}
			metricsAreClean(s)
		})
		Expect(tried).To(BeNumerically(">", 150))
	})

	It("comes back from any parameter, path or header", func() {
		eachOperation(func(method, path string, o *openapi3.Operation) {
			s, names := newStack(), []string{canary}
			for _, p := range o.Parameters {
				if p.Value.In == openapi3.ParameterInQuery {
					names = append(names, p.Value.Name)
				}
			}
			for _, name := range names {
				for _, value := range []string{canary, canary + "%00", canary + "%0a", canary + "%ff", strings.Repeat(canary, 300)} {
					got := s.do(call{method: method, path: fill(path) + "?" + name + "=" + value, token: "admin.acme", body: bodyFor(o.OperationID)})
					Expect(echoed(s, got)).To(BeEmpty(), "%s %s: %s", method, path, got.Body)
				}
			}
			for _, name := range []string{"Idempotency-Key", "If-Match", "X-Min-Position", "X-Correlation-ID", "Accept", "Content-Type", "Prefer", "User-Agent", "Traceparent", "X-Forwarded-For"} {
				at := strings.NewReplacer("{id}", canary, "{name}", canary).Replace(path)
				got := s.do(call{method: method, path: at, token: "admin.acme", body: bodyFor(o.OperationID), header: headers([]string{name, canary + "é"})})
				Expect(echoed(s, got)).To(BeEmpty(), "%s %s, header %s: %s", method, path, name, got.Body)
			}
			metricsAreClean(s)
		})
	})

	It("comes back from a path, a method or a token that is not known", func() {
		s := newStack()
		Expect(echoed(s, s.get("/api/v1/"+canary))).To(BeEmpty())
		Expect(echoed(s, s.do(call{method: canary, path: "/api/v1/me"}))).To(BeEmpty())
		Expect(echoed(s, s.do(call{method: "GET", path: "/api/v1/me", token: canary}))).To(BeEmpty())
		Expect(echoed(s, s.do(call{method: "GET", path: "/api/v1/me", header: http.Header{"Authorization": {canary}}}))).To(BeEmpty())
		metricsAreClean(s)
	})
})

// shows names the texts that hold the canary, however it is spelt.
func shows(texts map[string]string) []string {
	var places []string
	for place, text := range texts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(canary)) {
			places = append(places, place)
		}
	}
	return places
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// broken is a connection that is cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func many(count int, format string) string {
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, format, i)
	}
	return text.String()
}
