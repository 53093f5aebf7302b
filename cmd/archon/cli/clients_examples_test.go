package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// The examples of docs/data-plane.md are run as they stand there.
var _ = Describe("The examples for OpenAI's clients", Ordered, Label("e2e"), func() {
	var s *surface
	BeforeAll(func() { s = surfaceOf(install().start()) })

	// run runs an example with a key and returns what it prints, and its exit code.
	run := func(c *sdkUser, key, dir, program string, args ...string) (stdout, stderr string, code int) {
		GinkgoHelper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "OPENAI_BASE_URL=http://"+s.addr+"/v1", "OPENAI_API_KEY="+key, "MODEL="+c.model)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		Expect(cmd.ProcessState).NotTo(BeNil(), "%v", err)
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}

	// chats runs an example that chats, plain and streamed, and then with a key that is none.
	chats := func(kind gateway.ProviderType, dir, program string, args ...string) {
		GinkgoHelper()
		c := sdkUserOf(s, kind)
		stdout, stderr, code := run(c, c.key, dir, program, args...)
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(Equal("plain: " + hello + "\ntokens: 19\nstreamed: " + hello + "\n"))
		Expect(c.recorded()).To(And(HaveLen(2), HaveEach(HaveKeyWithValue("outcome", "succeeded"))))
		_, stderr, code = run(c, c.key+"x", dir, program, args...)
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("401 invalid_api_key"))
	}

	It("run in JavaScript", func() {
		node, dir := javascript()
		copied(dir, examples+"/chat.mjs")
		chats(gateway.OpenAI, dir, node, "chat.mjs")
	})

	It("run in Python", func() {
		script, err := filepath.Abs(examples + "/chat.py")
		Expect(err).NotTo(HaveOccurred())
		chats(gateway.Anthropic, "", python(), script)
	})

	It("run in Go", func() { chats(gateway.Google, "", golang()) })

	It("run with curl: plain, streamed, and refused", func() {
		found("curl", "apt-get install curl, or brew install curl.")
		c := sdkUserOf(s, gateway.Mistral)
		c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello, Chunks: 3}))
		stdout, stderr, code := run(c, c.key, examples, "sh", "chat.sh")
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(And(ContainSubstring(`"object":"list"`), ContainSubstring(`"id":"a-model"`), ContainSubstring(`"chat.completion"`)))
		Expect(strings.Count(stdout, "data: {")).To(BeNumerically(">=", 3))
		Expect(strings.TrimSpace(stdout)).To(HaveSuffix("data: [DONE]"))
		stdout, _, code = run(c, "ak_nobody", examples, "sh", "chat.sh")
		Expect(code).NotTo(Equal(0))
		Expect(stdout).To(And(ContainSubstring(`"code":"invalid_api_key"`), ContainSubstring(`"type":"invalid_request_error"`)))
	})
})
