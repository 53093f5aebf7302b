package routing

// Decision is where a call goes and why.
type Decision struct {
	// Plan is what to try, in this order: the chosen one first, then the chain. No provider stands in it twice with the same
	// model. It is empty where no provider can serve the call at all. Either no choice is Blocked, or all are: then some could
	// serve it but for their breakers, and the call is refused until the first of them closes.
	Plan []Choice
	// MatchedRule is the rule whose action applied, nil where none did.
	MatchedRule *MatchedRule
	// FallbackUsed is whether the first of the plan comes from the fallback chain.
	FallbackUsed bool
	// Trace says of each enabled rule, in the order in which they were tried, up to the one that matched, how it went.
	Trace []Tried
	// NotChosen says of everything that was considered besides the first of the plan why it isn't.
	NotChosen []NotChosen
	// Scores is what the action of the matched rule compared, in the order of its providers.
	Scores []Score
	// Prices are those that were looked up, by provider type and model.
	Prices []Price
}

// Chosen is the first of the plan; ok is false where there is none to call.
func (d Decision) Chosen() (choice Choice, ok bool) {
	if len(d.Plan) == 0 || d.Plan[0].Blocked {
		return Choice{}, false
	}
	return d.Plan[0], true
}

// Choice is a provider with the model that goes upstream.
type Choice struct {
	ProviderID string `json:"id"`
	Model      string `json:"model"`
	Via        Via    `json:"via"`
	// Blocked is whether its breaker keeps calls away.
	Blocked bool `json:"blocked,omitempty"`
}

// Via says by what a choice came into the plan.
type Via string

// The ways into a plan.
const (
	ViaRule    Via = "rule"
	ViaDefault Via = "default"
	ViaChain   Via = "chain"
	// ViaName is the first provider by name, where neither a rule nor the default nor the chain had one.
	ViaName Via = "name"
)

// MatchedRule names the rule that matched.
type MatchedRule struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Tried is how a rule went.
type Tried struct {
	RuleID  string
	Name    string
	Matched bool
	// FailedCondition is the first condition that did not hold, in words; empty where all did.
	FailedCondition string

	// failed is its index, -1 where all did.
	failed int
}

// NotChosen is a provider, with the model that it would have been called with, that was not chosen.
type NotChosen struct {
	ProviderID string
	// Model is empty where there is none.
	Model  string
	Reason Reason
}

// Reason says why a provider was not chosen.
type Reason string

// Why a provider can't serve a call.
const (
	// Absent: a rule or the chain names it, but it is not among the candidates.
	Absent Reason = "not_available"
	// Disabled: it is switched off.
	Disabled Reason = "disabled"
	// LacksCapability: it does not have what the call needs.
	LacksCapability Reason = "lacks_capability"
	// NoModel: nothing says which model to ask it for.
	NoModel Reason = "no_model"
	// Unpriced: the call has a cost limit, and nobody knows whether its model keeps it.
	Unpriced Reason = "unpriced"
	// OverCost and OverLatency: it does not keep the call's limit.
	OverCost    Reason = "over_max_cost"
	OverLatency Reason = "over_max_latency"
)

// Why a provider that can serve a call was passed over.
const (
	// BreakerOpen, IsRateLimited and IsDead: its breaker keeps calls away.
	BreakerOpen   Reason = "breaker_open"
	IsRateLimited Reason = "rate_limited"
	IsDead        Reason = "dead"
	// IsUnhealthy: another provider of the action is not.
	IsUnhealthy Reason = "unhealthy"
	// NoWeight: its weight is 0.
	NoWeight Reason = "weight_zero"
	// NotDrawn, Slower, Dearer and Later: the action took another one by draw, latency, cost, or order.
	NotDrawn Reason = "not_drawn"
	Slower   Reason = "slower"
	Dearer   Reason = "dearer"
	Later    Reason = "later_in_order"
	// InReserve: it stands further back in the plan.
	InReserve Reason = "in_reserve"
	// NotNamed: neither the rule nor the chain names it.
	NotNamed Reason = "not_named"
)

// Score is what an action knows of one of its providers.
type Score struct {
	ProviderID string
	Model      string
	Weight     Weight
	// LatencyUS is the median time to first token in microseconds, -1 where it was never seen.
	LatencyUS int64
	// Cost is the estimate that least_cost compares (see Estimate), -1 where the action did not ask or there is no price.
	Cost int64
}

// Price is a price as it was looked up, in units of 10⁻¹⁰ USD per million tokens; Known is false where there was none.
type Price struct {
	Type   string
	Model  string
	Input  int64
	Output int64
	Known  bool
}
