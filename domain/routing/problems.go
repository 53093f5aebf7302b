package routing

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/archonhq/archon/domain"
)

// Bounds of what administrators write.
const (
	MaxRules      = 200
	MaxConditions = 20
	MaxTargets    = 50
	MaxChain      = 50
	// MaxProviders is how many different providers a ruleset may name: each is looked up when it is replaced.
	MaxProviders    = 200
	MaxNameRunes    = 200
	MaxPriority     = 1_000_000
	maxModelRunes   = 200
	maxValueRunes   = 200
	maxValueEntries = 100
	maxIDLength     = 64
	// maxRegexBytes and maxProgram bound regular expressions: what is written, and the instructions that it comes to, since a
	// short text can stand for a huge one ("(.{99}){9}").
	maxRegexBytes = 256
	maxProgram    = 4_000
)

// Bounds of a breaker.
const (
	maxFailureThreshold = 1_000
	maxCooldownSeconds  = 86_400
	maxHalfOpenRequests = 1_000
)

// problems are the first thing that is wrong with each field, by the field's path.
type problems map[string]any

func (p problems) add(path, reason string) {
	if _, known := p[path]; !known && reason != "" {
		p[path] = reason
	}
}

func at(path string, index int) string { return path + "." + strconv.Itoa(index) }

// Problem refuses a ruleset that makes no sense, with the first thing that is wrong with each field, or is nil. exists tells
// whether a provider is there to be named; nil leaves that out.
func (r Ruleset) Problem(exists func(providerID string) bool) error {
	found := problems{}
	if len(r.Rules) > MaxRules {
		found.add("rules", fmt.Sprintf("must be at most %d", MaxRules))
	}
	if len(r.Names()) > MaxProviders {
		found.add("rules", fmt.Sprintf("must not name more than %d different providers", MaxProviders))
	}
	ids := map[string]bool{}
	for i := range r.Rules {
		path := at("rules", i)
		rule := &r.Rules[i]
		found.add(path+".id", idProblem(rule.ID))
		if ids[rule.ID] {
			found.add(path+".id", "must not be that of another rule")
		}
		ids[rule.ID] = true
		found.add(path+".name", domain.NameProblem(rule.Name, MaxNameRunes))
		found.add(path+".priority", priorityProblem(rule.Priority))
		if len(rule.Conditions) > MaxConditions {
			found.add(path+".conditions", fmt.Sprintf("must be at most %d", MaxConditions))
		}
		for k, condition := range rule.Conditions {
			condition.problem(found, at(path+".conditions", k))
		}
		rule.Action.problem(found, path+".action", exists)
	}
	if r.Default != nil {
		found.add("default_rule.provider_id", providerProblem(r.Default.ProviderID, exists))
	}
	return domain.InvalidFields("The rules are not valid.", found)
}

// Problem refuses a chain that makes no sense; see Ruleset.Problem.
func (f Fallback) Problem(exists func(providerID string) bool) error {
	found := problems{}
	if len(f.Chain) > MaxChain {
		found.add("chain", fmt.Sprintf("must be at most %d", MaxChain))
	}
	type link struct{ provider, model string }
	seen := map[link]bool{}
	for i, entry := range f.Chain {
		path := at("chain", i)
		found.add(path+".provider_id", providerProblem(entry.ProviderID, exists))
		if entry.Name != "" {
			found.add(path+".name", domain.NameProblem(entry.Name, MaxNameRunes))
		}
		found.add(path+".priority", priorityProblem(entry.Priority))
		found.add(path+".model", domain.TextProblem(entry.Model, maxModelRunes))
		if seen[link{entry.ProviderID, entry.Model}] {
			found.add(path+".provider_id", "must not stand in the chain twice with the same model")
		}
		seen[link{entry.ProviderID, entry.Model}] = true
	}
	for _, bound := range []struct {
		field      string
		value, max int
	}{
		{"failure_threshold", f.Breaker.FailureThreshold, maxFailureThreshold},
		{"cooldown_seconds", f.Breaker.CooldownSeconds, maxCooldownSeconds},
		{"half_open_max_requests", f.Breaker.HalfOpenMaxRequests, maxHalfOpenRequests},
	} {
		if bound.value < 1 || bound.value > bound.max {
			found.add("circuit_breaker."+bound.field, fmt.Sprintf("must be from 1 to %d", bound.max))
		}
	}
	for i, trigger := range f.Triggers {
		if !slices.Contains(Triggers(), trigger) {
			found.add(at("failover_triggers", i), "must be among: "+listed(Triggers()))
		}
		if slices.Contains(f.Triggers[:i], trigger) {
			found.add(at("failover_triggers", i), "must not be the same as another one")
		}
	}
	return domain.InvalidFields("The fallback chain is not valid.", found)
}

