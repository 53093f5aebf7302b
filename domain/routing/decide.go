package routing

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// option is a provider that is being considered, with the model that it would be called with.
type option struct {
	// candidate is nil where the provider is not among the candidates.
	candidate *Candidate
	target    Target
	model     string
	// reason is why it can't serve the call; empty where it can.
	reason Reason
}

func (o *option) can() bool { return o.reason == "" }

// free tells whether it can be called now.
func (o *option) free() bool { return o.obstacle() == "" }

// obstacle is why it can't be called now; empty where it can.
func (o *option) obstacle() Reason {
	if !o.can() {
		return o.reason
	}
	switch o.candidate.Breaker {
	case Open:
		return BreakerOpen
	case RateLimited:
		return IsRateLimited
	case Dead:
		return IsDead
	}
	return "" // half-open lets some calls through, and which ones is the breaker's business
}

// decider is one decision in the making.
type decider struct {
	request    *Request
	draw       uint64
	candidates []*Candidate // by id
	prices     Prices
	decision   Decision
}

// Decide says where a call goes. It is pure: the same input and prices give the same decision, whatever the order of the
// candidates.
func Decide(in Input, prices Prices) Decision {
	d := decider{request: &in.Request, draw: in.Draw, prices: prices, candidates: make([]*Candidate, len(in.Candidates))}
	for i := range in.Candidates {
		d.candidates[i] = &in.Candidates[i]
	}
	slices.SortFunc(d.candidates, func(a, b *Candidate) int { return strings.Compare(a.ProviderID, b.ProviderID) })

	rule := d.match(in.Rules.Compiled().compiled.rules)
	var named []option
	via, passed := ViaRule, []Reason(nil)
	switch {
	case rule != nil:
		named, passed = d.act(rule.Action)
	case in.Rules.Default != nil:
		named, via = []option{d.option(Target{ProviderID: in.Rules.Default.ProviderID})}, ViaDefault
		passed = firstFree(named)
	}
	chain := d.chain(in.Fallback)
	d.plan(named, passed, via, chain)
	if len(d.decision.Plan) == 0 && rule == nil {
		d.byName()
	}
	d.rest()
	return d.decision
}

// match finds the first rule whose conditions all hold, nil where there is none, and keeps the trace.
func (d *decider) match(rules []compiledRule) *Rule {
	if len(rules) == 0 {
		return nil
	}
	const few = 8 // rules before the first one that matches
	d.decision.Trace = make([]Tried, 0, min(len(rules), few))
	for i := range rules {
		rule := &rules[i]
		tried := Tried{RuleID: rule.rule.ID, Name: rule.rule.Name, failed: rule.failed(d.request)}
		if tried.failed >= 0 {
			tried.FailedCondition = rule.tests[tried.failed].text
			d.decision.Trace = append(d.decision.Trace, tried)
			continue
		}
		tried.Matched = true
		d.decision.Trace = append(d.decision.Trace, tried)
		d.decision.MatchedRule = &MatchedRule{ID: rule.rule.ID, Name: rule.rule.Name}
		return rule.rule
	}
	return nil
}

// chain is the fallback chain in its order.
func (d *decider) chain(fallback Fallback) []option {
	entries := fallback.ordered()
	options := make([]option, len(entries))
	for i := range entries {
		options[i] = d.option(Target{ProviderID: entries[i].ProviderID, Model: entries[i].Model})
	}
	return options
}

// plan puts the action's choice first, or the default's, and the chain behind it. Where all that could serve the call are
// tripped, they make up the plan, blocked. passed has, for each of named, why it was passed over, empty for the choice.
func (d *decider) plan(named []option, passed []Reason, via Via, chain []option) {
	d.decision.Plan = make([]Choice, 0, 1+len(chain))
	chosen := slices.Index(passed, "")
	if chosen >= 0 {
		d.add(&named[chosen], via, false)
	}
	for i := range chain {
		if chain[i].free() {
			d.add(&chain[i], ViaChain, false)
		}
	}
	if len(d.decision.Plan) == 0 {
		for i := range named {
			if named[i].can() && passed[i] != NoWeight {
				d.add(&named[i], via, true)
			}
		}
		for i := range chain {
			if chain[i].can() {
				d.add(&chain[i], ViaChain, true)
			}
		}
	}
	d.decision.FallbackUsed = len(d.decision.Plan) > 0 && d.decision.Plan[0].Via == ViaChain
	for i := range named {
		d.pass(&named[i], passed[i])
	}
	for i := range chain {
		d.pass(&chain[i], chain[i].obstacle())
	}
}

// byName takes the first provider by name that can serve the call. Those that have the model that it asks for go before
// those that would answer with another one.
func (d *decider) byName() {
	options := make([]option, len(d.candidates))
	for i, candidate := range d.candidates {
		options[i] = d.option(Target{ProviderID: candidate.ProviderID})
	}
	slices.SortStableFunc(options, func(a, b option) int {
		if order := cmp.Compare(d.otherModel(&a), d.otherModel(&b)); order != 0 {
			return order
		}
		return strings.Compare(a.candidate.Name, b.candidate.Name)
	})
	d.plan(options, firstFree(options), ViaName, nil)
}

// otherModel is 1 where the call would be answered by another model than it asks for.
func (d *decider) otherModel(o *option) int {
	if o.model == d.request.Model {
		return 0
	}
	return 1
}

