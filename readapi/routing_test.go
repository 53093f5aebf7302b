package readapi_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/routing"
)

var _ = Describe("routing", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	rules := func(ctx context.Context, of string, at *time.Time) api.GetRoutingRules200JSONResponse {
		GinkgoHelper()
		response, err := f.routing.GetRoutingRules(as(ctx, of), api.GetRoutingRulesRequestObject{Params: api.GetRoutingRulesParams{AsOf: at}})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.GetRoutingRules200JSONResponse)
	}
	fallback := func(ctx context.Context, of string, at *time.Time) api.GetFallback200JSONResponse {
		GinkgoHelper()
		response, err := f.routing.GetFallback(as(ctx, of), api.GetFallbackRequestObject{Params: api.GetFallbackParams{AsOf: at}})
		Expect(err).NotTo(HaveOccurred())
		return response.(api.GetFallback200JSONResponse)
	}
	asJSON := func(value any) string {
		GinkgoHelper()
		encoded, err := json.Marshal(value)
		Expect(err).NotTo(HaveOccurred())
		return string(encoded)
	}
	const nothing, byDefault = `{"rules":[],"default_rule":null}`,
		`{"chain":[],"circuit_breaker":{"failure_threshold":5,"cooldown_seconds":60,"half_open_max_requests":3},"failover_triggers":["timeout","rate_limit","server_error"]}`

	It("has no rules and the default chain until there are some", func(ctx context.Context) {
		now := time.Now()
		for _, at := range []*time.Time{nil, &now} {
			r, c := rules(ctx, tenant, at), fallback(ctx, tenant, at)
			Expect(asJSON(r.Body.Data)).To(MatchJSON(nothing))
			Expect(*r.Headers.ETag).To(Equal(`"0"`))
			Expect(asJSON(c.Body.Data)).To(MatchJSON(byDefault))
			Expect(*c.Headers.ETag).To(Equal(`"0"`))
		}
	})

	It("shows rules as they were sent, in their order, now and at every moment", func(ctx context.Context) {
		const first = `{"rules":[
			{"id":"z","name":"Z","priority":5,"conditions":[{"field":"cost_limit","operator":"lt","value":0.0025},{"field":"model","operator":"includes","value":["a","b"]}],
				"action":{"type":"weighted_random","providers":[{"provider_id":"p","weight":70.5,"model":"m"},{"provider_id":"q","weight":0}]},"is_enabled":false},
			{"id":"a","name":"A","priority":5,"conditions":[],"action":{"type":"direct","providers":[{"provider_id":"p","weight":1}]},"is_enabled":true}],
			"default_rule":{"provider_id":"p"}}`
		const second = `{"rules":[{"id":"a","name":"A2","priority":1,"conditions":[],"action":{"type":"least_cost","providers":[{"provider_id":"p","weight":1}]},"is_enabled":true}],"default_rule":null}`
		const chain = `{"chain":[{"provider_id":"p","name":"P","priority":2,"model":"m"}],"circuit_breaker":{"failure_threshold":1,"cooldown_seconds":2,"half_open_max_requests":3},"failover_triggers":["content_policy"]}`
		meta := did("PUT", "/api/v1/router/rules/visual", 200)
		moment := func() time.Time {
			head, err := f.store.Head(ctx, tenant)
			Expect(err).NotTo(HaveOccurred())
			return time.UnixMicro(head.OccurredAt)
		}
		put := func(body string) time.Time {
			GinkgoHelper()
			var event routing.RulesetReplaced
			Expect(json.Unmarshal([]byte(body), &event)).To(Succeed())
			f.append(ctx, tenant, routing.RulesetStream(tenant), meta, event)
			return moment()
		}
		before := time.Now().Add(-time.Second)
		atFirst := put(first)
		f.project(ctx, tenant)
		Expect(asJSON(rules(ctx, tenant, nil).Body.Data)).To(MatchJSON(first))

		put(second)
		var replaced routing.FallbackReplaced
		Expect(json.Unmarshal([]byte(chain), &replaced)).To(Succeed())
		f.append(ctx, tenant, routing.FallbackStream(tenant), meta, replaced)
		atLast := moment()
		f.project(ctx, tenant)

		Expect(asJSON(rules(ctx, tenant, nil).Body.Data)).To(MatchJSON(second))
		Expect(*rules(ctx, tenant, nil).Headers.ETag).To(Equal(`"2"`))
		Expect(asJSON(rules(ctx, tenant, &atFirst).Body.Data)).To(MatchJSON(first))
		Expect(*rules(ctx, tenant, &atFirst).Headers.ETag).To(Equal(`"1"`))
		Expect(asJSON(rules(ctx, tenant, &atLast).Body.Data)).To(MatchJSON(second))
		Expect(asJSON(rules(ctx, tenant, &before).Body.Data)).To(MatchJSON(nothing))
		Expect(asJSON(fallback(ctx, tenant, nil).Body.Data)).To(MatchJSON(chain))
		Expect(*fallback(ctx, tenant, nil).Headers.ETag).To(Equal(`"1"`))
		Expect(asJSON(fallback(ctx, tenant, &atLast).Body.Data)).To(MatchJSON(chain))
		Expect(asJSON(fallback(ctx, tenant, &atFirst).Body.Data)).To(MatchJSON(byDefault))
		Expect(asJSON(rules(ctx, other, nil).Body.Data)).To(MatchJSON(nothing), "another tenant's")
		Expect(asJSON(fallback(ctx, other, nil).Body.Data)).To(MatchJSON(byDefault))
	})
})
