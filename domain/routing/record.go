package routing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// recordVersion is the version of Decide's rules and of the record's form. A decision that another version made can't be
// made again by this one: whoever changes what Decide answers raises it.
const recordVersion = 1

// Record is a decision with everything that it rested on, in the form that is stored with the call. Configuration stands
// in it as the versions of the streams that hold it.
type Record struct {
	Version         int64    `json:"v"`
	RulesVersion    int64    `json:"rules"`
	FallbackVersion int64    `json:"fallback"`
	Request         Facts    `json:"request"`
	Draw            uint64   `json:"draw,string"`
	Candidates      []Seen   `json:"candidates"`
	Prices          []Looked `json:"prices,omitempty"`
	Result          Result   `json:"result"`
}

// Facts is what of the request mattered.
type Facts struct {
	Model        string   `json:"model,omitempty"`
	Needs        []string `json:"needs,omitempty"`
	DepartmentID string   `json:"department,omitempty"`
	PromptTokens int64    `json:"prompt_tokens"`
	// MaxCostPer1k is in nano-USD, MaxLatencyMS in milliseconds.
	MaxCostPer1k *int64 `json:"max_cost_per_1k_nano,omitempty"`
	MaxLatencyMS *int64 `json:"max_latency_ms,omitempty"`
}

// Seen is a candidate as it was seen.
type Seen struct {
	ProviderID string `json:"id"`
	Version    int64  `json:"version"`
	// Health is left out where it is healthy, Breaker where it is closed.
	Health  string `json:"health,omitempty"`
	Breaker string `json:"breaker,omitempty"`
	// LatencyUS is absent where it was never seen.
	LatencyUS *int64 `json:"latency_us,omitempty"`
}

// Looked is a price as it was looked up, in units of 10⁻¹⁰ USD per million tokens; both are absent where there was none.
type Looked struct {
	Type   string `json:"type"`
	Model  string `json:"model"`
	Input  *int64 `json:"input,omitempty"`
	Output *int64 `json:"output,omitempty"`
}

// Result is what the decision came to.
type Result struct {
	Plan         []Choice     `json:"plan"`
	MatchedRule  *MatchedRule `json:"rule,omitempty"`
	FallbackUsed bool         `json:"fallback_used,omitempty"`
	// Trace has, for each enabled rule in the order in which they were tried, the index of the first condition that failed,
	// -1 where all held.
	Trace []int `json:"trace,omitempty"`
}

// NewRecord is the record of a decision that was made on an input.
func NewRecord(in Input, decision Decision) Record {
	r := Record{
		Version: recordVersion, RulesVersion: in.RulesVersion, FallbackVersion: in.FallbackVersion, Draw: in.Draw,
		Request: Facts{
			Model: in.Request.Model, Needs: in.Request.Needs, DepartmentID: in.Request.DepartmentID, PromptTokens: in.Request.PromptTokens,
			MaxCostPer1k: in.Request.MaxCostPer1k, MaxLatencyMS: in.Request.MaxLatencyMS,
		},
		Candidates: make([]Seen, len(in.Candidates)),
		Result:     resultOf(decision),
	}
	for i := range in.Candidates {
		candidate := &in.Candidates[i]
		seen := Seen{ProviderID: candidate.ProviderID, Version: candidate.Version, Health: candidate.Health, Breaker: candidate.Breaker}
		if seen.Health == healthy {
			seen.Health = ""
		}
		if seen.Breaker == Closed {
			seen.Breaker = ""
		}
		if us := candidate.latencyUS(); us != unseen {
			seen.LatencyUS = &us
		}
		r.Candidates[i] = seen
	}
	for i := range decision.Prices {
		price := &decision.Prices[i]
		looked := Looked{Type: price.Type, Model: price.Model}
		if price.Known {
			looked.Input, looked.Output = &price.Input, &price.Output
		}
		r.Prices = append(r.Prices, looked)
	}
	return r
}

func resultOf(decision Decision) Result {
	result := Result{Plan: decision.Plan, MatchedRule: decision.MatchedRule, FallbackUsed: decision.FallbackUsed}
	if len(decision.Trace) > 0 {
		result.Trace = make([]int, len(decision.Trace))
		for i := range decision.Trace {
			result.Trace[i] = decision.Trace[i].failed
		}
	}
	return result
}

// Configured is a provider as it was configured at a version of its stream.
type Configured struct {
	Name, Type           string
	Enabled              bool
	Models, Capabilities []string
}

