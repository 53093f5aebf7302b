package cli_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Providers that would turn Archon against its own network", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	var running *archon
	var admin string

	BeforeAll(func() {
		place := install()
		running = place.start()
		s = surfaceOf(running)
		admin = s.token("acme", "ada", "admin")
	})

	number := 0
	// tryTo registers a provider at an address, without asking what comes of it.
	tryTo := func(address string) reply {
		GinkgoHelper()
		number++
		return s.ask(http.MethodPost, providersPath, admin, openAI(fmt.Sprint("Provider ", number), address, canary))
	}
	refused := func(address string) {
		GinkgoHelper()
		r := tryTo(address)
		Expect(r.status).To(Equal(http.StatusUnprocessableEntity), address+r.body)
		_, details := r.failure()
		Expect(details).To(HaveKeyWithValue("base_url", Not(BeEmpty())), address)
	}

	It("are refused at metadata, link-local, private and odd addresses, however they are spelt", func() {
		for _, host := range []string{
			"169.254.169.254", "169.254.170.2", "169.254.1.1", "100.100.100.200", "168.63.129.16", "metadata.google.internal", "METADATA.google.internal.", "metadata",
			"[fd00:ec2::254]", "[fe80::1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::169.254.169.254]",
			"2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xA9.0xFE.0xA9.0xFE", "169.254.169.254.",
			"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fc00::1]", "[::ffff:10.0.0.1]", "167772161", "0.0.0.0", "[::]", "0", "224.0.0.1", "255.255.255.255", "[ff02::1]",
			"198.18.0.1", "192.0.2.1", "240.0.0.1", "2130706433", "0x7f.1", "127.1", "017700000001",
		} {
			refused("http://" + host)
			refused("https://" + host + ":8443/v1")
		}
		Expect(s.get(providersPath, admin).list()).To(BeEmpty())
	})

	It("are refused by PATCH and by the URL among the credentials too", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		id, _ := s.register(admin, openAI("Moved", upstream.URL, canary))
		Expect(s.ask(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"base_url": "http://169.254.169.254"}).status).To(Equal(http.StatusUnprocessableEntity))
		for _, body := range []map[string]any{
			{"name": "Azure", "type": "azure_openai", "base_url": upstream.URL, "credentials": map[string]string{"api_key": canary, "endpoint": "http://169.254.169.254"}},
			{"name": "Ollama", "type": "ollama", "base_url": upstream.URL, "credentials": map[string]string{"base_url": "http://169.254.169.254"}},
			{"name": "Custom", "type": "custom", "base_url": upstream.URL, "credentials": map[string]string{"models_path": "//169.254.169.254/"}},
			{"name": "Custom", "type": "custom", "base_url": upstream.URL, "credentials": map[string]string{"models_path": "http://169.254.169.254/"}},
			{"name": "Custom", "type": "custom", "base_url": upstream.URL, "credentials": map[string]string{"models_path": "/../../admin"}},
		} {
			r := s.ask(http.MethodPost, providersPath, admin, body)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
		}
		s.ask(http.MethodDelete, providersPath+"/"+id, admin, nil)
	})

	It("can't send it, and its key, elsewhere by a redirect", func() {
		elsewhere := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		for _, location := range []string{
			"http://169.254.169.254/latest/meta-data/", elsewhere.URL + "/v1/models", strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), "//169.254.169.254/",
			"file:///etc/passwd", "http://[::ffff:169.254.169.254]/", "javascript:alert(1)", "http://%zz",
		} {
			upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
			upstream.Behave(gatewaytest.Redirect(location))
			r := tryTo(upstream.URL)
			Expect(r.status).To(Equal(http.StatusCreated), r.body)
			Expect(r.data()).To(And(HaveKeyWithValue("health_status", "unhealthy"), HaveKeyWithValue("connection_test", And(HaveKeyWithValue("ok", false), HaveKeyWithValue("error", ContainSubstring("redirect"))))), location)
			Expect(r.body).NotTo(ContainSubstring("169.254"), "nor does the answer say where to")
		}
		Expect(elsewhere.Requests()).To(BeEmpty())
		circle := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		circle.Behave(gatewaytest.Redirect("/v1/models"))
		Expect(tryTo(circle.URL).data()).To(HaveKeyWithValue("connection_test", HaveKeyWithValue("ok", false)))
		Expect(len(circle.Requests())).To(BeNumerically("<", 10), "a circle ends")
	})

	It("that hang, talk nonsense or never stop are bounded and reported", func() {
		type misbehaviour struct {
			name      string
			behaviour gatewaytest.Behaviour
			reported  string
		}
		all := []misbehaviour{
			{"hangs", gatewaytest.Hang(), "no answer within 10s"},
			{"hangs in the middle", gatewaytest.HangMidBody(), "within 10s"},
			{"answers garbage", gatewaytest.Garbage(), "."},
			{"sends 100 MB", gatewaytest.Big(100 << 20), "MiB"},
			{"hangs up", gatewaytest.Abort(), "closed"},
			{"echoes the key", gatewaytest.Answer(http.StatusUnauthorized, `{"error":{"message":"Incorrect API key provided: `+canary+`."}}`), "401: Incorrect API key provided"},
			{"echoes the key in text", gatewaytest.Text(http.StatusForbidden, "key="+canary+" is not allowed"), "403"},
			{"is broken", gatewaytest.Answer(http.StatusInternalServerError, "<html>"), "500"},
			{"wants money", gatewaytest.Answer(http.StatusTooManyRequests, `{"error":{"message":"You exceeded your current quota"}}`), "429: You exceeded your current quota"},
			{"lists nonsense", gatewaytest.Answer(http.StatusOK, `{"data":"none"}`), "."},
			{"answers nothing", gatewaytest.Answer(http.StatusOK, ""), "."},
			{"nests deeply", gatewaytest.Answer(http.StatusOK, strings.Repeat("[", 1<<20)), "."},
			{"injects", gatewaytest.Answer(http.StatusBadRequest, `{"error":"a\nlevel=ERROR msg=forged\u001b[31m `+strings.Repeat("x ", 5000)+`"}`), "400: a level=ERROR msg=forged"},
		}
		upstreams := make([]*gatewaytest.Server, len(all))
		for i, m := range all {
			upstreams[i] = upstreamOf(gateway.OpenAI, gatewaytest.Options{})
			upstreams[i].Behave(m.behaviour)
		}
		started := time.Now()
		answers := make([]reply, len(all))
		atOnce(len(all), func(i int) {
			answers[i] = s.ask(http.MethodPost, providersPath, admin, openAI("It "+all[i].name, upstreams[i].URL, canary))
		})
		Expect(time.Since(started)).To(BeNumerically("<", 40*time.Second))
		for i, m := range all {
			Expect(answers[i].status).To(Equal(http.StatusCreated), m.name+answers[i].body)
			test := answers[i].data()["connection_test"].(map[string]any)
			Expect(test).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("models_found", 0.0), HaveKeyWithValue("error", And(ContainSubstring(strings.Trim(m.reported, ".")), Not(BeEmpty())))), m.name)
			Expect(len([]rune(test["error"].(string)))).To(BeNumerically("<=", 310), m.name)
			Expect(test["error"]).NotTo(MatchRegexp(`[\x00-\x1f]`), m.name)
			Expect(answers[i].body).NotTo(ContainSubstring(canary), m.name)
		}
		Expect(upstreams[3].BytesSent()).To(BeNumerically("<", 50<<20), "not all of the 100 MB was taken")
	})

	It("are reached on loopback only where that is allowed, at each call", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		id, _ := s.register(admin, openAI("On loopback", upstream.URL, canary))

		By("restarting it for production, where nothing allows loopback")
		Expect(running.terminate()).To(Equal(0))
		production := s.start("serve")
		upstream.Reset()
		tested := s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()
		Expect(tested).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("error", ContainSubstring("loopback address"))))
		for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "127.9.9.9", "[::ffff:127.0.0.1]"} {
			refused("http://" + host + ":11434")
		}
		Expect(upstream.Requests()).To(BeEmpty())

		By("allowing one network")
		Expect(production.terminate()).To(Equal(0))
		s.env = append(s.env, "ARCHON_PROVIDER_ALLOWED_CIDRS=127.0.0.1,169.254.0.0/16")
		s.start("serve")
		s.owner = ""
		Expect(s.ask(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()).To(HaveKeyWithValue("ok", true))
		refused("http://127.0.0.2")
		refused("http://169.254.169.254")
		Expect(production.output.String() + running.output.String()).NotTo(ContainSubstring(canary))
		Expect(dump(s.installation)).NotTo(ContainSubstring(canary))
		Expect(filesHolding(s, canary)).To(BeEmpty())
	})
})
