package routing_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/archonhq/archon/domain/routing"
)

// fleet is three providers that can serve everything: a (gpt), b (claude), c (both, and embeddings).
func fleet(change ...func(map[string]*routing.Candidate)) []routing.Candidate {
	all := []string{"vision", "function_calling", "json_mode", "streaming"}
	list := []routing.Candidate{
		{ProviderID: "a", Version: 1, Name: "Alpha", Type: "openai", Enabled: true, Models: []string{"gpt", "gpt-mini"}, Capabilities: all},
		{ProviderID: "b", Version: 2, Name: "Beta", Type: "anthropic", Enabled: true, Models: []string{"claude"}, Capabilities: all},
		{ProviderID: "c", Version: 3, Name: "Gamma", Type: "custom", Enabled: true, Models: []string{"text-embed", "gpt", "claude"}, Capabilities: append([]string{"embeddings"}, all...)},
	}
	byID := map[string]*routing.Candidate{}
	for i := range list {
		byID[list[i].ProviderID] = &list[i]
	}
	for _, c := range change {
		c(byID)
	}
	return list
}

func breaker(id, state string) func(map[string]*routing.Candidate) {
	return func(c map[string]*routing.Candidate) { c[id].Breaker = state }
}

func health(id, status string) func(map[string]*routing.Candidate) {
	return func(c map[string]*routing.Candidate) { c[id].Health = status }
}

func latency(id string, ms float64) func(map[string]*routing.Candidate) {
	return func(c map[string]*routing.Candidate) { c[id].LatencyMS = &ms }
}

func disabled(id string) func(map[string]*routing.Candidate) {
	return func(c map[string]*routing.Candidate) { c[id].Enabled = false }
}

// rule matches everything and takes an action on targets, written "id", "id=weight" or "id/model".
func rule(action routing.ActionType, targets ...string) routing.Rule {
	r := routing.Rule{ID: "r-" + string(action), Name: string(action), IsEnabled: true, Action: routing.Action{Type: action}}
	for _, text := range targets {
		target := routing.Target{Weight: routing.One}
		text, weight, has := strings.Cut(text, "=")
		if has {
			var err error
			if target.Weight, err = routing.ParseWeight(weight); err != nil {
				panic(err)
			}
		}
		target.ProviderID, target.Model, _ = strings.Cut(text, "/")
		r.Action.Targets = append(r.Action.Targets, target)
	}
	return r
}

func when(r routing.Rule, conditions ...routing.Condition) routing.Rule {
	r.Conditions = conditions
	return r
}

func is(field routing.Field, operator routing.Operator, value string) routing.Condition {
	c := routing.Condition{Field: field, Operator: operator}
	if err := c.Value.UnmarshalJSON([]byte(value)); err != nil {
		panic(err)
	}
	return c
}

func chained(ids ...string) routing.Fallback {
	fallback := routing.DefaultFallback()
	for i, text := range ids {
		id, model, _ := strings.Cut(text, "/")
		fallback.Chain = append(fallback.Chain, routing.Entry{ProviderID: id, Priority: int64(i), Model: model})
	}
	return fallback
}

func rules(list ...routing.Rule) routing.Ruleset { return routing.Ruleset{Rules: list} }

// inWords is a plan as "provider/model via", with ! behind what is blocked.
func inWords(plan []routing.Choice) string {
	parts := make([]string, len(plan))
	for i, choice := range plan {
		parts[i] = fmt.Sprintf("%s/%s %s", choice.ProviderID, choice.Model, choice.Via)
		if choice.Blocked {
			parts[i] += "!"
		}
	}
	return strings.Join(parts, ", ")
}

func reasons(decision routing.Decision) map[string]routing.Reason {
	found := map[string]routing.Reason{}
	for _, one := range decision.NotChosen {
		found[one.ProviderID+"/"+one.Model] = one.Reason
	}
	return found
}

// priced gives gpt 1 and 3 USD, claude 2 and 2 USD, gpt-mini 0.1 and 0.4 USD per million tokens.
func priced(_, model string) (input, output int64, ok bool) {
	const usd = 10_000_000_000
	switch model {
	case "gpt":
		return 1 * usd, 3 * usd, true
	case "claude":
		return 2 * usd, 2 * usd, true
	case "gpt-mini":
		return usd / 10, usd * 4 / 10, true
	}
	return 0, 0, false
}