// Providers looks up what a version of a provider's stream said; ok is false where there is no such version.
type Providers func(id string, version int64) (configured Configured, ok bool)

// Input is what the decision rested on, from the record and the configuration that it names.
func (r *Record) Input(rules Ruleset, fallback Fallback, providers Providers) (Input, error) {
	in := Input{
		Rules: rules, RulesVersion: r.RulesVersion, Fallback: fallback, FallbackVersion: r.FallbackVersion, Draw: r.Draw,
		Request: Request{
			Model: r.Request.Model, Needs: r.Request.Needs, DepartmentID: r.Request.DepartmentID, PromptTokens: r.Request.PromptTokens,
			MaxCostPer1k: r.Request.MaxCostPer1k, MaxLatencyMS: r.Request.MaxLatencyMS,
		},
		Candidates: make([]Candidate, len(r.Candidates)),
	}
	for i, seen := range r.Candidates {
		configured, ok := providers(seen.ProviderID, seen.Version)
		if !ok {
			return in, fmt.Errorf("the log has no version %d of provider %s", seen.Version, seen.ProviderID)
		}
		candidate := Candidate{
			ProviderID: seen.ProviderID, Version: seen.Version, Name: configured.Name, Type: configured.Type, Enabled: configured.Enabled,
			Models: configured.Models, Capabilities: configured.Capabilities, Health: seen.Health, Breaker: seen.Breaker,
		}
		if seen.Health == "" {
			candidate.Health = healthy
		}
		if seen.Breaker == "" {
			candidate.Breaker = Closed
		}
		if seen.LatencyUS != nil {
			const perMillisecond = 1000
			ms := float64(*seen.LatencyUS) / perMillisecond
			candidate.LatencyMS = &ms
		}
		in.Candidates[i] = candidate
	}
	return in, nil
}

// Price looks up a price that the decision looked up; asked is false where it did not.
func (r *Record) Price(providerType, model string) (price Price, asked bool) {
	for _, looked := range r.Prices {
		if looked.Type != providerType || looked.Model != model {
			continue
		}
		price = Price{Type: looked.Type, Model: looked.Model}
		if looked.Input != nil && looked.Output != nil {
			price.Input, price.Output, price.Known = *looked.Input, *looked.Output, true
		}
		return price, true
	}
	return Price{Type: providerType, Model: model}, false
}

// Replay makes the decision again. rules and fallback are those of the record's versions. agree is whether it comes out as
// it was recorded, bit for bit; difference says in a sentence what does not.
func (r *Record) Replay(rules Ruleset, fallback Fallback, providers Providers) (decision Decision, agree bool, difference string) {
	if r.Version != recordVersion {
		return decision, false, fmt.Sprintf("the decision was made by version %d of the routing rules, and this program has version %d", r.Version, recordVersion)
	}
	in, err := r.Input(rules, fallback, providers)
	if err != nil {
		return decision, false, err.Error()
	}
	var missing string
	decision = Decide(in, func(providerType, model string) (input, output int64, ok bool) {
		price, asked := r.Price(providerType, model)
		if !asked && missing == "" {
			missing = fmt.Sprintf("it now needs the price of %s %s, which was not looked up then", providerType, strconv.Quote(model))
		}
		return price.Input, price.Output, price.Known
	})
	if missing != "" {
		return decision, false, missing
	}
	if len(decision.Prices) != len(r.Prices) {
		return decision, false, fmt.Sprintf("%d prices were looked up then, %d now", len(r.Prices), len(decision.Prices))
	}
	difference = r.Result.difference(resultOf(decision))
	return decision, difference == "", difference
}

// difference says where two results differ, this one being what was recorded; empty where they don't.
func (r Result) difference(now Result) string {
	for _, part := range []struct {
		name      string
		then, now any
	}{
		{"rule", r.MatchedRule, now.MatchedRule},
		{"trace", r.Trace, now.Trace},
		{"plan", r.Plan, now.Plan},
		{"fallback_used", r.FallbackUsed, now.FallbackUsed},
	} {
		then, errThen := json.Marshal(part.then)
		again, errNow := json.Marshal(part.now)
		if errThen != nil || errNow != nil || !bytes.Equal(then, again) {
			return fmt.Sprintf("%s was %s and is now %s", part.name, then, again)
		}
	}
	return ""
}
