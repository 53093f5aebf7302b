package commands_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
)

// putting is the context of a PUT of rules or the chain.
func putting(path string, change ...func(*httpx.Request)) context.Context {
	return as(append([]func(*httpx.Request){func(r *httpx.Request) {
		r.Method, r.Path, r.Target, r.SuccessStatus = http.MethodPut, path, path, http.StatusOK
	}}, change...)...)
}

// putRules sends rules as JSON, in which $1, $2 … stand for ids.
func (f *fixture) putRules(ctx context.Context, body string, ids ...string) (httpx.Answer, error) {
	GinkgoHelper()
	var sent api.ReplaceRoutingRules
	Expect(json.Unmarshal([]byte(filled(body, ids)), &sent)).To(Succeed())
	done, err := f.routing.ReplaceRoutingRules(ctx, api.ReplaceRoutingRulesRequestObject{Body: &sent})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func (f *fixture) putFallback(ctx context.Context, body string, ids ...string) (httpx.Answer, error) {
	GinkgoHelper()
	var sent api.ReplaceFallback
	Expect(json.Unmarshal([]byte(filled(body, ids)), &sent)).To(Succeed())
	done, err := f.routing.ReplaceFallback(ctx, api.ReplaceFallbackRequestObject{Body: &sent})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func filled(body string, ids []string) string {
	for i, id := range ids {
		body = strings.ReplaceAll(body, "$"+string(rune('1'+i)), id)
	}
	return body
}

func dataOf[T any](answer httpx.Answer) T {
	GinkgoHelper()
	var envelope struct{ Data T }
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed(), string(answer.Body))
	return envelope.Data
}

const (
	rulesPath, fallbackPath = "/api/v1/router/rules/visual", "/api/v1/router/fallback"

	toOne = `{"rules":[{"name":"One","priority":1,"action":{"type":"direct","providers":[{"provider_id":"$1"}]}}]}`
)

var _ = Describe("rules and the fallback chain", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	It("replace all rules, keep ids that are sent and make the others", func() {
		provider := f.registered("Main")
		answer, err := f.putRules(putting(rulesPath), `{"rules":[
			{"id":"mine","name":"Kept","priority":2,"is_enabled":false,"conditions":[{"field":"cost_limit","operator":"lt","value":0.0025}],
				"action":{"type":"weighted_random","providers":[{"provider_id":"$1","weight":70.5,"model":"gpt-4o"}]}},
			{"name":"New","priority":1,"action":{"type":"direct","providers":[{"provider_id":"$2"}]}}],
			"default_rule":{"provider_id":"$1"}}`, provider.ID, strings.ToUpper(provider.ID))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusOK))
		Expect(answer.Header).To(HaveKeyWithValue("Etag", `"1"`))
		shown := dataOf[routing.Ruleset](answer)
		Expect(shown.Rules[0]).To(Equal(routing.Rule{
			ID: "mine", Name: "Kept", Priority: 2,
			Conditions: []routing.Condition{{Field: routing.CostLimit, Operator: routing.Less, Value: routing.Value{Number: "0.0025"}}},
			Action:     routing.Action{Type: routing.WeightedRandom, Targets: []routing.Target{{ProviderID: provider.ID, Weight: 70_500_000, Model: "gpt-4o"}}},
		}))
		Expect(uuid.Validate(shown.Rules[1].ID)).To(Succeed())
		Expect(shown.Rules[1].IsEnabled).To(BeTrue())
		Expect(shown.Rules[1].Action.Targets).To(Equal([]routing.Target{{ProviderID: provider.ID, Weight: routing.One}}))
		Expect(shown.Default.ProviderID).To(Equal(provider.ID))

		events := f.log()
		last := events[len(events)-1]
		Expect(last.Stream).To(Equal(routing.RulesetStream(tenant)))
		Expect(json.RawMessage(last.Data)).To(MatchJSON(mustJSON(shown)))

		By("changing nothing the second time")
		body, err := json.Marshal(shown)
		Expect(err).NotTo(HaveOccurred())
		answer, err = f.putRules(putting(rulesPath), string(body))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Header).To(HaveKeyWithValue("Etag", `"1"`))
		Expect(f.log()).To(HaveLen(len(events)))
		_, err = f.putRules(putting(rulesPath, ifMatch(7)), `{"rules":[]}`)
		Expect(refusal(err).Code).To(Equal("precondition_failed"))
		answer, err = f.putRules(putting(rulesPath, ifMatch(1)), `{"rules":[]}`)
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Header).To(HaveKeyWithValue("Etag", `"2"`))
		Expect(string(answer.Body)).To(ContainSubstring(`"data":{"rules":[],"default_rule":null}`))
	})

	It("replace the chain, with defaults for what is left out and the provider's name for an entry without one", func() {
		first, second := f.registered("First"), f.registered("Second")
		answer, err := f.putFallback(putting(fallbackPath), `{"chain":[{"provider_id":"$1","priority":1},{"provider_id":"$2","name":"mine","priority":2,"model":"m"}],
			"circuit_breaker":{"failure_threshold":2}}`, first.ID, second.ID)
		Expect(err).NotTo(HaveOccurred())
		Expect(dataOf[routing.Fallback](answer)).To(Equal(routing.Fallback{
			Chain:    []routing.Entry{{ProviderID: first.ID, Name: "First", Priority: 1}, {ProviderID: second.ID, Name: "mine", Priority: 2, Model: "m"}},
			Breaker:  routing.Breaker{FailureThreshold: 2, CooldownSeconds: 60, HalfOpenMaxRequests: 3},
			Triggers: []routing.Trigger{"timeout", "rate_limit", "server_error"},
		}))
		Expect(answer.Header).To(HaveKeyWithValue("Etag", `"1"`))
		before := len(f.log())
		answer, err = f.putFallback(putting(fallbackPath), `{"chain":[],"failover_triggers":[]}`)
		Expect(err).NotTo(HaveOccurred())
		Expect(dataOf[routing.Fallback](answer).Triggers).To(BeEmpty())
		Expect(f.log()).To(HaveLen(before + 1))
	})

	It("refuse providers that are not there: unknown, deleted, foreign, no id at all", func() {
		deleted := f.registered("Deleted")
		_, err := f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: deleted.ID})
		Expect(err).NotTo(HaveOccurred())
		answer, err := f.register(as(func(r *httpx.Request) { r.Principal.Tenant = "rival" }), "Foreign")
		Expect(err).NotTo(HaveOccurred())
		before := len(f.log())
		for what, id := range map[string]string{"unknown": uuid.NewString(), "deleted": deleted.ID, "foreign": providerIn(answer).ID, "no id": "../x"} {
			_, err := f.putRules(putting(rulesPath), toOne, id)
			Expect(refusal(err).Details).To(HaveKey("rules.0.action.providers.0.provider_id"), what)
			_, err = f.putRules(putting(rulesPath), `{"rules":[],"default_rule":{"provider_id":"$1"}}`, id)
			Expect(refusal(err).Details).To(HaveKey("default_rule.provider_id"), what)
			_, err = f.putFallback(putting(fallbackPath), `{"chain":[{"provider_id":"$1","priority":1}]}`, id)
			Expect(refusal(err).Kind).To(Equal(domain.Invalid), what)
			Expect(refusal(err).Details).To(HaveKey("chain.0.provider_id"), what)
		}
		Expect(f.log()).To(HaveLen(before))
	})

	DescribeTable("refuse what can't be read, by field", func(body, field string) {
		_, err := f.putRules(putting(rulesPath), body)
		Expect(refusal(err).Details).To(HaveKey(field))
	},
		Entry(nil, `{"rules":[{"name":"x","priority":1,"conditions":[{"field":"model","operator":"eq","value":{}}],"action":{"type":"direct","providers":[{"provider_id":"x"}]}}]}`, "rules.0.conditions.0.value"),
		Entry(nil, `{"rules":[{"name":"x","priority":1,"action":{"type":"direct","providers":[{"provider_id":"x","weight":0.0000001}]}}]}`, "rules.0.action.providers.0.weight"),
		Entry(nil, `{"rules":[{"name":"x","priority":1,"action":{"type":"weighted_random","providers":[{"provider_id":"x","weight":0}]}}]}`, "rules.0.action.providers"),
	)

	It("keep a provider that routing names, and say by what", func() {
		provider := f.registered("Main")
		remove := func() error {
			_, err := f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: provider.ID})
			return err //nolint:wrapcheck // a test
		}
		inUse := func(details map[string]any) {
			GinkgoHelper()
			refused := refusal(remove())
			Expect(refused.Kind).To(Equal(domain.Conflict))
			Expect(refused.Code).To(Equal("provider_in_use"))
			Expect(refused.Details).To(Equal(details))
		}
		put := func(body string) {
			GinkgoHelper()
			_, err := f.putRules(putting(rulesPath), body, provider.ID)
			Expect(err).NotTo(HaveOccurred())
		}
		put(`{"rules":[{"name":"Off","is_enabled":false,"priority":1,"action":{"type":"direct","providers":[{"provider_id":"$1"}]}}],"default_rule":{"provider_id":"$1"}}`)
		inUse(map[string]any{"rules": []string{"Off"}, "default_rule": true})
		put(`{"rules":[],"default_rule":{"provider_id":"$1"}}`)
		inUse(map[string]any{"default_rule": true})
		_, err := f.putFallback(putting(fallbackPath), `{"chain":[{"provider_id":"$1","priority":1}]}`, provider.ID)
		Expect(err).NotTo(HaveOccurred())
		put(`{"rules":[]}`)
		inUse(map[string]any{"fallback_chain": true})
		_, err = f.putFallback(putting(fallbackPath), `{"chain":[]}`)
		Expect(err).NotTo(HaveOccurred())
		Expect(remove()).To(Succeed())
		Expect(refusal(remove())).To(Equal(providers.ErrNotFound))
	})

	It("record refused writes under the resource that they are about", func() {
		ctx := putting(rulesPath)
		position, err := f.writes.Record(ctx, httpx.Refused{Request: httpx.From(ctx), Code: "validation_failed", Answer: httpx.Answer{Status: 422}})
		Expect(err).NotTo(HaveOccurred())
		events := f.log()
		Expect(events[position-1].Data).To(ContainSubstring(`"resource_type":"ruleset","resource_id":"` + routing.RulesetID(tenant) + `"`))
	})

	// Two nodes: each has a store of its own, so that neither knows what the other one is about to append.
	It("let either the removal of a provider win or the rule that names it, never both", func(ctx context.Context) {
		other := f.node(ctx)
		wins := map[string]int{}
		for round := range 30 {
			provider := f.registered("Main")
			var removed, named error
			var both sync.WaitGroup
			start := make(chan struct{})
			both.Go(func() {
				<-start
				_, removed = f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: provider.ID})
			})
			both.Go(func() {
				<-start
				if round%2 == 0 {
					_, named = other.putRules(putting(rulesPath), toOne, provider.ID)
				} else {
					_, named = other.putFallback(putting(fallbackPath), `{"chain":[{"provider_id":"$1","priority":1}]}`, provider.ID)
				}
			})
			close(start)
			both.Wait()
			switch {
			case removed == nil:
				wins["removal"]++
				Expect(refusal(named).Kind).To(Equal(domain.Invalid))
			case named == nil:
				wins["rule"]++
				Expect(refusal(removed).Code).To(Equal("provider_in_use"))
				_, err := f.putRules(putting(rulesPath), `{"rules":[]}`)
				Expect(err).NotTo(HaveOccurred())
				_, err = f.putFallback(putting(fallbackPath), `{"chain":[]}`)
				Expect(err).NotTo(HaveOccurred())
				_, err = f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: provider.ID})
				Expect(err).NotTo(HaveOccurred())
			default:
				Fail("both lost: " + removed.Error() + ", " + named.Error())
			}
		}
		AddReportEntry("wins", wins)
	})

	// The same, with the other's append put exactly between the look and the append.
	It("notice what another node appends between the look and the append", func(ctx context.Context) {
		other := f.node(ctx)
		provider := f.registered("Main")
		f.between(func() {
			_, err := other.putRules(putting(rulesPath), toOne, provider.ID)
			Expect(err).NotTo(HaveOccurred())
		})
		_, err := f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: provider.ID})
		Expect(refusal(err).Code).To(Equal("provider_in_use"))

		second := f.registered("Second")
		f.between(func() {
			_, err := other.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: second.ID})
			Expect(err).NotTo(HaveOccurred())
		})
		_, err = f.putFallback(putting(fallbackPath), `{"chain":[{"provider_id":"$1","priority":1}]}`, second.ID)
		Expect(refusal(err).Details).To(HaveKey("chain.0.provider_id"))
	})
})