type situation struct {
	name  string
	in    routing.Input
	plan  string
	rule  string // the matched rule's name
	chain bool   // FallbackUsed
	// others are some of the reasons, by "provider/model".
	others map[string]routing.Reason
}

func situations() []situation {
	vision := routing.Request{Model: "gpt", Needs: []string{"vision"}}
	gpt := routing.Request{Model: "gpt"}
	const half = 1 << 63
	return []situation{
		// Without configuration.
		{name: "nobody is there", in: routing.Input{Request: gpt}},
		{name: "first by name", in: routing.Input{Candidates: fleet()}, plan: "a/gpt name", others: map[string]routing.Reason{"b/claude": routing.Later, "c/gpt": routing.Later}},
		{name: "by name, who has the model goes first", in: routing.Input{Candidates: fleet(), Request: routing.Request{Model: "claude"}}, plan: "b/claude name"},
		{name: "by name, another model where none has it", in: routing.Input{Candidates: fleet(), Request: routing.Request{Model: "llama"}}, plan: "a/gpt name"},
		{name: "by name, past a tripped breaker", in: routing.Input{Candidates: fleet(breaker("a", routing.Open)), Request: gpt}, plan: "c/gpt name", others: map[string]routing.Reason{"a/gpt": routing.BreakerOpen, "b/claude": routing.Later}},
		{
			name: "a single provider whose breaker is open stands blocked in the plan", plan: "a/gpt name!",
			in:     routing.Input{Candidates: fleet(breaker("a", routing.Open))[:1], Request: gpt},
			others: map[string]routing.Reason{"a/gpt": routing.BreakerOpen},
		},
		{name: "half open is open enough", in: routing.Input{Candidates: fleet(breaker("a", routing.HalfOpen)), Request: gpt}, plan: "a/gpt name"},
		{name: "unhealthy does not exclude", in: routing.Input{Candidates: fleet(health("a", "unhealthy")), Request: gpt}, plan: "a/gpt name"},

		// The default and the chain.
		{name: "the default", in: routing.Input{Candidates: fleet(), Rules: routing.Ruleset{Default: &routing.Default{ProviderID: "b"}}, Request: gpt}, plan: "b/claude default", others: map[string]routing.Reason{"a/gpt": routing.NotNamed}},
		{name: "the default, with the chain behind it", in: routing.Input{Candidates: fleet(), Rules: routing.Ruleset{Default: &routing.Default{ProviderID: "b"}}, Fallback: chained("b", "a/gpt-mini", "a", "c"), Request: gpt}, plan: "b/claude default, a/gpt-mini chain, a/gpt chain, c/gpt chain", others: map[string]routing.Reason{"c/gpt": routing.InReserve}},
		{name: "a tripped default goes down the chain", in: routing.Input{Candidates: fleet(breaker("b", routing.Dead)), Rules: routing.Ruleset{Default: &routing.Default{ProviderID: "b"}}, Fallback: chained("c", "b"), Request: gpt}, plan: "c/gpt chain", chain: true, others: map[string]routing.Reason{"b/claude": routing.IsDead}},
		{name: "a disabled default without a chain is as none", in: routing.Input{Candidates: fleet(disabled("b")), Rules: routing.Ruleset{Default: &routing.Default{ProviderID: "b"}}, Request: gpt}, plan: "a/gpt name", others: map[string]routing.Reason{"b/claude": routing.Disabled}},
		{name: "no default: the chain by priority", in: routing.Input{Candidates: fleet(), Fallback: routing.Fallback{Chain: []routing.Entry{{ProviderID: "a", Priority: 2}, {ProviderID: "b", Priority: 1}, {ProviderID: "c", Priority: 2}}}, Request: gpt}, plan: "b/claude chain, a/gpt chain, c/gpt chain", chain: true},
		{name: "no default: past what is disabled in the chain", in: routing.Input{Candidates: fleet(disabled("b")), Fallback: chained("b", "c"), Request: gpt}, plan: "c/gpt chain", chain: true, others: map[string]routing.Reason{"b/claude": routing.Disabled}},
		{name: "a chain of which nothing is there is as none", in: routing.Input{Candidates: fleet(), Fallback: chained("x"), Request: gpt}, plan: "a/gpt name", others: map[string]routing.Reason{"x/": routing.Absent}},
		{name: "everything tripped: all stand blocked, no other provider is taken", in: routing.Input{Candidates: fleet(breaker("b", routing.Open), breaker("c", routing.RateLimited)), Rules: routing.Ruleset{Default: &routing.Default{ProviderID: "b"}}, Fallback: chained("c"), Request: gpt}, plan: "b/claude default!, c/gpt chain!", others: map[string]routing.Reason{"c/gpt": routing.IsRateLimited, "a/gpt": routing.NotNamed}},

		// What a call needs.
		{name: "lacks a capability", in: routing.Input{Candidates: fleet(), Request: routing.Request{Needs: []string{"embeddings"}}}, plan: "c/text-embed name", others: map[string]routing.Reason{"a/gpt": routing.LacksCapability}},
		{name: "a chat does not go to an embedding model", in: routing.Input{Candidates: fleet()[2:]}, plan: "c/gpt name"},
		{name: "nothing says which model", in: routing.Input{Candidates: []routing.Candidate{{ProviderID: "a", Enabled: true}}}, others: map[string]routing.Reason{"a/": routing.NoModel}},
		{name: "no list of models stands for all", in: routing.Input{Candidates: []routing.Candidate{{ProviderID: "a", Enabled: true}}, Request: routing.Request{Model: "m"}}, plan: "a/m name"},
		{name: "keeps the cost limit", in: routing.Input{Candidates: fleet(), Request: routing.Request{MaxCostPer1k: new(int64(1_000_000))}}, plan: "a/gpt name", others: map[string]routing.Reason{"b/claude": routing.OverCost}},
		{name: "does not keep the cost limit", in: routing.Input{Candidates: fleet(), Request: routing.Request{MaxCostPer1k: new(int64(999_999))}}, others: map[string]routing.Reason{"a/gpt": routing.OverCost, "c/gpt": routing.OverCost}},
		{name: "no price keeps no limit", in: routing.Input{Candidates: fleet()[:1], Request: routing.Request{MaxCostPer1k: new(int64(1 << 62))}, Fallback: chained("a/gpt-unknown")}, plan: "a/gpt name", others: map[string]routing.Reason{"a/gpt-unknown": routing.Unpriced}},
		{name: "keeps the latency limit", in: routing.Input{Candidates: fleet(latency("a", 200.4), latency("b", 200)), Request: routing.Request{MaxLatencyMS: new(int64(200))}}, plan: "b/claude name", others: map[string]routing.Reason{"a/gpt": routing.OverLatency, "c/gpt": routing.Later}},

		// Rules.
		{
			name: "by priority, then by place", plan: "c/gpt rule", rule: "third",
			in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(
				routing.Rule{ID: "1", Name: "first", Priority: 5, IsEnabled: true, Action: rule(routing.Direct, "a").Action},
				routing.Rule{ID: "2", Name: "off", Priority: 1, Action: rule(routing.Direct, "a").Action},
				routing.Rule{ID: "3", Name: "third", Priority: 2, IsEnabled: true, Action: rule(routing.Direct, "c").Action},
				routing.Rule{ID: "4", Name: "fourth", Priority: 2, IsEnabled: true, Action: rule(routing.Direct, "b").Action},
			)},
		},
		{name: "past a rule whose condition fails", in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(when(rule(routing.Direct, "b"), is(routing.ModelCapability, routing.Includes, `"vision"`)), rule(routing.LeastCost, "c"))}, plan: "c/gpt rule", rule: "least_cost"},
		{name: "all conditions have to hold", in: routing.Input{Candidates: fleet(), Request: vision, Rules: rules(when(rule(routing.Direct, "b"), is(routing.ModelCapability, routing.Includes, `"vision"`), is(routing.Model, routing.Equal, `"claude"`)))}, plan: "a/gpt name"},
		{name: "the model that is named goes upstream", in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(rule(routing.Direct, "a/gpt-5"))}, plan: "a/gpt-5 rule", rule: "direct"},
		{name: "direct takes the first that can", in: routing.Input{Candidates: fleet(disabled("a")), Request: gpt, Rules: rules(rule(routing.Direct, "a", "b", "c"))}, plan: "b/claude rule", rule: "direct", others: map[string]routing.Reason{"a/gpt": routing.Disabled, "c/gpt": routing.Later}},
		{name: "a tripped one: the next of the action", in: routing.Input{Candidates: fleet(breaker("a", routing.Open)), Request: gpt, Rules: rules(rule(routing.Direct, "a", "b")), Fallback: chained("c")}, plan: "b/claude rule, c/gpt chain", rule: "direct"},
		{name: "all tripped: the chain", in: routing.Input{Candidates: fleet(breaker("a", routing.Open)), Request: gpt, Rules: rules(rule(routing.Direct, "a")), Fallback: chained("a", "c")}, plan: "c/gpt chain", rule: "direct", chain: true, others: map[string]routing.Reason{"a/gpt": routing.BreakerOpen}},
		{name: "a rule's providers can't: nowhere else but the chain", in: routing.Input{Candidates: fleet(disabled("a")), Request: gpt, Rules: rules(rule(routing.Direct, "a"))}, rule: "direct", others: map[string]routing.Reason{"a/gpt": routing.Disabled, "b/claude": routing.NotNamed}},
		{name: "unhealthy only where no other is left", in: routing.Input{Candidates: fleet(health("a", "unhealthy")), Request: gpt, Rules: rules(rule(routing.Direct, "a", "b"))}, plan: "b/claude rule", rule: "direct", others: map[string]routing.Reason{"a/gpt": routing.IsUnhealthy}},
		{name: "unhealthy before the chain", in: routing.Input{Candidates: fleet(health("a", "unhealthy"), breaker("b", routing.Open)), Request: gpt, Rules: rules(rule(routing.Direct, "b", "a")), Fallback: chained("c")}, plan: "a/gpt rule, c/gpt chain", rule: "direct"},

		// Actions.
		{name: "weights: the low draw", in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(rule(routing.WeightedRandom, "a=0.5", "b=0.5")), Draw: half - 1}, plan: "a/gpt rule", rule: "weighted_random", others: map[string]routing.Reason{"b/claude": routing.NotDrawn}},
		{name: "weights: the high draw", in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(rule(routing.WeightedRandom, "a=0.5", "b=0.5")), Draw: half}, plan: "b/claude rule", rule: "weighted_random"},
		{name: "weights: a weight of 0 is never drawn", in: routing.Input{Candidates: fleet(disabled("a")), Request: gpt, Rules: rules(rule(routing.WeightedRandom, "a=1", "b=0"))}, rule: "weighted_random", others: map[string]routing.Reason{"b/claude": routing.NoWeight}},
		{name: "least latency", in: routing.Input{Candidates: fleet(latency("a", 300), latency("b", 299.999), latency("c", 900)), Request: gpt, Rules: rules(rule(routing.LeastLatency, "a", "b", "c"))}, plan: "b/claude rule", rule: "least_latency", others: map[string]routing.Reason{"a/gpt": routing.Slower}},
		{name: "least latency: a newcomer by draw", in: routing.Input{Candidates: fleet(latency("a", 300), latency("b", 299)), Request: gpt, Rules: rules(rule(routing.LeastLatency, "a", "b", "c")), Draw: 1}, plan: "c/gpt rule", rule: "least_latency"},
		{name: "least latency: the last draw for a newcomer", in: routing.Input{Candidates: fleet(latency("a", 300), latency("b", 299)), Request: gpt, Rules: rules(rule(routing.LeastLatency, "a", "b", "c")), Draw: math.MaxUint64 / 20}, plan: "c/gpt rule", rule: "least_latency"},
		{name: "least latency: the first draw for the known one", in: routing.Input{Candidates: fleet(latency("a", 300), latency("b", 299)), Request: gpt, Rules: rules(rule(routing.LeastLatency, "a", "b", "c")), Draw: math.MaxUint64/20 + 1}, plan: "b/claude rule", rule: "least_latency"},
		{name: "least latency: the known one by draw", in: routing.Input{Candidates: fleet(latency("a", 300), latency("b", 299)), Request: gpt, Rules: rules(rule(routing.LeastLatency, "a", "b", "c")), Draw: half}, plan: "b/claude rule", rule: "least_latency"},
		{name: "least cost of a short prompt, where output counts", in: routing.Input{Candidates: fleet(), Request: routing.Request{Model: "gpt", PromptTokens: 10}, Rules: rules(rule(routing.LeastCost, "a", "b"))}, plan: "b/claude rule", rule: "least_cost", others: map[string]routing.Reason{"a/gpt": routing.Dearer}},
		{name: "least cost of a long prompt, where input counts", in: routing.Input{Candidates: fleet(), Request: routing.Request{Model: "gpt", PromptTokens: 10_000}, Rules: rules(rule(routing.LeastCost, "b", "a"))}, plan: "a/gpt rule", rule: "least_cost"},
		{name: "least cost: without a price the last", in: routing.Input{Candidates: fleet(), Request: gpt, Rules: rules(rule(routing.LeastCost, "c/unknown", "b", "c/other"))}, plan: "b/claude rule", rule: "least_cost", others: map[string]routing.Reason{"c/unknown": routing.Dearer, "c/other": routing.Dearer}},
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, s := range situations() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			decision := routing.Decide(s.in, priced)
			if got := inWords(decision.Plan); got != s.plan {
				t.Errorf("plan %q, want %q", got, s.plan)
			}
			matched := ""
			if decision.MatchedRule != nil {
				matched = decision.MatchedRule.Name
			}
			if matched != s.rule || decision.FallbackUsed != s.chain {
				t.Errorf("rule %q, chain %v, want %q, %v", matched, decision.FallbackUsed, s.rule, s.chain)
			}
			got := reasons(decision)
			for other, want := range s.others {
				if got[other] != want {
					t.Errorf("%s: %q, want %q (all: %v)", other, got[other], want, got)
				}
			}
			if choice, ok := decision.Chosen(); ok {
				if _, noted := got[choice.ProviderID+"/"+choice.Model]; noted {
					t.Errorf("%v is both chosen and not", choice)
				}
			}
		})
	}
}