// add puts an option into the plan, unless it is there.
func (d *decider) add(o *option, via Via, blocked bool) {
	for i := range d.decision.Plan {
		if d.decision.Plan[i].ProviderID == o.target.ProviderID && d.decision.Plan[i].Model == o.model {
			return
		}
	}
	d.decision.Plan = append(d.decision.Plan, Choice{ProviderID: o.target.ProviderID, Model: o.model, Via: via, Blocked: blocked})
}

// pass notes why an option is not the first of the plan, once for a provider and model, and only where it is not.
func (d *decider) pass(o *option, reason Reason) {
	plan := d.decision.Plan
	if len(plan) > 0 && !plan[0].Blocked && plan[0].ProviderID == o.target.ProviderID && plan[0].Model == o.model {
		return
	}
	for i := range d.decision.NotChosen {
		if d.decision.NotChosen[i].ProviderID == o.target.ProviderID && d.decision.NotChosen[i].Model == o.model {
			return
		}
	}
	if reason == "" {
		reason = InReserve
	}
	if d.decision.NotChosen == nil {
		d.decision.NotChosen = make([]NotChosen, 0, len(d.candidates))
	}
	d.decision.NotChosen = append(d.decision.NotChosen, NotChosen{ProviderID: o.target.ProviderID, Model: o.model, Reason: reason})
}

// rest notes the candidates that nothing named.
func (d *decider) rest() {
	for _, candidate := range d.candidates {
		isThis := func(id string) bool { return id == candidate.ProviderID }
		if slices.ContainsFunc(d.decision.Plan, func(c Choice) bool { return isThis(c.ProviderID) }) ||
			slices.ContainsFunc(d.decision.NotChosen, func(n NotChosen) bool { return isThis(n.ProviderID) }) {
			continue
		}
		o := d.option(Target{ProviderID: candidate.ProviderID})
		d.pass(&o, cmp.Or(o.reason, NotNamed))
	}
}

// option considers a provider for the call.
func (d *decider) option(target Target) option {
	o := option{target: target}
	at, found := slices.BinarySearchFunc(d.candidates, target.ProviderID, func(c *Candidate, id string) int {
		return strings.Compare(c.ProviderID, id)
	})
	if !found {
		o.model, o.reason = target.Model, Absent
		return o
	}
	o.candidate = d.candidates[at]
	o.model = cmp.Or(target.Model, o.candidate.modelFor(d.request))
	o.reason = d.judge(o.candidate, o.model)
	return o
}

// judge says why a candidate can't serve the call with a model; empty where it can.
func (d *decider) judge(candidate *Candidate, model string) Reason {
	switch {
	case !candidate.Enabled:
		return Disabled
	case slices.ContainsFunc(d.request.Needs, func(need string) bool { return !slices.Contains(candidate.Capabilities, need) }):
		return LacksCapability
	case model == "":
		return NoModel
	}
	if limit := d.request.MaxCostPer1k; limit != nil {
		price := d.price(candidate.Type, model)
		switch {
		case !price.Known:
			return Unpriced
		case !within(price.Input, *limit):
			return OverCost
		}
	}
	if limit := d.request.MaxLatencyMS; limit != nil && latencyMS(candidate) > *limit {
		return OverLatency
	}
	return ""
}

// latencyMS is a candidate's latency in whole milliseconds, rounded up; one that was never seen keeps every limit, or it
// would never come to be seen.
func latencyMS(candidate *Candidate) int64 {
	const perMillisecond = 1000
	us := candidate.latencyUS()
	if us == unseen {
		return math.MinInt64
	}
	return (us + perMillisecond - 1) / perMillisecond
}

// within tells whether a price per million tokens in 10⁻¹⁰ USD keeps a limit per thousand in 10⁻⁹ USD.
func within(input, limit int64) bool {
	const unitsOfLimit = 10_000
	if limit < 0 {
		return false
	}
	high, low := bits.Mul64(uint64(limit), unitsOfLimit)
	return high > 0 || input <= 0 || uint64(input) <= low
}

// modelFor is the model that a call goes to where nothing names one: the one that it asks for, else the first that fits.
func (c *Candidate) modelFor(request *Request) string {
	if request.Model != "" && (len(c.Models) == 0 || slices.Contains(c.Models, request.Model)) {
		return request.Model
	}
	embeds := slices.Contains(request.Needs, "embeddings")
	for _, model := range c.Models {
		if isEmbedding(model) == embeds {
			return model
		}
	}
	if embeds && len(c.Models) > 0 {
		return c.Models[0]
	}
	return ""
}

// isEmbedding guesses by a model's name whether it makes embeddings, which capabilities, being the provider's, don't say:
// a chat must not be sent to text-embedding-3-small because that stands first in the list.
func isEmbedding(model string) bool { return strings.Contains(strings.ToLower(model), "embed") }

// price looks a price up, once a decision.
func (d *decider) price(providerType, model string) Price {
	at, found := slices.BinarySearchFunc(d.decision.Prices, Price{Type: providerType, Model: model}, func(a, b Price) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Model, b.Model))
	})
	if found {
		return d.decision.Prices[at]
	}
	price := Price{Type: providerType, Model: model}
	if d.prices != nil {
		if input, output, ok := d.prices(providerType, model); ok {
			price.Input, price.Output, price.Known = max(input, 0), max(output, 0), true
		}
	}
	d.decision.Prices = slices.Insert(d.decision.Prices, at, price)
	return price
}
