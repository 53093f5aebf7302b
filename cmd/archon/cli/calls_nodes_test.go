package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/gateway"
)

var _ = Describe("Calls through several nodes", Label("e2e"), Ordered, ContinueOnFailure, func() {
	var (
		place *installation
		nodes []*archon
		redis *miniredis.Miniredis // whose clock stands still but for later
		now   time.Time
	)

	// later lets time pass for Redis, by whose clock breakers and limits go.
	later := func(d time.Duration) {
		now = now.Add(d)
		redis.SetTime(now)
	}

	BeforeAll(func() {
		redis = miniredis.NewMiniRedis()
		Expect(redis.Start()).To(Succeed())
		DeferCleanup(redis.Close)
		now = time.Now()
		later(0)
		place = install(loopbackAllowed, "ARCHON_REDIS_URL=redis://"+redis.Addr())
		nodes = []*archon{place.start(), place.beside().start("serve")}
	})

	// customers is a new customer as a client of each node.
	customers := func() []*customer {
		GinkgoHelper()
		c := nodes[0].customer()
		return []*customer{c, c.at(nodes[1].installation)}
	}

	// tripped is customers with one provider whose breaker has just opened.
	tripped := func(upstream *pausing, failures, halfOpen int) (at []*customer, key, id string) {
		GinkgoHelper()
		at = customers()
		id = at[0].registers("Only", "openai", upstream.URL)
		at[0].chains(failures, 60, halfOpen, allTriggers)
		key, _ = at[0].makesKey(nil)
		upstream.failing.Store(true)
		var last completion
		for turn := range 4 * failures {
			last = at[turn%2].mustChat(key, talk("hello"))
			Expect(last.status).To(BeElementOf(http.StatusBadGateway, http.StatusServiceUnavailable), last.body)
		}
		Expect(last.code()).To(Equal("providers_unavailable"))
		Expect(strconv.Atoi(last.header.Get("Retry-After"))).To(BeNumerically("~", 60, 1))
		Expect(upstream.failed.Load()).To(And(BeNumerically(">=", failures), BeNumerically("<=", failures+1)), "over both nodes")
		upstream.failing.Store(false)
		return at, key, id
	}

	// breakerOf is what the API says of a provider's breaker.
	breakerOf := func(c *customer, id string) func() map[string]any {
		return func() map[string]any {
			r := c.must(http.MethodGet, providersPath+"/"+id+"/health", c.admin, nil)
			shown, _ := r.data()["circuit_breaker"].(map[string]any)
			return shown
		}
	}

	It("share a breaker: no more than one attempt beyond the threshold is wasted, and only so many probes get through", func() {
		upstream := newPausing()
		const failures, halfOpen = 4, 2
		at, key, id := tripped(upstream, failures, halfOpen)
		for _, c := range at {
			Eventually(breakerOf(c, id)).WithTimeout(bound).Should(And(
				HaveKeyWithValue("state", "open"), HaveKeyWithValue("failure_count", float64(failures)), HaveKeyWithValue("opened_at", Not(BeNil()))))
		}

		By("calling from all sides once the cooldown is over")
		later(61 * time.Second)
		stop := make(chan struct{})
		var refused, answered atomic.Int64
		var callers sync.WaitGroup
		const crowd = 12
		for caller := range crowd {
			callers.Go(func() {
				defer GinkgoRecover()
				for {
					select {
					case <-stop:
						return
					default:
					}
					got := at[caller%2].mustChat(key, talk("hello"))
					if got.status == http.StatusOK {
						answered.Add(1)
						return
					}
					Expect(got.status).To(Equal(http.StatusServiceUnavailable), got.body)
					refused.Add(1)
				}
			})
		}
		for range halfOpen {
			Eventually(upstream.begun).WithTimeout(bound).Should(Receive())
		}
		enough := refused.Load() + 5*crowd
		Eventually(refused.Load).WithTimeout(bound).Should(BeNumerically(">=", enough))
		Expect(upstream.begun).NotTo(Receive(), "the probes are under way, and nobody else may try")
		Eventually(breakerOf(at[1], id)).WithTimeout(bound).Should(HaveKeyWithValue("state", "half_open"))
		close(stop)
		close(upstream.goOn)
		callers.Wait()
		Expect(answered.Load()).To(BeNumerically(">=", halfOpen), "the probes, and whoever came right after them")

		By("calling as before once all probes have succeeded")
		for _, c := range at {
			Eventually(func() int { return c.mustChat(key, talk("hello")).status }).WithTimeout(bound).Should(Equal(http.StatusOK))
			Eventually(breakerOf(c, id)).WithTimeout(bound).Should(And(HaveKeyWithValue("state", "closed"), HaveKeyWithValue("opened_at", BeNil())))
		}
		Expect(transitionsOf(at[0], id)).To(Equal([]string{"closed→open", "open→half_open", "half_open→closed"}))
	})

	It("are let through again although a node was killed with the only probe", func() {
		third := place.beside().start("serve")
		upstream := newPausing()
		at, key, id := tripped(upstream, 2, 1)
		later(61 * time.Second)
		probing := at[0].at(third.installation)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			for answered := true; answered; {
				answered = probing.chat(ctx, key, talk("hello")).broken == nil
			}
		}()
		Eventually(upstream.begun).WithTimeout(bound).Should(Receive())
		third.kill()
		for _, c := range at {
			got := c.mustChat(key, talk("hello"))
			Expect(got.status).To(Equal(http.StatusServiceUnavailable), got.body)
		}
		close(upstream.goOn)
		later(2*time.Minute + time.Second)
		for _, c := range at {
			Eventually(func() int { return c.mustChat(key, talk("hello")).status }).WithTimeout(bound).Should(Equal(http.StatusOK))
		}
		Eventually(breakerOf(at[1], id)).WithTimeout(bound).Should(HaveKeyWithValue("state", "closed"))
	})

	It("share a key's rate limit, and say honestly when to come back", func() {
		at := customers()
		at[0].registers("Only", "openai", chatting(gateway.OpenAI, "x").URL)
		const rpm = 5
		key, _ := at[0].makesKey(object{"rate_limit_rpm": rpm})
		for turn := range rpm {
			got := at[turn%2].mustChat(key, talk("hello"))
			Expect(got.status).To(Equal(http.StatusOK), got.body)
			Expect(got.header.Get("X-Ratelimit-Limit-Requests")).To(Equal(strconv.Itoa(rpm)))
			Expect(got.header.Get("X-Ratelimit-Remaining-Requests")).To(Equal(strconv.Itoa(rpm - 1 - turn)))
		}
		expectHonestRefusal(at, key, later)

		By("letting no more through where all come at once")
		const many = 40
		flooded, _ := at[0].makesKey(object{"rate_limit_rpm": rpm})
		statuses := make([]int, many)
		atOnce(many, func(index int) { statuses[index] = at[index%2].mustChat(flooded, talk("hello")).status })
		passed := 0
		for _, status := range statuses {
			if status == http.StatusOK {
				passed++
			}
		}
		Expect(passed).To(Equal(rpm))
	})

	It("share a provider's rate limit, and go to the next provider where there is one", func() {
		at := customers()
		limited := chatting(gateway.OpenAI, "limited")
		first := at[0].registers("A", "openai", limited.URL, object{"rate_limit_rpm": 3})
		at[0].sends(first)
		key, _ := at[0].makesKey(nil)
		for turn := range 3 {
			Expect(at[turn%2].mustChat(key, talk("hello")).text).To(Equal("limited"))
		}
		expectHonestRefusal(at, key, later)
		Expect(posts(limited)).To(HaveLen(4))

		second := at[0].registers("B", "openai", chatting(gateway.OpenAI, "next").URL)
		at[0].chains(5, 60, 1, allTriggers, first, second)
		Eventually(func() string { return at[1].mustChat(key, talk("hello")).text }).WithTimeout(bound).Should(Equal("next"))
		log := at[0].calls()
		Expect(outcomesOf(log[len(log)-1])).To(Equal([]string{"rate_limited", "succeeded"}))
	})

	It("take a new key at once where it was made, and soon everywhere", func() {
		at := customers()
		at[0].registers("Only", "openai", chatting(gateway.OpenAI, "x").URL)
		for turn := range 10 {
			maker := at[turn%2]
			key, _ := maker.makesKey(nil)
			Expect(maker.mustChat(key, talk("hello")).status).To(Equal(http.StatusOK))
			Eventually(func() int { return at[(turn+1)%2].mustChat(key, talk("hello")).status }).WithTimeout(time.Second).Should(Equal(http.StatusOK))
		}
	})

	// within waits for a change that is to be seen within a second on all nodes, and returns how long each of them took.
	within := func(at []*customer, seen func(c *customer) bool) string {
		GinkgoHelper()
		began := time.Now()
		took := make([]string, len(at))
		atOnce(len(at), func(index int) {
			Eventually(func() bool { return seen(at[index]) }).WithTimeout(time.Second).WithPolling(5 * time.Millisecond).Should(BeTrue())
			took[index] = time.Since(began).Round(time.Millisecond).String()
		})
		return fmt.Sprint(took)
	}

	It("refuse a revoked key within a second on every node", func() {
		at := customers()
		at[0].registers("Only", "openai", chatting(gateway.OpenAI, "x").URL)
		for range 3 {
			key, id := at[0].makesKey(nil)
			for _, c := range at {
				Eventually(func() int { return c.mustChat(key, talk("hello")).status }).WithTimeout(time.Second).Should(Equal(http.StatusOK))
			}
			Expect(at[0].must(http.MethodDelete, keysPath+"/"+id, at[0].admin, nil).status).To(Equal(http.StatusNoContent))
			AddReportEntry("a revoked key is refused after, by node", within(at, func(c *customer) bool {
				return c.must(http.MethodGet, modelsPath, key, nil).status == http.StatusUnauthorized
			}))
		}
	})

	It("follow new rules within a second on every node", func() {
		at := customers()
		for _, name := range []string{"one", "two", "three"} {
			at[0].registers(name, "openai", chatting(gateway.OpenAI, name).URL)
		}
		key, _ := at[0].makesKey(nil)
		listed := at[0].must(http.MethodGet, providersPath, at[0].admin, nil).list()
		for _, provider := range listed {
			id, _ := provider["id"].(string)
			at[0].sends(id)
			AddReportEntry("new rules are followed after, by node", within(at, func(c *customer) bool {
				return c.mustChat(key, talk("hello")).text == provider["name"]
			}))
		}
	})

	It("leave a log that verifies, and decisions that come out the same when they are made again", func() {
		place.expectReplayToAgree()
	})
})

