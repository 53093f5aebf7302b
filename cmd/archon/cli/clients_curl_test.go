package cli_test

import (
	"encoding/json"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// What a person sees who types it: the example of the documentation shows how, this is what can go wrong on the way.
var _ = Describe("curl", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var s *surface
	var c *sdkUser
	BeforeAll(func() {
		found("curl", "apt-get install curl, or brew install curl.")
		s = surfaceOf(install("ARCHON_CALL_IDLE_TIMEOUT=10m").start()) // longer than anything here waits
	})
	BeforeEach(func() { c = sdkUserOf(s, gateway.OpenAI) })

	// command posts a chat to Archon with curl; the body comes from stdin, so its length says nothing about the command line's.
	command := func(key string, body map[string]any, args ...string) *exec.Cmd {
		GinkgoHelper()
		encoded, err := json.Marshal(body)
		Expect(err).NotTo(HaveOccurred())
		cmd := exec.Command("curl", append([]string{
			"-sS", "http://" + s.addr + "/v1/chat/completions", "-H", "Authorization: Bearer " + key, "-H", "Content-Type: application/json", "--data-binary", "@-",
		}, args...)...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(string(encoded)), GinkgoWriter
		return cmd
	}

	It("gets an answer with its headers, and an error with its", func() {
		out, err := command(c.key, c.chat(), "-i").Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(out)).To(And(
			HavePrefix("HTTP/1.1 200 OK\r\n"), MatchRegexp(`(?i)\r\nx-request-id: [0-9a-f-]{36}\r\n`), MatchRegexp(`(?i)\r\nx-event-position: \d+\r\n`),
			MatchRegexp(`(?i)\r\ncontent-type: application/json\r\n`), ContainSubstring(hello)))

		Eventually(s.running.output.String).WithTimeout(bound).Should(MatchRegexp(`route=/v1/chat/completions status=200 .*tenant=` + c.name))

		out, err = command("ak_nobody", c.chat(), "-i").Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(out)).To(And(
			HavePrefix("HTTP/1.1 401 Unauthorized\r\n"), MatchRegexp(`(?i)\r\nwww-authenticate: Bearer\r\n`), MatchRegexp(`(?i)\r\nx-request-id: [0-9a-f-]{36}\r\n`),
			ContainSubstring(`"code":"invalid_api_key"`)))
	})

	It("shows each piece when it comes, and why there are no more", func() {
		c.upstream.Behave(gatewaytest.HangMidAnswer(gatewaytest.Reply{Text: "first second third fourth", Chunks: 4}))
		seen := &output{}
		cmd := command(c.key, c.chat(map[string]any{"stream": true}), "-N")
		cmd.Stdout = seen
		Expect(cmd.Start()).To(Succeed())
		Eventually(seen.String).WithTimeout(bound).Should(ContainSubstring(`"content":"first`), "the provider has not said more yet")
		Expect(cmd.ProcessState).To(BeNil())

		c.upstream.Close() // breaks the connection
		Expect(cmd.Wait()).To(Succeed())
		events := strings.Split(strings.TrimSpace(seen.String()), "\n\n")
		Expect(events).To(HaveEach(HavePrefix("data: {")), "nothing but events, and no [DONE]")
		Expect(events[len(events)-1]).To(HavePrefix(`data: {"error":{"message":"`))
	})

	It("waits with a large body until it is wanted", func() {
		image := "data:image/png;base64," + strings.Repeat("QUJD", 3<<16) // as long as the test provider takes; from a megabyte on curl asks by itself
		out, err := command(c.key, c.chat(map[string]any{"messages": []any{map[string]any{"role": "user", "content": []any{
			map[string]any{"type": "image_url", "image_url": map[string]any{"url": image}},
		}}}}), "-H", "Expect: 100-continue", "-i").Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(out)).To(And(HavePrefix("HTTP/1.1 100 Continue\r\n"), ContainSubstring("HTTP/1.1 200 OK\r\n"), ContainSubstring(hello)))

		out, err = command("ak_nobody", c.chat(map[string]any{"user": image}), "-H", "Expect: 100-continue", "-i").Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(out)).To(HavePrefix("HTTP/1.1 401 Unauthorized\r\n"), "before the body was sent")
	})
})
