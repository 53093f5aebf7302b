package plane_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

// key adds an API key and returns its token.
func (w *world) key(config keys.Config) (key keys.Key, token string) {
	GinkgoHelper()
	var random [keys.SecretBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	made := keys.Secret(random)
	key = keys.Key{ID: uuid.Must(uuid.NewV7()).String(), Config: config, SecretHash: keys.Hash(made)}
	w.put(key)
	return key, keys.Token(w.tenant, key.ID, made)
}

// put puts a key as it is now into the configuration.
func (w *world) put(key keys.Key) {
	w.change(func(c *plane.Configuration) {
		changed := map[string]keys.Key{key.ID: key}
		for id, other := range c.Keys {
			if id != key.ID {
				changed[id] = other
			}
		}
		c.Keys = changed
	})
}

// with is a call of a key's.
func (w *world) with(key keys.Key, extra string) plane.ChatCall {
	call := w.call(extra)
	call.Caller.Key, call.Caller.UserID = &key, ""
	call.Caller.Actor = domain.Actor{ID: key.ID, Type: domain.Service}
	return call
}

var _ = Describe("An API key", func() {
	It("is known from the moment it is made, and no more once it is revoked or has expired", func(ctx context.Context) {
		w := newWorld()
		_, first := w.key(keys.Config{})
		_, problem := w.Authenticate(ctx, first)
		Expect(problem).ToNot(HaveOccurred())
		until := time.Now().Add(time.Hour)
		key, token := w.key(keys.Config{ExpiresAt: &until}) // the configuration without it is fresh
		owned, problem := w.Authenticate(ctx, token)
		Expect(problem).ToNot(HaveOccurred())
		Expect(owned.Tenant).To(Equal(w.tenant))
		Expect(owned.ID).To(Equal(key.ID))

		key.IsRevoked = true
		w.put(key)
		Eventually(func() *plane.Problem { _, problem := w.Authenticate(ctx, token); return problem }).
			WithTimeout(bound).WithPolling(20 * time.Millisecond).Should(HaveField("Status", http.StatusUnauthorized))
		past := time.Now().Add(-time.Second)
		_, expired := w.key(keys.Config{ExpiresAt: &past})
		_, problem = w.Authenticate(ctx, expired)
		Expect(problem).To(HaveField("Status", http.StatusUnauthorized))
	})

	It("that is made up is refused, and costs a look at the log now and then", func(ctx context.Context) {
		w := newWorld()
		_, token := w.key(keys.Config{})
		_, problem := w.Authenticate(ctx, token)
		Expect(problem).ToNot(HaveOccurred())
		parts := len(token)
		for _, wrong := range []string{
			"", "ak_", "ak_x", token[:parts-1], token + "x", token[:parts-1] + string(token[parts-1]^1),
			keys.Token(w.tenant, uuid.NewString(), "x"), keys.Token("other", "id", "secret"),
		} {
			_, problem := w.Authenticate(ctx, wrong)
			Expect(problem).To(HaveField("Status", http.StatusUnauthorized), wrong)
		}
		var random [keys.SecretBytes]byte
		before, start := w.looked(), time.Now()
		var all sync.WaitGroup
		for range 2000 {
			all.Go(func() {
				defer GinkgoRecover()
				_, problem := w.Authenticate(ctx, keys.Token(w.tenant, uuid.NewString(), keys.Secret(random)))
				Expect(problem).To(HaveOccurred())
			})
		}
		all.Wait()
		Expect(w.looked() - before).To(BeNumerically("<=", 3+time.Since(start)/(20*time.Millisecond)))
	})

	It("is for its models alone, whoever chooses them", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		key, _ := w.key(keys.Config{Models: []string{"gpt-4o", "claude-*"}})
		_, problem := w.Chat(ctx, w.with(key, ""))
		Expect(problem).To(HaveField("Code", "model_not_allowed"))
		unnamed := w.with(key, "")
		unnamed.Chat.Model = ""
		_, problem = w.Chat(ctx, unnamed)
		Expect(problem).To(HaveField("Code", "model_not_allowed"), "the provider's model is none of the key's")
		key.Models = append(key.Models, "gpt-4o-*")
		_, problem = w.Chat(ctx, w.with(key, ""))
		Expect(problem).ToNot(HaveOccurred())
		models, problem := w.Models(ctx, w.with(key, "").Caller)
		Expect(problem).ToNot(HaveOccurred())
		Expect(models).To(Equal([]plane.OfferedModel{{Name: "gpt-4o-mini", ProviderName: "a"}}))
	})

	It("has as many requests a minute as it has, and is told when there is one again", func(ctx context.Context) {
		w := newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		limit := int64(3)
		key, _ := w.key(keys.Config{RateLimitRPM: &limit})
		for range limit {
			result, problem := w.Chat(ctx, w.with(key, ""))
			Expect(problem).ToNot(HaveOccurred())
			Expect(result.Limits.Levels).To(HaveLen(1))
		}
		_, problem := w.Chat(ctx, w.with(key, ""))
		Expect(problem.Status).To(Equal(http.StatusTooManyRequests))
		Expect(problem.RetryAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", time.Minute+time.Second)))
		Expect(w.calls()).To(HaveLen(int(limit)))
		Eventually(func() []usage.Recorded { w.mu.Lock(); defer w.mu.Unlock(); return w.refused }).WithTimeout(bound).Should(ConsistOf(And(
			HaveField("Outcome", usage.Refused), HaveField("Code", "rate_limit_exceeded"), HaveField("KeyID", key.ID), HaveField("Attempts", BeEmpty()))))
	})

	It("never spends more than its budget, however many call at once", func(ctx context.Context) {
		w := newWorld()
		server := w.upstream("a", gateway.OpenAI, gatewaytest.Chat(gatewaytest.Reply{Text: "x", Usage: domain.Tokens{Input: 4, Output: 1000}}))
		// A call may cost up to 1,000 output tokens at 0.60 USD a million: 0.0006 USD and a little for the prompt.
		nano := int64(6_100_000) // ten of them
		key, _ := w.key(keys.Config{BudgetNanoUSD: &nano})
		var served, refused atomic.Int64
		var all sync.WaitGroup
		for range 60 {
			all.Go(func() {
				defer GinkgoRecover()
				_, problem := w.Chat(ctx, w.with(key, `,"max_tokens":1000`))
				if problem == nil {
					served.Add(1)
					return
				}
				Expect(problem.Code).To(Equal("budget_exceeded"))
				Expect(problem.Status).To(Equal(http.StatusTooManyRequests))
				refused.Add(1)
			})
		}
		all.Wait()
		var spent domain.Amount
		for _, call := range w.calls() {
			cost, err := domain.ParseAmount(call.CostUSD, 10)
			Expect(err).NotTo(HaveOccurred())
			spent += cost
		}
		Expect(spent).To(BeNumerically("<=", domain.Amount(nano)*domain.NanoUSD))
		Expect(served.Load()).To(BeNumerically(">=", 1))
		Expect(refused.Load()).To(BeNumerically(">=", 50))
		for _, request := range server.Requests() {
			Expect(string(request.Body)).To(ContainSubstring(`"max_tokens":1000`))
		}
	})

	It("with a budget bounds what a call may generate, and does not call what has no price", func(ctx context.Context) {
		w := newWorld(func(c *plane.Config) { c.DefaultMaxTokens = 321 })
		server := w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")))
		nano := int64(1_000_000_000)
		key, _ := w.key(keys.Config{BudgetNanoUSD: &nano})
		_, problem := w.Chat(ctx, w.with(key, ""))
		Expect(problem).ToNot(HaveOccurred())
		Expect(string(server.Requests()[0].Body)).To(ContainSubstring(`321`))

		other := newWorld()
		unpriced := other.upstream("a", gateway.Custom, gatewaytest.Chat(reply("x")))
		key, _ = other.key(keys.Config{BudgetNanoUSD: &nano})
		_, problem = other.Chat(ctx, other.with(key, ""))
		Expect(problem.Code).To(Equal("budget_exceeded"))
		Expect(unpriced.Requests()).To(BeEmpty())
	})
})

var _ = Describe("A provider's rate limits", func() {
	It("send calls down the chain when they are used up, and give back what a call did not use", func(ctx context.Context) {
		w := newWorld()
		limit := int64(2)
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("from a")), func(p *plane.Provider) { p.Config.RateLimitRPM = &limit })
		w.upstream("b", gateway.OpenAI, gatewaytest.Chat(reply("from b")))
		var contents []string
		for range 3 {
			result, problem := w.Chat(ctx, w.call(""))
			Expect(problem).ToNot(HaveOccurred())
			contents = append(contents, result.Content)
		}
		Expect(contents).To(Equal([]string{"from a", "from a", "from b"}))
		Expect(outcomes(w.calls()[2])).To(Equal([]string{"rate_limited", "succeeded"}))

		tokens := newWorld()
		tpm := int64(1000)
		tokens.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("x")), func(p *plane.Provider) { p.Config.RateLimitTPM = &tpm })
		for range 4 { // each asks for up to 900 tokens and uses 120
			Eventually(func() *plane.Problem {
				_, problem := tokens.Chat(ctx, tokens.call(`,"max_tokens":500`))
				return problem
			}).
				WithTimeout(bound).Should(Succeed())
		}
	})
})

