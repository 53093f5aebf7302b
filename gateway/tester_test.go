package gateway_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/internal/netguard"
)

const (
	secretKey     = "sk-proj-Zx81vJq0TtWm5RkPzuE2yB7aLcDn4GhF"
	correlationID = "0193b3c4-0000-7000-8000-00000000cafe"
)

func loopback() netguard.Policy {
	return netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

func startProvider(t gateway.ProviderType, options gatewaytest.Options) *gatewaytest.Server {
	server := gatewaytest.New(t, options)
	DeferCleanup(server.Close)

	return server
}

func newTester(options gateway.TesterOptions) *gateway.Tester {
	return gateway.NewTester(netguard.NewClient(loopback(), netguard.Options{}), options)
}

// targetOf is a provider of type t at baseURL with everything it needs.
func targetOf(t gateway.ProviderType, baseURL string) gateway.Target {
	credentials := map[string]string{"api_key": secretKey}

	switch t {
	case gateway.AzureOpenAI:
		credentials["api_version"] = "2024-10-21"
		credentials["deployment_name"] = "chat"
	case gateway.Ollama:
		credentials = nil
	case gateway.OpenAI, gateway.Anthropic, gateway.Google, gateway.Mistral, gateway.Cohere, gateway.VLLM, gateway.Custom:
	}

	return gateway.Target{Type: t, BaseURL: baseURL, Credentials: credentials}
}

func everyType(body func(t gateway.ProviderType)) []any {
	args := []any{body}
	for _, t := range gateway.ProviderTypes() {
		args = append(args, Entry(string(t), t))
	}

	return args
}

var _ = Describe("a connection test", func() {
	DescribeTable("lists the models of each provider type", everyType(func(t gateway.ProviderType) {
		server := startProvider(t, gatewaytest.Options{APIKey: secretKey, Models: []string{"one", "two", "three"}})
		target := targetOf(t, server.URL)
		target.CustomHeaders = map[string]string{"X-Team": "blue"}

		result := newTester(gateway.TesterOptions{UserAgent: "archon/1.2.3"}).Test(context.Background(), target, correlationID)

		Expect(result.Error).To(BeEmpty())
		Expect(result.OK).To(BeTrue())
		Expect(result.Status).To(Equal(http.StatusOK))
		Expect(result.ModelsFound).To(Equal(3))
		Expect(result.Models).To(Equal([]string{"one", "two", "three"}))
		Expect(result.LatencyMS).To(BeNumerically(">=", 0))

		requests := server.Requests()
		Expect(requests).To(HaveLen(1))
		Expect(requests[0].Method).To(Equal(http.MethodGet))
		Expect(requests[0].Header.Get("X-Correlation-ID")).To(Equal(correlationID))
		Expect(requests[0].Header.Get("User-Agent")).To(Equal("archon/1.2.3"))
		Expect(requests[0].Header.Get("Accept")).To(Equal("application/json"))
		Expect(requests[0].Header.Get("X-Team")).To(Equal("blue"))
		Expect(requests[0].Query.Encode()).NotTo(ContainSubstring(secretKey))
	})...)

	DescribeTable("accepts a provider without models", everyType(func(t gateway.ProviderType) {
		server := startProvider(t, gatewaytest.Options{Models: []string{}})

		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(t, server.URL), correlationID)

		Expect(result.OK).To(BeTrue(), result.Error)
		Expect(result.ModelsFound).To(BeZero())
	})...)

	DescribeTable("reports a wrong key in the provider's words and without the key",
		func(t gateway.ProviderType, text string) {
			server := startProvider(t, gatewaytest.Options{})
			server.Behave(gatewaytest.Unauthorized())

			result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(t, server.URL), correlationID)

			Expect(result.OK).To(BeFalse())
			Expect(result.Error).To(Equal(text))
			Expect(result.Status).To(BeElementOf(http.StatusBadRequest, http.StatusUnauthorized))
			Expect(result.ModelsFound).To(BeZero())
		},
		Entry("openai, which echoes it", gateway.OpenAI, "401: Incorrect API key provided: [redacted] You can find your "+
			"API key at https://platform.openai.com/account/api-keys."),
		Entry("anthropic", gateway.Anthropic, "401: invalid x-api-key"),
		Entry("google", gateway.Google, "400: API key not valid. Please pass a valid API key."),
		Entry("mistral", gateway.Mistral, "401: Unauthorized"),
		Entry("cohere", gateway.Cohere, "401: invalid api token"),
		Entry("azure_openai", gateway.AzureOpenAI, "401: Access denied due to invalid subscription key or wrong API endpoint. "+
			"Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."),
		Entry("ollama", gateway.Ollama, "401: unauthorized"),
		Entry("vllm", gateway.VLLM, "401: Unauthorized"),
		Entry("custom", gateway.Custom, "401: Incorrect API key provided: [redacted] You can find your "+
			"API key at https://platform.openai.com/account/api-keys."),
	)

	DescribeTable("sends the key that the provider checks", everyType(func(t gateway.ProviderType) {
		server := startProvider(t, gatewaytest.Options{APIKey: "another-key-entirely"})

		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(t, server.URL), correlationID)

		Expect(result.OK).To(Equal(t == gateway.Ollama))
		Expect(result.Error).NotTo(ContainSubstring(secretKey[:8]))
		Expect(result.Error).NotTo(ContainSubstring(secretKey[len(secretKey)-4:]))
	})...)

	DescribeTable("takes a web page with status 200 for a failure", everyType(func(t gateway.ProviderType) {
		server := startProvider(t, gatewaytest.Options{})
		server.Behave(gatewaytest.Garbage())

		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(t, server.URL), correlationID)

		Expect(result.OK).To(BeFalse())
		Expect(result.Error).To(Equal("answered with something that is not a model list"))
		Expect(result.Status).To(Equal(http.StatusOK))
	})...)

	DescribeTable("reports what a provider answers",
		func(behaviour gatewaytest.Behaviour, status int, text string) {
			server := startProvider(gateway.OpenAI, gatewaytest.Options{})
			server.Behave(behaviour)

			result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID)

			Expect(result.OK).To(BeFalse())
			Expect(result.Error).To(Equal(text))
			Expect(result.Status).To(Equal(status))
		},
		Entry("an error in an array", gatewaytest.Answer(403, `[{"error":{"message":"Forbidden by policy"}}]`), 403, "403: Forbidden by policy"),
		Entry("FastAPI's details", gatewaytest.Answer(422, `{"detail":[{"loc":["x"],"msg":"field required"}]}`), 422, "422: field required"),
		Entry("plain text", gatewaytest.Text(503, "no healthy upstream\n"), 503, "503: no healthy upstream"),
		Entry("plain text that is a page", gatewaytest.Text(502, "<html>oops</html>"), 502, "502: Bad Gateway"),
		Entry("no message", gatewaytest.Answer(500, `{"x":1}`), 500, "500: Internal Server Error"),
		Entry("an unknown status", gatewaytest.Answer(529, ``), 529, "529: the provider gave no reason"),
		Entry("an endless nesting", gatewaytest.Answer(500, strings.Repeat(`{"error":`, 9000)+`1`+strings.Repeat(`}`, 9000)),
			500, "500: Internal Server Error"),
		Entry("the key within a message", gatewaytest.Answer(400, `{"error":{"message":"bad header Bearer `+secretKey+` sent"}}`),
			400, "400: bad header Bearer [redacted] sent"),
		Entry("the key within a message, escaped and cut", gatewaytest.Answer(400, `{"message":"got `+secretKey[:20]+`"}`),
			400, "400: got [redacted]"),
		Entry("no content", gatewaytest.Answer(204, ``), 204, "answered with something that is not a model list"),
		Entry("an error with status 200", gatewaytest.Answer(200, `{"error":{"message":"quota exceeded"}}`), 200,
			"answered with something that is not a model list: quota exceeded"),
		Entry("null for the list", gatewaytest.Answer(200, `{"data":null}`), 200, "answered with something that is not a model list"),
		Entry("an object for the list", gatewaytest.Answer(200, `{"data":{}}`), 200, "answered with something that is not a model list"),
		Entry("entries without a name", gatewaytest.Answer(200, `{"data":[{"id":"a"},{"name":"b"}]}`), 200,
			"answered with something that is not a model list"),
		Entry("entries with an odd name", gatewaytest.Answer(200, `{"data":[{"id":7}]}`), 200,
			"answered with something that is not a model list"),
		Entry("entries with an empty name", gatewaytest.Answer(200, `{"data":[{"id":""}]}`), 200,
			"answered with something that is not a model list"),
		Entry("null entries", gatewaytest.Answer(200, `{"data":[null]}`), 200, "answered with something that is not a model list"),
		Entry("another API's list", gatewaytest.Answer(200, `{"models":[{"name":"a"}]}`), 200,
			"answered with something that is not a model list"),
		Entry("something after the list", gatewaytest.Answer(200, `{"data":[{"id":"a"}]} trailing`), 200,
			"answered with something that is not a model list"),
		Entry("half a list", gatewaytest.Answer(200, `{"data":[{"id":"a"}`), 200, "answered with something that is not a model list"),
		Entry("a redirect elsewhere", gatewaytest.Redirect("http://169.254.169.254/"+secretKey), 0,
			"the server redirects elsewhere, which is not followed"),
		Entry("a redirect without a target", gatewaytest.Answer(302, ``), 302, "302: Found"),
		Entry("nothing", gatewaytest.Abort(), 0, "the connection was closed before the answer was complete"),
	)

	It("counts all models and keeps the first thousand plain names", func() {
		names := make([]string, 1200)
		for i := range names {
			names[i] = "model"
		}

		names[0], names[1], names[2] = "odd\nname", strings.Repeat("m", 300), "echo-"+secretKey

		server := startProvider(gateway.OpenAI, gatewaytest.Options{Models: names})
		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID)

		Expect(result.ModelsFound).To(Equal(1200))
		Expect(result.Models).To(HaveLen(999))
		Expect(result.Models).To(HaveEach("model"))
	})

	It("leaves out a correlation id that no header can hold", func() {
		server := startProvider(gateway.OpenAI, gatewaytest.Options{})

		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(gateway.OpenAI, server.URL), "a\r\nb")

		Expect(result.OK).To(BeTrue())
		Expect(server.Requests()[0].Header).NotTo(HaveKey("X-Correlation-Id"))
	})
})