func TestTheTraceTellsWhatFailed(t *testing.T) {
	t.Parallel()
	costly := when(rule(routing.LeastCost, "a"), is(routing.Model, routing.Equal, `"gpt"`), is(routing.CostLimit, routing.Less, `0.01`))
	decision := routing.Decide(routing.Input{Candidates: fleet(), Request: routing.Request{Model: "gpt"}, Rules: rules(costly, rule(routing.Direct, "b"), rule(routing.LeastLatency, "b"))}, nil)
	got := fmt.Sprintf("%+v", decision.Trace)
	want := "[{RuleID:r-least_cost Name:least_cost Matched:false FailedCondition:cost_limit lt 0.01 failed:1} {RuleID:r-direct Name:direct Matched:true FailedCondition: failed:-1}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	full := routing.Request{Model: "gpt-4o", Needs: []string{"vision", "streaming"}, DepartmentID: "d-1", MaxCostPer1k: new(int64(2_500_000)), MaxLatencyMS: new(int64(800))}
	for _, c := range []struct {
		field       routing.Field
		operator    routing.Operator
		value       string
		holds, none bool // for the full request, and for one that says nothing
	}{
		{field: routing.ModelCapability, operator: routing.Equal, value: `"vision"`, holds: true},
		{field: routing.ModelCapability, operator: routing.Equal, value: `"json_mode"`},
		{field: routing.ModelCapability, operator: routing.Includes, value: `"streaming"`, holds: true},
		{field: routing.ModelCapability, operator: routing.Includes, value: `["vision","streaming"]`, holds: true},
		{field: routing.ModelCapability, operator: routing.Includes, value: `["vision","json_mode"]`},
		{field: routing.ModelCapability, operator: routing.Includes, value: `[]`},
		{field: routing.ModelCapability, operator: routing.Regex, value: `"vision"`},
		{field: routing.Department, operator: routing.Equal, value: `"d-1"`, holds: true},
		{field: routing.Department, operator: routing.Equal, value: `"D-1"`},
		{field: routing.Department, operator: routing.Equal, value: `""`},
		{field: routing.Department, operator: routing.Includes, value: `["d-0","d-1"]`, holds: true},
		{field: routing.Department, operator: routing.Includes, value: `["d-0"]`},
		{field: routing.Model, operator: routing.Includes, value: `"4o"`, holds: true},
		{field: routing.Model, operator: routing.Includes, value: `"5"`},
		{field: routing.Model, operator: routing.Includes, value: `["gpt-4o"]`, holds: true},
		{field: routing.Model, operator: routing.Includes, value: `["gpt"]`},
		{field: routing.Model, operator: routing.Regex, value: `"^gpt-\\d"`, holds: true},
		{field: routing.Model, operator: routing.Regex, value: `".*"`, holds: true},
		{field: routing.Model, operator: routing.Regex, value: `"^4"`},
		{field: routing.Model, operator: routing.Regex, value: `"("`},
		{field: routing.Model, operator: routing.Greater, value: `"a"`},
		{field: routing.CostLimit, operator: routing.Equal, value: `0.00250`, holds: true},
		{field: routing.CostLimit, operator: routing.Equal, value: `"25e-4"`, holds: true},
		{field: routing.CostLimit, operator: routing.Less, value: `0.0025`},
		{field: routing.CostLimit, operator: routing.Less, value: `0.002500001`, holds: true},
		{field: routing.CostLimit, operator: routing.Greater, value: `0.002499999`, holds: true},
		{field: routing.CostLimit, operator: routing.Greater, value: `"much"`},
		{field: routing.LatencyTarget, operator: routing.Less, value: `1000`, holds: true},
		{field: routing.LatencyTarget, operator: routing.Less, value: `800`},
		{field: routing.LatencyTarget, operator: routing.Greater, value: `799`, holds: true},
		{field: routing.LatencyTarget, operator: routing.Equal, value: `800`, holds: true},
		{field: routing.LatencyTarget, operator: routing.Includes, value: `800`},
		{field: "weather", operator: routing.Equal, value: `"fine"`},
	} {
		for request, want := range map[*routing.Request]bool{&full: c.holds, {}: c.none} {
			ruleset := rules(when(rule(routing.Direct, "a"), is(c.field, c.operator, c.value)))
			decision := routing.Decide(routing.Input{Rules: ruleset, Request: *request}, nil)
			if got := decision.MatchedRule != nil; got != want {
				t.Errorf("%s %s %s: %v of %+v", c.field, c.operator, c.value, got, *request)
			}
		}
	}
}