func (a Action) problem(found problems, path string, exists func(string) bool) {
	if !slices.Contains(ActionTypes(), a.Type) {
		found.add(path+".type", "must be among: "+listed(ActionTypes()))
	}
	switch {
	case len(a.Targets) == 0:
		found.add(path+".providers", "must name at least one provider")
	case len(a.Targets) > MaxTargets:
		found.add(path+".providers", fmt.Sprintf("must be at most %d", MaxTargets))
	}
	var sum Weight
	for i, target := range a.Targets {
		at := at(path+".providers", i)
		found.add(at+".provider_id", providerProblem(target.ProviderID, exists))
		found.add(at+".model", domain.TextProblem(target.Model, maxModelRunes))
		if target.Weight < 0 || target.Weight > maxWeight {
			found.add(at+".weight", errWeight.Error())
		}
		sum += target.Weight
		if slices.ContainsFunc(a.Targets[:i], func(t Target) bool { return t.ProviderID == target.ProviderID && t.Model == target.Model }) {
			found.add(at+".provider_id", "must not be named twice with the same model")
		}
	}
	if a.Type == WeightedRandom && len(a.Targets) > 0 && sum <= 0 {
		found.add(path+".providers", "must have at least one weight above 0")
	}
}

func (c Condition) problem(found problems, path string) {
	if !slices.Contains(Fields(), c.Field) {
		found.add(path+".field", "must be among: "+listed(Fields()))
		return
	}
	if allowed := c.Field.operators(); !slices.Contains(allowed, c.Operator) {
		found.add(path+".operator", fmt.Sprintf("must be among, for %s: %s", c.Field, listed(allowed)))
		return
	}
	switch {
	case c.Field == CostLimit:
		if _, ok := c.Value.number(costPlaces); !ok {
			found.add(path+".value", "must be a number of USD per 1,000 input tokens, not negative, with at most 9 decimal places")
		}
	case c.Field == LatencyTarget:
		if _, ok := c.Value.number(latencyPlaces); !ok {
			found.add(path+".value", "must be a whole number of milliseconds that is not negative")
		}
	case c.Operator == Includes && c.Value.List != nil:
		c.listProblem(found, path+".value")
	case c.Value.List != nil || c.Value.Number != "":
		found.add(path+".value", c.shape())
	case c.Operator == Regex:
		found.add(path+".value", regexProblem(c.Value.Text))
	default:
		found.add(path+".value", c.textProblem(c.Value.Text))
	}
}

// shape says what a value has to be for the operators on texts.
func (c Condition) shape() string {
	if c.Operator == Includes {
		return "must be a text or a list of texts"
	}
	return "must be a text; use includes for a list"
}

func (c Condition) listProblem(found problems, path string) {
	if len(c.Value.List) == 0 || len(c.Value.List) > maxValueEntries {
		found.add(path, fmt.Sprintf("must have from 1 to %d entries", maxValueEntries))
		return
	}
	for i, text := range c.Value.List {
		found.add(at(path, i), c.textProblem(text))
	}
}

func (c Condition) textProblem(text string) string {
	switch {
	case c.Field == ModelCapability && !slices.Contains(Capabilities(), text):
		return "must be among: " + listed(Capabilities())
	case text == "":
		return "must not be empty"
	}
	return domain.TextProblem(text, maxValueRunes)
}

// operators are those that make sense for a field.
func (f Field) operators() []Operator {
	switch f {
	case ModelCapability:
		return []Operator{Equal, Includes}
	case CostLimit, LatencyTarget:
		return []Operator{Equal, Greater, Less}
	case Department, Model:
		return []Operator{Equal, Includes, Regex}
	}
	return nil
}

func regexProblem(text string) string {
	const tooLarge = "is too large for a regular expression; use fewer or smaller repetitions"
	switch {
	case text == "":
		return "must not be empty"
	case len(text) > maxRegexBytes:
		return fmt.Sprintf("must be at most %d bytes long for a regular expression", maxRegexBytes)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "is not a regular expression in RE2 syntax (without lookaround and back-references)"
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return tooLarge
	}
	if _, err := regexp.Compile(text); err != nil {
		return tooLarge
	}
	return ""
}

func idProblem(id string) string {
	const allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	if id == "" || len(id) > maxIDLength || strings.Trim(id, allowed) != "" {
		return fmt.Sprintf("must be 1 to %d letters, digits, - and _, or absent for a new one", maxIDLength)
	}
	return ""
}

func priorityProblem(priority int64) string {
	if priority < -MaxPriority || priority > MaxPriority {
		return fmt.Sprintf("must be from -%d to %d", MaxPriority, MaxPriority)
	}
	return ""
}

func providerProblem(id string, exists func(string) bool) string {
	if id == "" || (exists != nil && !exists(id)) {
		return "must be the id of a provider that exists"
	}
	return ""
}

func listed[T ~string](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return strings.Join(texts, ", ")
}
