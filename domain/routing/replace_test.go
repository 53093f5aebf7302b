package routing_test

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/internal/spec"
)

func known(ids ...string) func(string) bool {
	return func(id string) bool { return strings.Contains(" "+strings.Join(ids, " ")+" ", " "+id+" ") }
}

var _ = Describe("A tenant's rules", func() {
	stream := routing.RulesetStream("acme")
	given := func(events ...domain.Event) spec.Behaviour[routing.Ruleset, routing.ReplaceRules] {
		return spec.Given(routing.RulesDecider(), events...)
	}
	cheap := func() routing.Ruleset {
		r := when(rule(routing.LeastCost, "a", "b"), is(routing.CostLimit, routing.Less, "0.01"))
		return routing.Ruleset{Rules: []routing.Rule{r}, Default: &routing.Default{ProviderID: "a"}}
	}
	replace := func(ruleset routing.Ruleset) routing.ReplaceRules {
		return routing.ReplaceRules{Tenant: "acme", Ruleset: ruleset, Exists: known("a", "b")}
	}

	It("are replaced as a whole", func() {
		given().When(replace(cheap())).Then(domain.To{Stream: stream, Event: routing.RulesetReplaced{Ruleset: cheap()}})
		none := routing.Ruleset{Rules: []routing.Rule{}}
		given(routing.RulesetReplaced{Ruleset: cheap()}).When(replace(routing.Ruleset{})).
			Then(domain.To{Stream: stream, Event: routing.RulesetReplaced{Ruleset: none}})
	})

	It("stay as they are where nothing differs", func() {
		given(routing.RulesetReplaced{Ruleset: cheap()}).When(replace(cheap())).Then()
		given(routing.RulesetReplaced{Ruleset: cheap()}).When(replace(cheap().Compiled())).Then()
		given().When(replace(routing.Ruleset{})).Then()
	})

	It("are folded to the last ones", func() {
		state := routing.RulesDecider().Fold(routing.RulesetReplaced{Ruleset: cheap()}, routing.FallbackReplaced{}, routing.RulesetReplaced{})
		Expect(state).To(Equal(routing.Ruleset{}))
	})

	It("say whom they name, and who is named by what", func() {
		ruleset := cheap()
		ruleset.Rules = append(ruleset.Rules, routing.Rule{Name: "off", Action: rule(routing.Direct, "b", "c", "b/x").Action})
		Expect(ruleset.Names()).To(Equal([]string{"a", "b", "c"}))
		Expect(ruleset.NamedBy("a")).To(Equal([]string{"least_cost"}))
		Expect(ruleset.NamedBy("b")).To(Equal([]string{"least_cost", "off"}))
		Expect(ruleset.NamedBy("d")).To(BeEmpty())
	})

	DescribeTable("are refused where", func(field string, change func(*routing.Ruleset)) {
		ruleset := cheap()
		change(&ruleset)
		given().When(replace(ruleset)).ThenRefused(domain.Invalid, "validation_failed", field)
	},
		Entry("there are too many", "rules", func(r *routing.Ruleset) {
			r.Rules = nil
			for i := range 201 {
				one := rule(routing.Direct, "a")
				one.ID = fmt.Sprint(i)
				r.Rules = append(r.Rules, one)
			}
		}),
		Entry("they name too many providers", "rules", func(r *routing.Ruleset) {
			for i := range 10 {
				one := rule(routing.Direct)
				for k := range 20 {
					one.Action.Targets = append(one.Action.Targets, routing.Target{ProviderID: fmt.Sprint(i, "-", k)})
				}
				r.Rules = append(r.Rules, one)
			}
		}),
		Entry("one has no id", "rules.0.id", func(r *routing.Ruleset) { r.Rules[0].ID = "" }),
		Entry("one has a strange id", "rules.0.id", func(r *routing.Ruleset) { r.Rules[0].ID = "a b" }),
		Entry("two have the same id", "rules.1.id", func(r *routing.Ruleset) { r.Rules = append(r.Rules, r.Rules[0]) }),
		Entry("one has no name", "rules.0.name", func(r *routing.Ruleset) { r.Rules[0].Name = " " }),
		Entry("one has a long name", "rules.0.name", func(r *routing.Ruleset) { r.Rules[0].Name = strings.Repeat("ä", 201) }),
		Entry("one has control characters in its name", "rules.0.name", func(r *routing.Ruleset) { r.Rules[0].Name = "a\x00" }),
		Entry("a priority is out of bounds", "rules.0.priority", func(r *routing.Ruleset) { r.Rules[0].Priority = -1_000_001 }),
		Entry("there are too many conditions", "rules.0.conditions", func(r *routing.Ruleset) {
			r.Rules[0].Conditions = make([]routing.Condition, 21)
		}),
		Entry("an action is unknown", "rules.0.action.type", func(r *routing.Ruleset) { r.Rules[0].Action.Type = "guess" }),
		Entry("an action has nobody", "rules.0.action.providers", func(r *routing.Ruleset) { r.Rules[0].Action.Targets = nil }),
		Entry("an action has too many", "rules.0.action.providers", func(r *routing.Ruleset) {
			r.Rules[0].Action.Targets = make([]routing.Target, 51)
		}),
		Entry("a provider is unknown", "rules.0.action.providers.1.provider_id", func(r *routing.Ruleset) { r.Rules[0].Action.Targets[1].ProviderID = "x" }),
		Entry("a provider is named twice", "rules.0.action.providers.1.provider_id", func(r *routing.Ruleset) { r.Rules[0].Action.Targets[1].ProviderID = "a" }),
		Entry("a model is long", "rules.0.action.providers.0.model", func(r *routing.Ruleset) { r.Rules[0].Action.Targets[0].Model = strings.Repeat("m", 201) }),
		Entry("a weight is negative", "rules.0.action.providers.0.weight", func(r *routing.Ruleset) { r.Rules[0].Action.Targets[0].Weight = -1 }),
		Entry("a weight is huge", "rules.0.action.providers.0.weight", func(r *routing.Ruleset) { r.Rules[0].Action.Targets[0].Weight = 1_000_001 * routing.One }),
		Entry("no weight is above 0", "rules.0.action.providers", func(r *routing.Ruleset) { r.Rules[0].Action = rule(routing.WeightedRandom, "a=0").Action }),
		Entry("the default is unknown", "default_rule.provider_id", func(r *routing.Ruleset) { r.Default.ProviderID = "x" }),
	)

	DescribeTable("are refused for a condition", func(field routing.Field, operator routing.Operator, value, path, reason string) {
		ruleset := routing.Ruleset{Rules: []routing.Rule{when(rule(routing.Direct, "a"), is(field, operator, value))}}
		err := ruleset.Problem(nil)
		refusal, _ := err.(*domain.Refusal) //nolint:errorlint // a refusal is returned as it is
		if reason == "" {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(HaveOccurred())
		Expect(refusal.Details).To(HaveKeyWithValue("rules.0.conditions.0."+path, ContainSubstring(reason)))
	},
		Entry(nil, routing.Field("x"), routing.Equal, `"a"`, "field", "must be among: model_capability"),
		Entry(nil, routing.Model, routing.Operator("x"), `"a"`, "operator", "for model: eq, includes, regex"),
		Entry(nil, routing.Model, routing.Greater, `"a"`, "operator", "for model: eq, includes, regex"),
		Entry(nil, routing.CostLimit, routing.Includes, `1`, "operator", "for cost_limit: eq, gt, lt"),
		Entry(nil, routing.ModelCapability, routing.Regex, `"v"`, "operator", "for model_capability: eq, includes"),
		Entry(nil, routing.ModelCapability, routing.Equal, `"sight"`, "value", "must be among: vision"),
		Entry(nil, routing.ModelCapability, routing.Equal, `["vision"]`, "value", "use includes for a list"),
		Entry(nil, routing.ModelCapability, routing.Includes, `["vision","sight"]`, "value.1", "must be among: vision"),
		Entry(nil, routing.ModelCapability, routing.Includes, `["vision"]`, "", ""),
		Entry(nil, routing.ModelCapability, routing.Includes, `3`, "value", "must be a text or a list"),
		Entry(nil, routing.Department, routing.Equal, `""`, "value", "must not be empty"),
		Entry(nil, routing.Department, routing.Equal, `7`, "value", "must be a text"),
		Entry(nil, routing.Department, routing.Includes, `[]`, "value", "from 1 to 100 entries"),
		Entry(nil, routing.CostLimit, routing.Less, `-1`, "value", "must be a number of USD"),
		Entry(nil, routing.CostLimit, routing.Less, `0.0000000001`, "value", "at most 9 decimal places"),
		Entry(nil, routing.CostLimit, routing.Less, `"0.5"`, "", ""),
		Entry(nil, routing.LatencyTarget, routing.Less, `1.5`, "value", "whole number of milliseconds"),
		Entry(nil, routing.LatencyTarget, routing.Less, `1.5e3`, "", ""),
		Entry(nil, routing.Model, routing.Regex, `"("`, "value", "RE2"),
		Entry(nil, routing.Model, routing.Regex, `"(?=x)"`, "value", "RE2"),
		Entry(nil, routing.Model, routing.Regex, `""`, "value", "must not be empty"),
		Entry(nil, routing.Model, routing.Regex, `"(.{30}){30}|(.{30}){30}|(.{30}){30}|(.{30}){30}|(.{30}){30}"`, "value", "too large"),
		Entry(nil, routing.Model, routing.Regex, `"`+strings.Repeat("a", 257)+`"`, "value", "at most 256 bytes"),
		Entry(nil, routing.Model, routing.Regex, `"^gpt-4"`, "", ""),
		Entry(nil, routing.Model, routing.Equal, `"`+strings.Repeat("a", 201)+`"`, "value", "at most 200 characters"),
	)
})

var _ = Describe("A tenant's fallback chain", func() {
	stream := routing.FallbackStream("acme")
	given := func(events ...domain.Event) spec.Behaviour[routing.FallbackState, routing.ReplaceFallback] {
		return spec.Given(routing.FallbackDecider(), events...)
	}
	replace := func(fallback routing.Fallback) routing.ReplaceFallback {
		return routing.ReplaceFallback{Tenant: "acme", Fallback: fallback, Exists: known("a", "b")}
	}

	It("is the default one until it is replaced", func() {
		given().When(replace(routing.DefaultFallback())).Then()
		given().When(replace(chained("a"))).Then(domain.To{Stream: stream, Event: routing.FallbackReplaced{Fallback: chained("a")}})
		given(routing.FallbackReplaced{Fallback: chained("a")}).When(replace(chained("a"))).Then()
		given(routing.FallbackReplaced{Fallback: chained("a")}).When(replace(routing.DefaultFallback())).
			Then(domain.To{Stream: stream, Event: routing.FallbackReplaced{Fallback: routing.DefaultFallback()}})
		Expect(routing.FallbackDecider().Fold().Current()).To(Equal(routing.DefaultFallback()))
		Expect(routing.FallbackDecider().Fold(routing.FallbackReplaced{Fallback: chained("b")}, routing.RulesetReplaced{}).Current()).To(Equal(chained("b")))
	})

	It("says whom it names", func() {
		Expect(chained("b", "a/x", "a").Names()).To(Equal([]string{"b", "a"}))
	})

	DescribeTable("is refused where", func(field string, change func(*routing.Fallback)) {
		fallback := chained("a", "b")
		change(&fallback)
		given().When(replace(fallback)).ThenRefused(domain.Invalid, "validation_failed", field)
	},
		Entry("it is too long", "chain", func(f *routing.Fallback) { f.Chain = make([]routing.Entry, 51) }),
		Entry("a provider is unknown", "chain.1.provider_id", func(f *routing.Fallback) { f.Chain[1].ProviderID = "x" }),
		Entry("a provider stands in it twice", "chain.1.provider_id", func(f *routing.Fallback) { f.Chain[1].ProviderID = "a" }),
		Entry("a name is blank", "chain.0.name", func(f *routing.Fallback) { f.Chain[0].Name = " " }),
		Entry("a priority is out of bounds", "chain.0.priority", func(f *routing.Fallback) { f.Chain[0].Priority = 1_000_001 }),
		Entry("a model is long", "chain.0.model", func(f *routing.Fallback) { f.Chain[0].Model = strings.Repeat("m", 201) }),
		Entry("the threshold is 0", "circuit_breaker.failure_threshold", func(f *routing.Fallback) { f.Breaker.FailureThreshold = 0 }),
		Entry("the cooldown is more than a day", "circuit_breaker.cooldown_seconds", func(f *routing.Fallback) { f.Breaker.CooldownSeconds = 86_401 }),
		Entry("nothing may try", "circuit_breaker.half_open_max_requests", func(f *routing.Fallback) { f.Breaker.HalfOpenMaxRequests = -1 }),
		Entry("a trigger is unknown", "failover_triggers.0", func(f *routing.Fallback) { f.Triggers = []routing.Trigger{"rain"} }),
		Entry("a trigger comes twice", "failover_triggers.1", func(f *routing.Fallback) { f.Triggers = []routing.Trigger{"timeout", "timeout"} }),
	)
})

var _ = DescribeTable("A weight", func(text, shown string) {
	weight, err := routing.ParseWeight(text)
	if shown == "" {
		Expect(err).To(HaveOccurred())
		return
	}
	Expect(err).NotTo(HaveOccurred())
	encoded, err := json.Marshal(weight)
	Expect(err).NotTo(HaveOccurred())
	Expect(string(encoded)).To(Equal(shown))
},
	Entry(nil, "0", "0"), Entry(nil, "1", "1"), Entry(nil, "70.50", "70.5"), Entry(nil, "0.000001", "0.000001"), Entry(nil, "1e6", "1000000"),
	Entry(nil, "25E-1", "2.5"), Entry(nil, "0e999", ""), Entry(nil, "0.0000001", ""), Entry(nil, "1000000.1", ""), Entry(nil, "-1", ""), Entry(nil, "", ""),
	Entry(nil, ".5", ""), Entry(nil, "1.", ""), Entry(nil, "1e", ""), Entry(nil, "1e40", ""), Entry(nil, "0x1", ""), Entry(nil, strings.Repeat("0", 41), ""),
)
