package routing

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Ruleset is all of a tenant's rules. Its JSON is that of the API and of the event. The zero value has no rules and no
// default.
type Ruleset struct {
	Rules []Rule `json:"rules"`
	// Default is where calls go that no rule matches; nil leaves that to the fallback chain.
	Default *Default `json:"default_rule"`

	// compiled is set by Compiled.
	compiled *compiled
}

// Default names the provider of the default rule.
type Default struct {
	ProviderID string `json:"provider_id"`
}

// Rule sends the calls for which all of its conditions hold where its action says. A rule without conditions matches every
// call.
type Rule struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Priority orders the rules: the lowest number is tried first, equal ones in the order of the list.
	Priority   int64       `json:"priority"`
	Conditions []Condition `json:"conditions"`
	Action     Action      `json:"action"`
	// IsEnabled is whether the rule is looked at; one that is not still names its providers.
	IsEnabled bool `json:"is_enabled"`
}

// Condition compares one property of a call with a value. Which operator takes which value for which field, and what it
// then means, is said at the operators.
type Condition struct {
	Field    Field    `json:"field"`
	Operator Operator `json:"operator"`
	Value    Value    `json:"value"`
}

// Field is a property of a call. Where a call doesn't have it, the condition does not hold.
type Field string

// The fields of conditions.
const (
	// ModelCapability is the set of capabilities that the call needs.
	ModelCapability Field = "model_capability"
	// Department is the id of the department that the call is made for.
	Department Field = "department"
	// CostLimit is the most that the caller will pay, in USD per 1,000 input tokens (max_cost_per_1k).
	CostLimit Field = "cost_limit"
	// LatencyTarget is the longest that the caller will wait for the first token, in milliseconds (max_latency_ms).
	LatencyTarget Field = "latency_target"
	// Model is the model that the call asks for.
	Model Field = "model"
)

// Fields lists the fields in the order in which they are shown.
func Fields() []Field { return []Field{ModelCapability, Department, CostLimit, LatencyTarget, Model} }

// Operator compares.
type Operator string

// The operators of conditions.
const (
	// Equal: a text is the same, case included; a number is equal; of the capabilities that a call needs, one is the value.
	Equal Operator = "eq"
	// Greater and Less compare cost_limit and latency_target with a number; the value itself is neither.
	Greater Operator = "gt"
	Less    Operator = "lt"
	// Includes: with a list as value, a text is one of it; with a text as value, a text contains it. The capabilities that a
	// call needs include the value, or all of the list.
	Includes Operator = "includes"
	// Regex: a text matches the RE2 expression somewhere; ^ and $ anchor it.
	Regex Operator = "regex"
)

// Operators lists the operators in the order in which they are shown.
func Operators() []Operator { return []Operator{Equal, Greater, Less, Includes, Regex} }

// Action says which of several providers a call goes to. What can't serve the call, or has a tripped breaker, is left out
// first; where nothing remains, the fallback chain is next.
type Action struct {
	Type    ActionType `json:"type"`
	Targets []Target   `json:"providers"`
}

// ActionType is how an action chooses.
type ActionType string

// The types of action.
const (
	// Direct takes the first of its providers, in the order of the list.
	Direct ActionType = "direct"
	// WeightedRandom draws one in proportion to the weights.
	WeightedRandom ActionType = "weighted_random"
	// LeastLatency takes the one with the lowest median time to first token, but gives those that were never seen a small
	// share, so that they come to be.
	LeastLatency ActionType = "least_latency"
	// LeastCost takes the cheapest one for the call's prompt; one without a price is the last.
	LeastCost ActionType = "least_cost"
)

// ActionTypes lists the types of action in the order in which they are shown.
func ActionTypes() []ActionType {
	return []ActionType{Direct, WeightedRandom, LeastLatency, LeastCost}
}

// Target is a provider that an action may choose.
type Target struct {
	ProviderID string `json:"provider_id"`
	// Weight counts for weighted_random alone.
	Weight Weight `json:"weight"`
	// Model, where set, goes upstream whatever was asked for.
	Model string `json:"model,omitempty"`
}

// Capabilities lists what a call may need of a provider. It is the list of the providers' context, which this one does not
// know; a test compares them.
func Capabilities() []string {
	return []string{"vision", "function_calling", "json_mode", "streaming", "embeddings"}
}

// Names lists the providers that the ruleset names, disabled rules included, each once, in the order of first mention.
func (r Ruleset) Names() []string {
	var list names
	for i := range r.Rules {
		for _, target := range r.Rules[i].Action.Targets {
			list.add(target.ProviderID)
		}
	}
	if r.Default != nil {
		list.add(r.Default.ProviderID)
	}
	return list
}

// NamedBy lists the rules that name a provider, by their names, disabled ones too; the default rule is not among them.
func (r Ruleset) NamedBy(providerID string) []string {
	var list names
	for i := range r.Rules {
		for _, target := range r.Rules[i].Action.Targets {
			if target.ProviderID == providerID {
				list.add(r.Rules[i].Name)
			}
		}
	}
	return list
}

// Shown is the ruleset in the form in which it is shown and stored: lists that are never null, nothing compiled.
func (r Ruleset) Shown() Ruleset {
	rules := make([]Rule, len(r.Rules))
	for i, rule := range r.Rules {
		rule.Conditions = append([]Condition{}, rule.Conditions...)
		rule.Action.Targets = append([]Target{}, rule.Action.Targets...)
		rules[i] = rule
	}
	return Ruleset{Rules: rules, Default: r.Default}
}

// names is a list without repetitions.
type names []string

func (n *names) add(name string) {
	if !slices.Contains(*n, name) {
		*n = append(*n, name)
	}
}

// same tells whether two values are stored as the same bytes.
func same(a, b any) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