func TestALongTextMatchesNoRegularExpression(t *testing.T) {
	t.Parallel()
	ruleset := rules(when(rule(routing.Direct, "a"), is(routing.Model, routing.Regex, `"x"`)))
	for length, want := range map[int]bool{1024: true, 1025: false} {
		decision := routing.Decide(routing.Input{Rules: ruleset, Request: routing.Request{Model: strings.Repeat("x", length)}}, nil)
		if got := decision.MatchedRule != nil; got != want {
			t.Errorf("%d bytes: %v", length, got)
		}
	}
}

func TestEstimates(t *testing.T) {
	t.Parallel()
	const most = 1<<63 - 1
	for _, c := range []struct{ input, output, prompt, answer, want int64 }{
		{0, 0, 10, 10, 0},
		{25_000_000_000, 100_000_000_000, 1000, 256, 50_600_000},
		{1, 1, 999_999, 0, 0},
		{1, 1, 999_999, 1, 1},
		{-5, 1_000_000, -7, 3, 3},
		{most, most, most, most, most},
		{most, 0, 1_000_000, 0, most},
	} {
		if got := routing.Estimate(routing.Price{Input: c.input, Output: c.output}, c.prompt, c.answer); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestScoresAreWhatTheActionCompared(t *testing.T) {
	t.Parallel()
	decision := routing.Decide(routing.Input{
		Candidates: fleet(latency("a", 12.3456)), Request: routing.Request{Model: "gpt", PromptTokens: 1000}, Rules: rules(rule(routing.LeastCost, "a=2", "b", "x/y")),
	}, priced)
	want := []routing.Score{
		{ProviderID: "a", Model: "gpt", Weight: 2 * routing.One, LatencyUS: 12346, Cost: 1000*10_000 + 256*30_000},
		{ProviderID: "b", Model: "claude", Weight: routing.One, LatencyUS: -1, Cost: 1256 * 20_000},
		{ProviderID: "x", Model: "y", Weight: routing.One, LatencyUS: -1, Cost: -1},
	}
	if !reflect.DeepEqual(decision.Scores, want) {
		t.Errorf("got  %+v\nwant %+v", decision.Scores, want)
	}
}
