package cli_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// hostileBodies are no JSON, or not JSON that everybody reads in the same way.
func hostileBodies() map[string]string {
	return map[string]string{
		"cut off": `{"name":"` + canary, "two values": `{"name":"` + canary + `"}{}`, "a trailing comma": `{"name":"` + canary + `",}`,
		"single quotes": `{'name':'` + canary + `'}`, "a comment": `{"name":"` + canary + `"/**/}`, "not a number": `{"name":NaN}`,
		"a byte order mark": "\ufeff{}", "UTF-16": "\xff\xfe{\x00}\x00", "broken UTF-8": "{\"name\":\"" + canary + "\xff\"}",
		"overlong UTF-8": "{\"name\":\"\xc0\x80\"}", "an escaped NUL": `{"name":"` + canary + `\u0000"}`, "a raw NUL": "{\"name\":\"\x00\"}",
		"a control character": "{\"name\":\"a\nb\"}", "half a surrogate": `{"name":"\ud800"}`, "the same key twice": `{"name":"a","name":"` + canary + `"}`,
		"the same key twice, once escaped": `{"name":"a","n\u0061me":"b"}`, "deep lists": strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"deep objects": strings.Repeat(`{"name":`, 100_000) + "1" + strings.Repeat("}", 100_000), "deep and unclosed": strings.Repeat("[", 500_000),
		"a form": "name=" + canary, "XML": "<name>" + canary + "</name>", "binary": string([]byte{0, 1, 2, 255, 254}),
	}
}