// It is the providers' context's list that routing repeats, since contexts don't know each other.
var _ = It("routing knows the capabilities of providers", func() {
	Expect(routing.Capabilities()).To(Equal(providers.Capabilities()))
})

func mustJSON(value any) string {
	GinkgoHelper()
	encoded, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return string(encoded)
}

// node is another node of the same installation, with a store of its own.
func (f *fixture) node(ctx context.Context) *fixture {
	GinkgoHelper()
	pool, err := f.db.Pool(ctx, "archon_app", 4)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(pool.Close)
	store := eventstore.New(pool, eventstore.Config{})
	DeferCleanup(store.Close)
	handler := *f.routing.Handler
	handler.Log, handler.Codec = store, eventcodec.New()
	other := *f
	providers := *f.providers
	providers.Handler = &handler
	other.store, other.providers, other.routing = store, &providers, &commands.Routing{Handler: &handler, Reads: f.routing.Reads}
	return &other
}

// between does something once, after the next command has looked and before it appends.
func (f *fixture) between(deed func()) {
	handler := f.routing.Handler
	handler.Log = &interposed{Log: f.store, deed: deed}
}

type interposed struct {
	commands.Log

	once sync.Once
	deed func()
}

func (i *interposed) Append(ctx context.Context, request eventstore.Append) (eventstore.Result, error) {
	i.once.Do(i.deed)
	return i.Log.Append(ctx, request) //nolint:wrapcheck // a test
}