// looked is how often the plane has looked at the log.
func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks
}

var _ = Describe("The directory", func() {
	It("looks once for all who call at once, and again when this node has changed something", func(ctx context.Context) {
		w := newWorld()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				defer GinkgoRecover()
				_, err := w.config.Directory.Get(ctx, w.tenant)
				Expect(err).NotTo(HaveOccurred())
			})
		}
		all.Wait()
		Expect(w.looked()).To(Equal(1))
		w.change(func(c *plane.Configuration) { c.RulesVersion = 7 })
		w.config.Directory.Changed(w.tenant)
		snapshot, err := w.config.Directory.Get(ctx, w.tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(snapshot.RulesVersion).To(BeEquivalentTo(7))
	})

	It("sees what another node has changed within a second, and loads nothing where nothing has", func(ctx context.Context) {
		w := newWorld()
		_, err := w.config.Directory.Get(ctx, w.tenant)
		Expect(err).NotTo(HaveOccurred())
		w.change(func(c *plane.Configuration) { c.RulesVersion = 7 })
		version := func() int64 {
			snapshot, err := w.config.Directory.Get(ctx, w.tenant)
			Expect(err).NotTo(HaveOccurred())
			return snapshot.RulesVersion
		}
		Eventually(version).WithTimeout(bound).WithPolling(10 * time.Millisecond).Should(BeEquivalentTo(7))
		Expect(w.loads).To(Equal(2))
		before := w.looked()
		Eventually(func() int { version(); return w.looked() }).WithTimeout(bound).WithPolling(10 * time.Millisecond).Should(BeNumerically(">", before+2))
		Expect(w.loads).To(Equal(2))
	})

	It("answers from what it knows only while that is fresh", func(ctx context.Context) {
		now := time.Now()
		w := newWorld()
		directory := plane.NewDirectory(w, w.config.Log, func() time.Time { return now })
		_, err := directory.Get(ctx, w.tenant)
		Expect(err).NotTo(HaveOccurred())
		w.mu.Lock()
		w.sourceErr = http.ErrServerClosed
		w.mu.Unlock()
		_, err = directory.Get(ctx, w.tenant)
		Expect(err).NotTo(HaveOccurred())
		now = now.Add(time.Second)
		_, err = directory.Get(ctx, w.tenant)
		Expect(err).To(MatchError(http.ErrServerClosed))
		Expect(w.health).To(BeEquivalentTo(map[string]providers.Status{}))
	})

	It("keeps nothing of tenants that there are not, and those that there are, whatever keys are made up", func(ctx context.Context) {
		w := newWorld()
		_, err := w.config.Directory.Get(ctx, w.tenant)
		Expect(err).NotTo(HaveOccurred())
		for range 3000 {
			snapshot, err := w.config.Directory.Get(ctx, uuid.NewString())
			Expect(err).NotTo(HaveOccurred())
			Expect(snapshot.Keys).To(BeEmpty())
		}
		Expect(w.loads).To(Equal(1), "nothing is loaded of what is not there")
		now := w.looked()
		_, err = w.config.Directory.Since(ctx, w.tenant, time.Now().Add(-time.Hour))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.looked()).To(Equal(now), "the real one is still known")
	})

	It("forgets who has called least recently where there are too many", func(ctx context.Context) {
		everywhere := &everyTenant{}
		directory := plane.NewDirectory(everywhere, newWorld().config.Log, time.Now)
		for i := range 1100 {
			for _, tenant := range []string{"regular", strconv.Itoa(i)} {
				_, err := directory.Get(ctx, tenant)
				Expect(err).NotTo(HaveOccurred())
			}
		}
		Expect(everywhere.loads.Load()).To(BeEquivalentTo(1101))
	})

	It("has those who wait for a look that fails fail with it, instead of each looking in turn", func(ctx context.Context) {
		w := newWorld()
		w.sourceErr = http.ErrServerClosed
		var asking atomic.Int64
		w.looking = func() {
			Eventually(asking.Load).WithTimeout(bound).Should(BeEquivalentTo(50))
			select { // by then all of them are waiting
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				defer GinkgoRecover()
				asking.Add(1)
				_, err := w.config.Directory.Get(ctx, w.tenant)
				Expect(err).To(MatchError(http.ErrServerClosed))
			})
		}
		all.Wait()
		Expect(w.looked()).To(BeNumerically("<=", 2))
	})

	It("goes by what read tables show while they lag, says so once, and looks again until they don't", func(ctx context.Context) {
		w := newWorld()
		w.change(func(c *plane.Configuration) { c.Lagging = errors.New("the projection is halted") })
		version := func() int64 {
			snapshot, err := w.config.Directory.Get(ctx, w.tenant)
			Expect(err).NotTo(HaveOccurred())
			return snapshot.RulesVersion
		}
		Expect(version()).To(BeZero())
		loads := func() int { version(); w.mu.Lock(); defer w.mu.Unlock(); return w.loads }
		Eventually(loads).WithTimeout(bound).WithPolling(10 * time.Millisecond).Should(BeNumerically(">=", 3))
		w.mu.Lock() // the operator retries, which changes nothing in the log
		w.configuration.Lagging, w.configuration.RulesVersion = nil, 7
		w.mu.Unlock()
		Eventually(version).WithTimeout(bound).WithPolling(10 * time.Millisecond).Should(BeEquivalentTo(7))
		Expect(strings.Count(w.logged.String(), "may be old")).To(Equal(1))
	})
})

// everyTenant is a source in which there is every tenant.
type everyTenant struct{ loads atomic.Int64 }

func (*everyTenant) Changed(context.Context, string, int64) (bool, int64, error) {
	return false, 1, nil
}

func (e *everyTenant) Load(context.Context, string, int64, time.Duration) (*plane.Configuration, error) {
	e.loads.Add(1)
	return &plane.Configuration{}, nil
}

func (*everyTenant) Health(context.Context, string) (map[string]providers.Status, error) {
	return map[string]providers.Status{}, nil
}
