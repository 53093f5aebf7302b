package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

var _ = Describe("Calls while Redis is away", Label("e2e"), func() {
	// expectToDoWithout is what has to hold of a node without Redis.
	expectToDoWithout := func(c *customer) (budgeted string, upstream *gatewaytest.Server) {
		GinkgoHelper()
		upstream = chatting(gateway.OpenAI, "from a")
		id := c.registers("A", "openai", upstream.URL)
		const failures = 3
		c.chains(failures, 60, 1, allTriggers)
		key, _ := c.makesKey(object{"rate_limit_rpm": 1000})
		budgeted, _ = c.makesKey(object{"budget_usd": 1})
		Expect(c.stateOfHealth("redis")()).To(Equal("degraded, redis unavailable"))
		for _, streamed := range []bool{false, true} {
			got := c.mustChat(key, talk("hello", object{"stream": streamed}))
			Expect(got.status).To(Equal(http.StatusOK), got.body)
			Expect(got.whole).To(BeTrue())
		}

		By("refusing what would spend from a budget that nobody can hold")
		refused := c.mustChat(budgeted, talk("hello"))
		Expect(refused.status).To(Equal(http.StatusServiceUnavailable), refused.body)
		Expect(posts(upstream)).To(HaveLen(2))

		By("opening a breaker of its own")
		upstream.Behave(gatewaytest.Failing(http.StatusInternalServerError))
		for range 3 * failures {
			refused = c.mustChat(key, talk("hello"))
		}
		Expect(refused.code()).To(Equal("providers_unavailable"), refused.body)
		Expect(len(posts(upstream)) - 2).To(And(BeNumerically(">=", failures), BeNumerically("<=", failures+1)))
		Eventually(func() []string { return transitionsOf(c, id) }).WithTimeout(bound).Should(Equal([]string{"closed→open"}))

		by := chatting(gateway.OpenAI, "from b")
		c.chains(failures, 60, 1, allTriggers, id, c.registers("B", "openai", by.URL))
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("from b"))
		return budgeted, upstream
	}

	It("flow, and go on where they were once it is back", func() {
		server := newRedisServer()
		server.start()
		place := install(server.env())
		place.start()
		c := place.customer()
		Expect(place.stateOfHealth("redis")()).To(Equal("ok, redis ok"))
		server.kill()
		Eventually(place.stateOfHealth("redis")).WithTimeout(bound).Should(Equal("degraded, redis unavailable"))
		budgeted, broken := expectToDoWithout(c)
		asked := len(posts(broken))

		By("finding it again by itself")
		server.start()
		Eventually(place.stateOfHealth("redis")).WithTimeout(bound).Should(Equal("ok, redis ok"))
		Eventually(func() int { return c.mustChat(budgeted, talk("hello")).status }).WithTimeout(bound).Should(Equal(http.StatusOK))
		Expect(posts(broken)).To(HaveLen(asked), "what this node has found out stands")
		place.expectReplayToAgree()
	})

	It("flow where it never was there", func() {
		place := install(newRedisServer().env())
		place.start()
		expectToDoWithout(place.customer())
	})
})

var _ = Describe("Calls while PostgreSQL is away", Label("e2e"), func() {
	It("are refused with 503 in OpenAI's format, never answered without a record, and flow again by themselves", func() {
		place := install()
		place.start()
		c := place.customer()
		upstream := chatting(gateway.OpenAI, "one two three four")
		c.registers("Only", "openai", upstream.URL)
		key, _ := c.makesKey(nil)
		dir, owner := place.cluster(), ownerURL(place)
		w := &crowd{places: []*installation{place}, token: key, refusable: true}
		const some, callers = 50, 16
		goOn := func() {
			GinkgoHelper()
			enough := w.whole() + some
			Eventually(w.whole).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
		}
		began := time.Now()
		w.during(callers, func() {
			goOn()
			Expect(syscall.Kill(postmasterIn(dir), syscall.SIGINT)).To(Succeed())
			goOn()
			Eventually(place.stateOfHealth("database")).WithTimeout(bound).Should(Equal("ok, database ok"))
			Eventually(func() int {
				// Killed, and killed again before it is well: a postmaster that was killed leaves its file, a new one may not have one yet.
				// It is gone or half written for a moment then, so this does not use postmasterIn.
				text, _ := os.ReadFile(dir + "/postmaster.pid")
				first, _, _ := strings.Cut(string(text), "\n")
				if pid, err := strconv.Atoi(first); err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				return w.refused()
			}).WithTimeout(bound).WithPolling(50 * time.Millisecond).Should(BeNumerically(">", callers))
			goOn()
		})
		Eventually(place.stateOfHealth("database")).WithTimeout(bound).Should(Equal("ok, database ok"))
		AddReportEntry("PostgreSQL restarted and killed under calls", fmt.Sprintf("%d whole answers, %d refused, %d cut off in %s",
			w.whole(), w.refused(), w.cut(), time.Since(began).Round(time.Millisecond)))
		Expect(w.cut()).To(BeZero(), "Archon itself was well")
		w.reconcile(callsAt(owner, c.name), upstream)
		place.expectReplayToAgree()
	})
})

var _ = Describe("Calls while the secret store is away", Label("e2e"), func() {
	It("go to the providers whose secret is known, and pass the others over", func(ctx SpecContext) {
		server, err := secretstest.StartVault(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(server.Stop)
		vault := newGate(server.Address)
		place := install("ARCHON_VAULT_ADDR="+vault.address(), "ARCHON_VAULT_TOKEN="+server.Token)
		running := place.start()
		c := place.customer()
		known, unknown := chatting(gateway.OpenAI, "known"), chatting(gateway.OpenAI, "unknown")
		first := c.registers("Known", "openai", known.URL)
		second := c.registers("Unknown", "openai", unknown.URL)
		key, _ := c.makesKey(nil)
		c.chains(5, 60, 1, allTriggers, second, first)
		c.sends(first)
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("known"))
		late, _ := c.makesKey(nil)

		vault.close()
		Eventually(running.stateOfHealth("secrets")).WithTimeout(bound).Should(Equal("degraded, secrets unavailable"))
		for _, token := range []string{key, late} {
			got := c.mustChat(token, talk("hello"))
			Expect(got.text).To(Equal("known"), strconv.Itoa(got.status)+got.body)
		}
		c.sends(second)
		Eventually(func() []string {
			Expect(c.mustChat(key, talk("hello")).text).To(Equal("known"))
			all := c.calls()
			return outcomesOf(all[len(all)-1])
		}).WithTimeout(bound).Should(Equal([]string{"credentials_unavailable", "succeeded"}))
		Expect(posts(unknown)).To(BeEmpty())

		vault.open()
		Eventually(running.stateOfHealth("secrets")).WithTimeout(bound).Should(Equal("ok, secrets ok"))
		Eventually(func() string { return c.mustChat(key, talk("hello")).text }).WithTimeout(bound).Should(Equal("unknown"))
		place.expectReplayToAgree()
	})
})