var _ = Describe("Hostile requests", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	var running *archon
	var admin, provider string
	var upstream *gatewaytest.Server

	BeforeAll(func() {
		place := install()
		running = place.start()
		s = surfaceOf(running)
		s.flooded = true
		admin = s.token("acme", "ada", "admin", "auditor")
		upstream = gatewaytest.New(gateway.OpenAI, gatewaytest.Options{})
		DeferCleanup(upstream.Close)
		provider, _ = s.register(admin, openAI("Target", upstream.URL, canary))
	})

	// target is a path of an operation that exists.
	target := func(template string) string {
		switch {
		case strings.HasPrefix(template, providersPath):
			return filled(template, provider)
		case strings.HasPrefix(template, projectionsPath):
			return filled(template, "providers")
		case strings.HasPrefix(template, breakdownPath):
			return filled(template, "user")
		}
		return filled(template, uuid.NewString())
	}
	// facts counts the events that are not refusals.
	facts := func() int {
		GinkgoHelper()
		ctx, conn := s.asSuperuser()
		return one[int](ctx, conn, `select count(*) from events where type <> 'audit.write_refused.v1'`)
	}
	// harmless asserts that a request was refused and that nothing came of it but the refusal.
	harmless := func(at string, r reply, statuses ...int) {
		GinkgoHelper()
		Expect(r.status).To(BeElementOf(statuses), at+" "+r.body)
		Expect(r.body).NotTo(ContainSubstring(canary), at)
		for name := range r.header {
			Expect(r.header.Get(name)).NotTo(ContainSubstring(canary), at)
		}
	}

	It("are refused on every write, whatever the body", func() {
		before := facts()
		eachOperation(s.doc, func(method, template string, operation *openapi3.Operation) {
			if method == http.MethodGet {
				return
			}
			for what, body := range hostileBodies() {
				at := method + " " + template + " with " + what
				harmless(at, s.ask(method, target(template), admin, body), http.StatusBadRequest)
			}
			if operation.RequestBody == nil {
				return
			}
			for _, wrong := range []string{
				`null`, `[]`, `"` + canary + `"`, `1`, `true`, `[{}]`, `{"` + canary + `":1}`, `{"name":` + `"x","` + canary + `":"` + canary + `"}`,
				`{"__proto__":{"is_enabled":true}}`, `{"Name":"case"}`, `{"":1}`,
			} {
				harmless(method+" "+template+wrong, s.ask(method, target(template), admin, wrong), http.StatusUnprocessableEntity)
			}
		})
		Expect(facts()).To(Equal(before))
	})

	It("are refused when they are large, however they announce their size", func() {
		before := facts()
		large := `{"name":"` + strings.Repeat(canary, 10<<20/len(canary)) + `"}`
		eachOperation(s.doc, func(method, template string, _ *openapi3.Operation) {
			if method == http.MethodGet {
				return
			}
			harmless(method+" "+template, s.ask(method, target(template), admin, large), http.StatusRequestEntityTooLarge)
			request, err := http.NewRequest(method, "http://"+s.addr+target(template), io.MultiReader(strings.NewReader(large)))
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set("Authorization", "Bearer "+admin)
			request.Header.Set("Content-Type", "application/json")
			response, err := client.Do(request)
			Expect(err).NotTo(HaveOccurred())
			Expect(request.ContentLength).To(BeZero(), "chunked")
			text, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.Body.Close()).To(Succeed())
			harmless(method+" "+template+" chunked", reply{status: response.StatusCode, header: response.Header, body: string(text)}, http.StatusRequestEntityTooLarge)
		})
		Expect(facts()).To(Equal(before))
	})

	It("are refused where a field does not fit, by its name and without its value", func() {
		before := facts()
		long := canary + strings.Repeat("x", 9000)
		many := make([]string, 1001)
		headers := map[string]string{}
		for i := range many {
			many[i] = fmt.Sprint("model-", i)
			headers[fmt.Sprint("X-Header-", i)] = "v"
		}
		for field, values := range map[string][]any{
			"name":             {nil, 1, true, []string{canary}, map[string]any{canary: canary}, "", "   ", canary + "\n", canary + "\x7f", strings.Repeat(canary, 20), "\u0085"},
			"type":             {nil, 1, "", canary, "OpenAI", []string{"openai"}},
			"is_enabled":       {nil, 1, "true", canary},
			"rate_limit_rpm":   {0, -1, 1.5, "5", 1e300, int64(1 << 62), true, []int{1}},
			"rate_limit_tpm":   {0, -1, canary},
			"supported_models": {nil, canary, []any{1}, []string{""}, []string{" " + canary}, []string{canary, canary}, []string{canary + "\t"}, many, map[string]any{}},
			"capabilities":     {nil, []string{canary}, []string{"vision", "vision"}, []string{"VISION"}, "vision"},
			"custom_headers": {
				nil, canary,
				[]string{"X-A"},
				headers,
				map[string]any{"X-A": 1},
				map[string]any{"X-A": nil},
				map[string]string{"": "v"},
				map[string]string{"X A": canary},
				map[string]string{"X-A\r\nX-B": canary},
				map[string]string{"X:A": canary},
				map[string]string{"Ключ": canary},
				map[string]string{"X-A": canary + "\r\nX-Injected: 1"},
				map[string]string{"X-A": canary + "\n"},
				map[string]string{"X-A": canary + "\x7f"},
				map[string]string{"X-A": canary + "é"},
				map[string]string{"X-A": " " + canary},
				map[string]string{"X-A": long},
				map[string]string{"Host": canary},
				map[string]string{"content-length": "0"},
				map[string]string{"Transfer-Encoding": "chunked"},
				map[string]string{"Connection": "close"},
				map[string]string{"Proxy-Authorization": canary},
				map[string]string{"Upgrade": "h2c"},
				map[string]string{"TE": "trailers"},
				map[string]string{"Trailer": "X"},
				map[string]string{"Keep-Alive": "1"},
				map[string]string{"Authorization": "Bearer " + canary},
				map[string]string{"X-Correlation-ID": canary},
				map[string]string{"X-A": "1", "x-a": "2"},
			},
		} {
			for i, value := range values {
				at := fmt.Sprintf("%s, value %d", field, i)
				registration := openAI("Never", upstream.URL, canary)
				registration[field] = value
				r := s.ask(http.MethodPost, providersPath, admin, registration)
				harmless(at, r, http.StatusUnprocessableEntity)
				_, details := r.failure()
				Expect(details).To(HaveKey(HavePrefix(field)), at+r.body)
				r = s.ask(http.MethodPatch, providersPath+"/"+provider, admin, map[string]any{field: value})
				harmless("PATCH "+at, r, http.StatusUnprocessableEntity)
			}
		}
		for i, credentials := range []any{
			map[string]any{"api_key": nil},
			map[string]any{"api_key": 1},
			map[string]any{"api_key": ""},
			map[string]any{"api_key": long},
			map[string]any{"api_key": canary + "\r\nX: 1"},
			map[string]any{"api_key": "“" + canary + "”"},
			map[string]any{"credentials": nil},
			map[string]any{"credentials": canary},
			map[string]any{"credentials": []string{canary}},
			map[string]any{"credentials": map[string]any{"api_key": map[string]any{canary: 1}}},
			map[string]any{"credentials": map[string]any{"api_key": canary + "\n"}},
			map[string]any{"credentials": map[string]any{"api_key": canary, canary: "x"}},
			map[string]any{"credentials": map[string]any{"api_key": canary, "base_url": "http://169.254.169.254"}},
		} {
			at := fmt.Sprint("credentials ", i)
			harmless(at, s.ask(http.MethodPut, providersPath+"/"+provider+"/credentials", admin, credentials), http.StatusUnprocessableEntity)
			registration := map[string]any{"name": "Never", "type": "openai", "base_url": upstream.URL}
			maps.Copy(registration, credentials.(map[string]any))
			harmless("POST "+at, s.ask(http.MethodPost, providersPath, admin, registration), http.StatusUnprocessableEntity)
		}
		Expect(facts()).To(Equal(before))
	})

	It("are refused when a URL is none that can be called", func() {
		before := facts()
		for _, address := range []any{
			nil, 1, "", canary, "file:///etc/passwd?" + canary, "javascript:alert('" + canary + "')", "data:text/html," + canary, "ftp://example.com/" + canary,
			"gopher://example.com", "unix:///var/run/docker.sock", "//example.com", "example.com", "http:", "http://", "http:///" + canary, "http:example.com",
			"http://ada:" + canary + "@example.com", "http://" + canary + "@example.com", "https://example.com/#" + canary, "https://example.com/?key=" + canary,
			"https://example.com:0", "https://example.com:99999", "https://example.com:port", "https://example.com:", "https://exa mple.com", "https://example.com/\r\nX-Injected: 1",
			"https://example.com/%0d%0aX-Injected:1", "https://example.com\\@127.0.0.1", "https://[::1", "https://[::1%25eth0]", "https://exam\u200bple.com", " https://example.com",
			"https://example.com/" + strings.Repeat("a", 3000), "https://" + strings.Repeat("a", 300) + ".com", "https://１２７.０.０.１", "https://пример.рф",
		} {
			at := fmt.Sprintf("%q", address)
			r := s.ask(http.MethodPost, providersPath, admin, map[string]any{"name": "Never", "type": "vllm", "base_url": address})
			harmless(at, r, http.StatusUnprocessableEntity)
			_, details := r.failure()
			Expect(details).To(HaveKey("base_url"), at)
			harmless("PATCH "+at, s.ask(http.MethodPatch, providersPath+"/"+provider, admin, map[string]any{"base_url": address}), http.StatusUnprocessableEntity)
		}
		Expect(facts()).To(Equal(before))
	})

	It("are refused when ids, parameters, cursors and headers are nonsense", func() {
		before := facts()
		for _, id := range []string{
			"x", "%00", "%ff%fe", "..%2f..%2fetc", "%27%20or%201=1--", "{id}", "%F0%9F%92%A9", strings.Repeat("9", 5000), canary, provider + "x", strings.ToUpper(provider) + "%20",
			"00000000-0000-0000-0000-000000000000",
		} {
			eachOperation(s.doc, func(method, template string, operation *openapi3.Operation) {
				if !strings.Contains(template, "{") {
					return
				}
				var body any
				switch operation.OperationID {
				case "changeProvider":
					body = map[string]any{"is_enabled": false}
				case "replaceCredentials":
					body = map[string]any{"api_key": "k"}
				case "renameDepartment":
					body = map[string]any{"name": "n"}
				case "putBudget":
					body = budgeted(nil)
				case "putDepartmentBudget":
					return // a department may have any id, and need not be there yet
				}
				harmless(method+" "+template+" "+id, s.must(method, filled(template, id), admin, body), http.StatusNotFound)
			})
		}
		for _, query := range []string{
			"limit=-1", "limit=" + strings.Repeat("9", 400), "limit=0x10", "limit=1&limit=2", "cursor=" + canary, "cursor=", "cursor=" + strings.Repeat("A", 4000), "cursor=%00", "cursor=%ff",
			"cursor=eyJ2IjoxfQ", "cursor=eyJ2IjoxLCJsIjoicHJvdmlkZXJzIiwiayI6eyJuIjp7fX19", "%zz", "a;b", "%00=1", canary + "=" + canary,
			"cursor=eyJ2IjoxLCJsIjoicHJvdmlkZXJzIiwiayI6eyJuIjoiYSIsImkiOiJub3QgYSB1dWlkIn19", // a forged one: its id is no UUID
			"cursor=eyJ2IjoxLCJsIjoiYXVkaXQiLCJrIjp7ImIiOi0xfX0", "cursor=eyJ2IjoxLCJsIjoiam9icyIsImsiOnsiYiI6LTF9fQ",
		} {
			eachOperation(s.doc, func(method, template string, _ *openapi3.Operation) {
				if method == http.MethodGet {
					r := s.must(method, target(template)+"?"+query, admin, nil)
					Expect(r.status).To(BeElementOf(http.StatusBadRequest, http.StatusOK), template+"?"+query+r.body)
					Expect(r.body).NotTo(ContainSubstring(canary), template)
				}
			})
		}
		for _, h := range []header{
			{"Idempotency-Key": ""},
			{"Idempotency-Key": strings.Repeat(canary, 100)},
			{"If-Match": canary},
			{"If-Match": strings.Repeat(`"1",`, 1000)},
			{"Content-Type": canary},
			{"Accept": canary},
			{"Accept": strings.Repeat("a/b,", 5000)},
		} {
			harmless(fmt.Sprint(h), s.ask(http.MethodPatch, providersPath+"/"+provider, admin, "{", h), http.StatusBadRequest, http.StatusNotAcceptable, http.StatusUnsupportedMediaType)
		}
		Expect(facts()).To(Equal(before))
	})

	It("are survived when they are not even HTTP", func() {
		authorization := "Authorization: Bearer " + admin + "\r\n"
		for what, text := range map[string]string{
			"no host":                   "GET " + mePath + " HTTP/1.1\r\n\r\n",
			"two hosts":                 "GET " + mePath + " HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
			"two lengths":               "POST " + providersPath + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
			"a negative length":         "POST " + providersPath + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Length: -1\r\n\r\n{}",
			"a broken chunk":            "POST " + providersPath + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
			"an unknown encoding":       "POST " + providersPath + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Transfer-Encoding: gzip\r\n\r\n{}",
			"a space in a header":       "GET " + mePath + " HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
			"a NUL in a header":         "GET " + mePath + " HTTP/1.1\r\nHost: a\r\nX-Y: \x00\r\n\r\n",
			"a header of 200 KiB":       "GET " + mePath + " HTTP/1.1\r\nHost: a\r\nX-Y: " + strings.Repeat("y", 200<<10) + "\r\n\r\n",
			"no HTTP":                   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
			"two authorizations":        "GET " + mePath + " HTTP/1.1\r\nHost: a\r\n" + authorization + authorization + "\r\n",
			"a body that is broken off": "POST " + providersPath + " HTTP/1.1\r\nHost: a\r\n" + authorization + "Content-Length: 100\r\n\r\n{}",
		} {
			status, body := raw(s.addr, text)
			Expect(status).To(BeNumerically(">=", 400), what+body)
			Expect(status).To(Or(BeNumerically("<", 500), Equal(http.StatusNotImplemented)), what+body)
		}
		Expect(s.ask(http.MethodGet, "/health", "", nil).status).To(Equal(http.StatusOK))
	})

	It("leave nothing of what they sent in the log, the database or the answers", func() {
		Expect(running.output.String()).NotTo(ContainSubstring(canary))
		Expect(s.faults()).To(BeEmpty())
		Expect(dump(s.installation)).NotTo(ContainSubstring(canary))
		Expect(s.get(auditPath+"?limit=500", admin).body).NotTo(ContainSubstring(canary))
		Expect(s.get(verifyPath, admin).data()).To(HaveKeyWithValue("ok", true))
	})
})

// raw sends bytes as they are, closes its half, and returns the status of the answer.
func raw(addr, text string) (status int, body string) {
	GinkgoHelper()
	conn, err := net.Dial("tcp", addr)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close() }()
	Expect(conn.SetDeadline(time.Now().Add(bound))).To(Succeed())
	_, _ = io.WriteString(conn, text) // the server may have closed already
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	Expect(err).NotTo(HaveOccurred(), string(answer))
	return response.StatusCode, string(answer)
}
