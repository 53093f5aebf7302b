package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/internal/eventcodec"
)

const (
	rulesPath    = "/api/v1/router/rules/visual"
	fallbackPath = "/api/v1/router/fallback"
)

// routingContract is the contract of rules and the fallback chain.
func routingContract(shared func() *surface) {
	var s *surface
	var name, admin, viewer, first, second string

	BeforeEach(func() {
		s = shared()
		name = "t-" + uuid.NewString()[:8]
		admin, viewer = s.token(name, "ada", "admin"), s.token(name, "vic", "viewer")
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		first, _ = s.register(admin, openAI("First", upstream.URL, canary))
		second, _ = s.register(admin, openAI("Second", upstream.URL, canary))
	})

	type m = map[string]any
	to := func(ids ...string) m {
		targets := []any{}
		for _, id := range ids {
			targets = append(targets, m{"provider_id": id, "weight": 0.5})
		}
		return m{"type": "weighted_random", "providers": targets}
	}

	It("replaces the rules as a whole and shows them at once, with an ETag, and as they were", func() {
		empty := s.get(rulesPath, viewer)
		Expect(empty.data()).To(Equal(m{"rules": []any{}, "default_rule": nil}))
		Expect(empty.header.Get("ETag")).To(Equal(`"0"`))

		sent := m{
			"rules": []any{
				m{"id": "r-1", "name": "Cheap", "priority": 2.0, "is_enabled": true, "action": to(first, second), "conditions": []any{
					m{"field": "cost_limit", "operator": "lt", "value": 0.0025},
					m{"field": "department", "operator": "includes", "value": []any{"a", "b"}},
					m{"field": "model", "operator": "regex", "value": "^gpt-"},
				}},
				m{"id": "r-0", "name": "Off", "priority": 1.0, "is_enabled": false, "action": to(second), "conditions": []any{}},
			},
			"default_rule": m{"provider_id": first},
		}
		put := s.ask(http.MethodPut, rulesPath, admin, sent, header{"If-Match": `"0"`})
		Expect(put.status).To(Equal(http.StatusOK), put.body)
		Expect(put.header.Get("ETag")).To(Equal(`"1"`))
		Expect(put.data()).To(Equal(sent))
		Expect(s.get(rulesPath, viewer).data()).To(Equal(sent))
		then := time.Now().UTC().Format(time.RFC3339Nano)

		Expect(s.ask(http.MethodPut, rulesPath, admin, m{"rules": []any{}}, header{"If-Match": `"0"`}).status).To(Equal(http.StatusPreconditionFailed))
		made := s.ask(http.MethodPut, rulesPath, admin, m{"rules": []any{m{"name": "Bare", "priority": 1, "action": m{"type": "direct", "providers": []any{m{"provider_id": first}}}}}})
		rule, _ := made.data()["rules"].([]any)[0].(m)
		Expect(rule["id"]).To(MatchRegexp(uuidPattern))
		Expect(rule).To(And(HaveKeyWithValue("is_enabled", true), HaveKeyWithValue("conditions", []any{})))
		Expect(s.get(rulesPath, viewer).data()).To(Equal(made.data()))
		Expect(s.get(rulesPath+"?as_of="+url.QueryEscape(then), viewer).data()).To(Equal(sent))
		Expect(s.get(rulesPath+"?as_of=2001-01-01T00:00:00Z", viewer).data()["rules"]).To(BeEmpty())

		entries := s.entries(admin, "resource_type=ruleset")
		Expect(namesOf(entries, "outcome")).To(ConsistOf("succeeded", "succeeded", "rejected"))
		Expect(namesOf(entries, "resource_id")).To(HaveEach(entries[0]["resource_id"]))
	})

	It("replaces the chain and shows it", func() {
		byDefault := m{
			"chain": []any{}, "circuit_breaker": m{"failure_threshold": 5.0, "cooldown_seconds": 60.0, "half_open_max_requests": 3.0},
			"failover_triggers": []any{"timeout", "rate_limit", "server_error"},
		}
		Expect(s.get(fallbackPath, viewer).data()).To(Equal(byDefault))
		put := s.ask(http.MethodPut, fallbackPath, admin, m{"chain": []any{m{"provider_id": second, "priority": 1}, m{"provider_id": first, "name": "Last", "priority": 2, "model": "gpt"}}})
		Expect(put.status).To(Equal(http.StatusOK), put.body)
		want := m{
			"chain":           []any{m{"provider_id": second, "name": "Second", "priority": 1.0}, m{"provider_id": first, "name": "Last", "priority": 2.0, "model": "gpt"}},
			"circuit_breaker": byDefault["circuit_breaker"], "failover_triggers": byDefault["failover_triggers"],
		}
		Expect(put.data()).To(Equal(want))
		shown := s.get(fallbackPath, viewer)
		Expect(shown.data()).To(Equal(want))
		Expect(shown.header.Get("ETag")).To(Equal(`"1"`))
		Expect(s.get(fallbackPath+"?as_of=2001-01-01T00:00:00Z", viewer).data()).To(Equal(byDefault))
	})

	It("says what does not fit, by field, without repeating it", func() {
		valid := func() m { return m{"name": "x", "priority": 1, "action": to(first)} }
		for field, values := range map[string][]any{
			"name": {nil, "", " ", 1, strings.Repeat("x", 201), canary + "\n"}, "priority": {nil, "1", 1.5, 1e9}, "is_enabled": {"yes"}, "id": {"", "a b", 7}, "action": {nil, m{}, m{"type": "direct", "providers": []any{}}, m{"type": canary, "providers": []any{m{"provider_id": first}}}, to(canary), to(uuid.NewString()), m{"type": "weighted_random", "providers": []any{m{"provider_id": first, "weight": 0}}}, m{"type": "direct", "providers": []any{m{"provider_id": first, "weight": -1}}}},
			"conditions": {nil, m{}, []any{m{"field": "model", "operator": "eq", "value": nil}}, []any{m{"field": "model", "operator": "regex", "value": "("}}, []any{m{"field": "model", "operator": "gt", "value": canary}}, []any{m{"field": canary, "operator": "eq", "value": 1}}, []any{m{"field": "cost_limit", "operator": "eq", "value": canary}}, []any{m{"field": "model", "operator": "eq", "value": []any{[]any{}}}}},
		} {
			for _, value := range values {
				rule := valid()
				rule[field] = value
				r := s.ask(http.MethodPut, rulesPath, admin, m{"rules": []any{rule}})
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), fmt.Sprint(field, value, r.body))
				_, details := r.failure()
				Expect(details).To(HaveKey(HavePrefix("rules.0."+field)), r.body)
				Expect(r.body).NotTo(ContainSubstring(canary))
			}
		}
		for field, value := range map[string]any{"chain": nil, "circuit_breaker": m{"failure_threshold": 0}, "failover_triggers": []any{"rain"}} {
			body := m{"chain": []any{}}
			body[field] = value
			r := s.ask(http.MethodPut, fallbackPath, admin, body)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
		}
		Expect(s.get(rulesPath, viewer).header.Get("ETag")).To(Equal(`"0"`))
	})

	It("keeps a provider that routing names", func() {
		s.ask(http.MethodPut, rulesPath, admin, m{"rules": []any{m{"name": "Mine", "priority": 1, "is_enabled": false, "action": to(first)}}, "default_rule": m{"provider_id": first}})
		s.ask(http.MethodPut, fallbackPath, admin, m{"chain": []any{m{"provider_id": first, "priority": 1}}})
		refused := s.ask(http.MethodDelete, providersPath+"/"+first, admin, nil)
		Expect(refused.status).To(Equal(http.StatusConflict), refused.body)
		code, details := refused.failure()
		Expect(code).To(Equal("provider_in_use"))
		Expect(details).To(Equal(m{"rules": []any{"Mine"}, "default_rule": true, "fallback_chain": true}))
		Expect(s.ask(http.MethodDelete, providersPath+"/"+second, admin, nil).status).To(Equal(http.StatusNoContent))
		gone := s.ask(http.MethodPut, fallbackPath, admin, m{"chain": []any{m{"provider_id": second, "priority": 1}}})
		Expect(gone.status).To(Equal(http.StatusUnprocessableEntity), gone.body)
	})

	It("decides recorded calls again, and compares a draft with them", func() {
		s.ask(http.MethodPut, rulesPath, admin, m{"rules": []any{m{"id": "r", "name": "Mine", "priority": 1, "action": m{"type": "direct", "providers": []any{m{"provider_id": first, "model": "gpt"}}}}}})
		ctx, conn := s.asSuperuser()
		pool, err := pgxpool.New(ctx, conn.Config().ConnString())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		store := eventstore.New(pool, eventstore.Config{})
		DeferCleanup(store.Close)
		record := func(change func(*routing.Record)) {
			GinkgoHelper()
			var ruleset routing.Ruleset
			shown, err := json.Marshal(s.get(rulesPath, viewer).data())
			Expect(err).NotTo(HaveOccurred())
			Expect(json.Unmarshal(shown, &ruleset)).To(Succeed())
			in := routing.Input{Rules: ruleset, RulesVersion: 1, Fallback: routing.DefaultFallback(), Candidates: []routing.Candidate{
				{ProviderID: first, Version: 1, Name: "First", Type: "openai", Enabled: true}, {ProviderID: second, Version: 1, Name: "Second", Type: "openai", Enabled: true},
			}}
			made := routing.NewRecord(in, routing.Decide(in, nil))
			if change != nil {
				change(&made)
			}
			encoded, err := json.Marshal(made)
			Expect(err).NotTo(HaveOccurred())
			id := uuid.NewString()
			event, err := eventcodec.New().Encode(calls.Stream(id), calls.Recorded{CallID: id, Decision: encoded, Attempts: []calls.Attempt{}, Tokens: domain.Tokens{Input: 5}, Outcome: calls.Succeeded})
			Expect(err).NotTo(HaveOccurred())
			_, err = store.Append(ctx, eventstore.Append{Tenant: name, Events: []eventstore.NewEvent{event}, Meta: []byte(`{}`)})
			Expect(err).NotTo(HaveOccurred())
		}
		record(nil)
		record(nil)
		stdout, stderr, code := s.run("routing", "replay", "--tenant", name)
		Expect(code).To(Equal(good), stderr)
		Expect(stdout).To(Equal(name + ": 2 calls, 0 without a decision; 2 decisions agree, 0 disagree\n"))

		draft := filepath.Join(GinkgoT().TempDir(), "draft.json")
		write := func(body any) {
			GinkgoHelper()
			encoded, err := json.Marshal(body)
			Expect(err).NotTo(HaveOccurred())
			Expect(os.WriteFile(draft, encoded, 0o600)).To(Succeed())
		}
		write(m{"rules": []any{m{"name": "Other", "priority": 1, "action": m{"type": "direct", "providers": []any{m{"provider_id": second, "model": "gpt"}}}}}})
		stdout, stderr, code = s.run("routing", "replay", "--tenant", name, "--ruleset", draft)
		Expect(code).To(Equal(good), stderr)
		Expect(stdout).To(ContainSubstring("with the draft, 2 of 2 calls would have gone elsewhere, 0 of them nowhere\n"))
		Expect(stdout).To(ContainSubstring(fmt.Sprintf("  First (%s) -> Second (%s): 2\n", first, second)))
		Expect(stdout).To(ContainSubstring("cost of 2 of them: unknown"))

		record(func(r *routing.Record) { r.Result.Plan[0].Model = "other" })
		stdout, _, code = s.run("routing", "replay", "--json", "--tenant", name)
		Expect(code).To(Equal(failed))
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		Expect(lines).To(HaveLen(2))
		Expect(lines[0]).To(ContainSubstring(`"why":"plan was [`))
		Expect(lines[1]).To(ContainSubstring(`"agreed":2,"disagreed":1`))
		stdout, _, code = s.run("routing", "replay", "--tenant", name, "--to", "2001-01-01T00:00:00Z")
		Expect(code).To(Equal(good))
		Expect(stdout).To(ContainSubstring(": 0 calls"))

		write(m{"rules": []any{m{"name": "", "priority": 1, "action": m{"type": "direct", "providers": []any{}}}}})
		_, stderr, code = s.run("routing", "replay", "--ruleset", draft)
		Expect(code).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("rules.0.action.providers must name at least one provider; rules.0.name must not be empty"))
		write(m{"rulez": []any{}})
		_, stderr, code = s.run("routing", "replay", "--ruleset", draft)
		Expect(code).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("rulez"))
		_, stderr, code = s.run("routing", "replay", "--from", "yesterday")
		Expect(code).To(Equal(2), stderr)
	})
}
