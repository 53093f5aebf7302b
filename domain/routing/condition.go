package routing

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

const (
	// costPlaces and latencyPlaces are the decimal places of the two limits: nano-USD per 1,000 tokens, milliseconds.
	costPlaces    = 9
	latencyPlaces = 0
	// maxSubject is the longest text, in bytes, that regular expressions are tried on; a longer one matches none.
	maxSubject = 1024
)

// compiled is a ruleset in the form in which it decides.
type compiled struct {
	// rules are the enabled ones in the order in which they are tried.
	rules []compiledRule
}

type compiledRule struct {
	rule  *Rule
	tests []test
}

// test is a compiled condition: whether it holds for a call, and how it reads.
type test struct {
	holds func(*Request) bool
	text  string
}

// Compiled is the ruleset made ready to decide, regular expressions included. Decide does it by itself where it hasn't been
// done, each time anew; do it once a version. The rules must not be changed afterwards.
func (r Ruleset) Compiled() Ruleset {
	if r.compiled != nil {
		return r
	}
	r.compiled = &compiled{}
	for i := range r.Rules {
		rule := &r.Rules[i]
		if !rule.IsEnabled {
			continue
		}
		ready := compiledRule{rule: rule, tests: make([]test, len(rule.Conditions))}
		for k, condition := range rule.Conditions {
			ready.tests[k] = test{holds: condition.compile(), text: condition.String()}
		}
		r.compiled.rules = append(r.compiled.rules, ready)
	}
	slices.SortStableFunc(r.compiled.rules, func(a, b compiledRule) int { return cmp.Compare(a.rule.Priority, b.rule.Priority) })
	return r
}

// failed is the index of the first condition that does not hold for a call, -1 where all do.
func (c *compiledRule) failed(request *Request) int {
	return slices.IndexFunc(c.tests, func(t test) bool { return !t.holds(request) })
}

// String is the condition in words, for traces.
func (c Condition) String() string {
	return string(c.Field) + " " + string(c.Operator) + " " + c.Value.String()
}

func never(*Request) bool { return false }

// compile is the condition as a function. One that makes no sense, which Problem refuses, never holds.
func (c Condition) compile() func(*Request) bool {
	switch c.Field {
	case ModelCapability:
		return c.compileSet(func(r *Request) []string { return r.Needs })
	case Department:
		return c.compileText(func(r *Request) string { return r.DepartmentID })
	case Model:
		return c.compileText(func(r *Request) string { return r.Model })
	case CostLimit:
		return c.compileNumber(costPlaces, func(r *Request) *int64 { return r.MaxCostPer1k })
	case LatencyTarget:
		return c.compileNumber(latencyPlaces, func(r *Request) *int64 { return r.MaxLatencyMS })
	}
	return never
}

func (c Condition) compileSet(of func(*Request) []string) func(*Request) bool {
	wanted := c.Value.List
	if wanted == nil {
		wanted = []string{c.Value.Text}
	}
	if (c.Operator != Equal && c.Operator != Includes) || len(wanted) == 0 {
		return never
	}
	return func(r *Request) bool {
		has := of(r)
		return !slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(has, one) })
	}
}

func (c Condition) compileText(of func(*Request) string) func(*Request) bool {
	text, list := c.Value.Text, c.Value.List
	switch {
	case c.Operator == Equal:
		return func(r *Request) bool { return of(r) != "" && of(r) == text }
	case c.Operator == Includes && list != nil:
		return func(r *Request) bool { return of(r) != "" && slices.Contains(list, of(r)) }
	case c.Operator == Includes && text != "":
		return func(r *Request) bool { return strings.Contains(of(r), text) }
	case c.Operator == Regex:
		expression, err := regexp.Compile(text)
		if err != nil {
			return never
		}
		return func(r *Request) bool {
			subject := of(r)
			return subject != "" && len(subject) <= maxSubject && expression.MatchString(subject)
		}
	}
	return never
}

func (c Condition) compileNumber(places int, of func(*Request) *int64) func(*Request) bool {
	limit, ok := c.Value.number(places)
	if !ok {
		return never
	}
	var holds func(int) bool
	switch c.Operator {
	case Equal:
		holds = func(order int) bool { return order == 0 }
	case Greater:
		holds = func(order int) bool { return order > 0 }
	case Less:
		holds = func(order int) bool { return order < 0 }
	default:
		return never
	}
	return func(r *Request) bool {
		value := of(r)
		return value != nil && holds(cmp.Compare(*value, limit))
	}
}