var _ = Describe("a custom provider", func() {
	test := func(options gatewaytest.Options, credentials map[string]string) gateway.TestResult {
		server := startProvider(gateway.Custom, options)
		target := gateway.Target{Type: gateway.Custom, BaseURL: server.URL, Credentials: credentials}

		return newTester(gateway.TesterOptions{}).Test(context.Background(), target, correlationID)
	}

	DescribeTable("gets its key the way it wants",
		func(options gatewaytest.Options, credentials map[string]string) {
			options.APIKey, credentials["api_key"] = secretKey, secretKey

			Expect(test(options, credentials).Error).To(BeEmpty())
		},
		Entry("as usual", gatewaytest.Options{}, map[string]string{}),
		Entry("another header", gatewaytest.Options{Header: "X-Token"}, map[string]string{"header": "x-token"}),
		Entry("another prefix", gatewaytest.Options{Prefix: "Token"}, map[string]string{"prefix": "Token"}),
		Entry("no prefix", gatewaytest.Options{Header: "X-Key", NoPrefix: true}, map[string]string{"header": "X-Key", "prefix": ""}),
		Entry("another path", gatewaytest.Options{ModelsPath: "/api/list"}, map[string]string{"models_path": "/api/list"}),
	)

	DescribeTable("may list its models in the ways that are known",
		func(body string, names ...string) {
			server := startProvider(gateway.Custom, gatewaytest.Options{})
			server.Behave(gatewaytest.Answer(http.StatusOK, body))

			result := newTester(gateway.TesterOptions{}).Test(context.Background(),
				gateway.Target{Type: gateway.Custom, BaseURL: server.URL}, correlationID)

			Expect(result.Error).To(BeEmpty())
			Expect(result.Models).To(Equal(names))
		},
		Entry("OpenAI's", `{"data":[{"id":"a"}]}`, "a"),
		Entry("a bare array", `[{"id":"a"},{"id":"b"}]`, "a", "b"),
		Entry("models with ids", `{"models":[{"id":"a"}]}`, "a"),
		Entry("models with names", `{"models":[{"name":"a"}]}`, "a"),
	)

	DescribeTable("without a list of models need only be there",
		func(path string, behaviour gatewaytest.Behaviour, text string) {
			server := startProvider(gateway.Custom, gatewaytest.Options{})
			server.Behave(behaviour)

			result := newTester(gateway.TesterOptions{}).Test(context.Background(), gateway.Target{
				Type: gateway.Custom, BaseURL: server.URL + "/v1",
				Credentials: map[string]string{"api_key": secretKey, "models_path": path},
			}, correlationID)

			Expect(result.Error).To(Equal(text))
			Expect(result.OK).To(Equal(text == ""))
			Expect(result.ModelsFound).To(BeZero())
			Expect(server.Requests()[0].Path).To(Equal("/v1"))
			Expect(server.Requests()[0].Header.Get("Authorization")).To(Equal("Bearer " + secretKey))
		},
		Entry("it answers", "none", gatewaytest.Garbage(), ""),
		Entry("it knows no such path", "", gatewaytest.Answer(http.StatusNotFound, `{}`), ""),
		Entry("it turns the key away", "none", gatewaytest.Answer(http.StatusUnauthorized, `{"message":"no"}`), "401: no"),
		Entry("it is broken", "none", gatewaytest.Answer(http.StatusBadGateway, ``), "502: Bad Gateway"),
		Entry("it redirects", "none", gatewaytest.Redirect("http://example.com/"),
			"the server redirects elsewhere, which is not followed"),
	)
})