// expectHonestRefusal expects a key's next call to be refused on all nodes until the moment that the refusal names.
func expectHonestRefusal(at []*customer, key string, later func(time.Duration)) {
	GinkgoHelper()
	refused := func(c *customer) int {
		GinkgoHelper()
		got := c.mustChat(key, talk("hello"))
		Expect(got.status).To(Equal(http.StatusTooManyRequests), got.body)
		Expect(got.code()).To(Equal("rate_limit_exceeded"))
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		return seconds
	}
	seconds := refused(at[0])
	Expect(refused(at[1])).To(Equal(seconds))
	const early = 2
	Expect(seconds).To(BeNumerically(">", early))
	later(time.Duration(seconds-early) * time.Second)
	for _, c := range at {
		Expect(refused(c)).To(BeNumerically("<=", early))
	}
	later(early * time.Second)
	Expect(at[1].mustChat(key, talk("hello")).status).To(Equal(http.StatusOK), "it has waited as long as it was told")
}

// transitionsOf are the changes of a provider's breaker that are in the log.
func transitionsOf(c *customer, id string) []string {
	GinkgoHelper()
	var found []string
	asOwner(c.installation, func(ctx context.Context, conn *pgx.Conn) {
		for _, data := range rowsOf[[]byte](conn.Query(ctx, `select data from events where tenant_id = $1 and stream = $2 and type = $3 order by position`,
			c.name, "providerhealth-"+id, providers.BreakerChanged{}.EventType())) {
			var changed providers.BreakerChanged
			Expect(json.Unmarshal(data, &changed)).To(Succeed())
			found = append(found, changed.From+"→"+changed.To)
		}
	})
	return found
}