var _ = Describe("a provider that is not to be had", func() {
	DescribeTable("is reported within the bound",
		func(behaviour gatewaytest.Behaviour, status int, text string) {
			server := startProvider(gateway.OpenAI, gatewaytest.Options{})
			server.Behave(behaviour)

			tester := newTester(gateway.TesterOptions{Timeout: 100 * time.Millisecond})
			started := time.Now()
			result := tester.Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID)

			Expect(result.OK).To(BeFalse())
			Expect(result.Error).To(Equal(text))
			Expect(result.Status).To(Equal(status))
			Expect(result.LatencyMS).To(BeNumerically(">=", 100))
			Expect(time.Since(started)).To(BeNumerically("<", 5*time.Second))
		},
		Entry("when it hangs", gatewaytest.Hang(), 0, "no answer within 100ms"),
		Entry("when it hangs amid its answer", gatewaytest.HangMidBody(), http.StatusOK, "no complete answer within 100ms"),
	)

	It("is cut off at 4 MiB of 100", func() {
		server := startProvider(gateway.OpenAI, gatewaytest.Options{})
		server.Behave(gatewaytest.Big(100 << 20))

		result := newTester(gateway.TesterOptions{}).Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID)

		Expect(result.OK).To(BeFalse())
		Expect(result.Error).To(Equal("the answer is larger than 4 MiB"))

		server.Close()
		Expect(server.BytesSent()).To(BeNumerically("<", 32<<20), "some more than 4 MiB fits into the sockets' buffers")
	})

	It("is cut off at a bound of one's own, and may fill it", func() {
		server := startProvider(gateway.OpenAI, gatewaytest.Options{})
		body := `{"data":[{"id":"a"}]}`
		server.Behave(gatewaytest.Answer(http.StatusOK, body))

		exact := newTester(gateway.TesterOptions{MaxBodyBytes: int64(len(body))})
		Expect(exact.Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID).Error).To(BeEmpty())

		small := newTester(gateway.TesterOptions{MaxBodyBytes: int64(len(body)) - 1})
		Expect(small.Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID).Error).
			To(Equal("the answer is larger than 20 bytes"))
	})

	It("is told apart: refused, wrong certificate, cancelled, not allowed", func() {
		tester := newTester(gateway.TesterOptions{})

		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		Expect(listener.Close()).To(Succeed())

		closed := targetOf(gateway.OpenAI, "http://"+listener.Addr().String())
		Expect(tester.Test(context.Background(), closed, correlationID).Error).To(Equal("the connection was refused"))

		secure := startProvider(gateway.OpenAI, gatewaytest.Options{TLS: true})
		Expect(tester.Test(context.Background(), targetOf(gateway.OpenAI, secure.URL), correlationID).Error).
			To(Equal("the server's TLS certificate is signed by an unknown authority"))

		trusting := gateway.NewTester(netguard.NewClient(loopback(), netguard.Options{RootCAs: secure.RootCAs()}), gateway.TesterOptions{})
		Expect(trusting.Test(context.Background(), targetOf(gateway.OpenAI, secure.URL), correlationID).Error).To(BeEmpty())

		server := startProvider(gateway.OpenAI, gatewaytest.Options{})
		server.Behave(gatewaytest.Hang())

		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		Expect(tester.Test(ctx, targetOf(gateway.OpenAI, server.URL), correlationID).Error).To(Equal("the call was cancelled"))

		strict := gateway.NewTester(netguard.NewClient(netguard.Policy{}, netguard.Options{}), gateway.TesterOptions{})
		Expect(strict.Test(context.Background(), targetOf(gateway.OpenAI, server.URL), correlationID).Error).
			To(Equal("the address is refused: a loopback address, which is not allowed here"))
	})
})
