package routing

import "math"

// Input is everything that a decision rests on, but for prices.
type Input struct {
	Rules Ruleset
	// RulesVersion and FallbackVersion are the versions of their streams; 0 where none was ever set.
	RulesVersion    int64
	Fallback        Fallback
	FallbackVersion int64
	// Candidates are the tenant's providers, in any order, each once.
	Candidates []Candidate
	Request    Request
	// Draw is a uniformly random number: the decision's only chance.
	Draw uint64
}

// Candidate is a provider as it is at the moment of the call.
type Candidate struct {
	ProviderID string
	// Version is that of the provider's stream: it stands for everything that is configuration.
	Version int64
	Name    string
	Type    string
	Enabled bool
	// Models are those that it serves; none stands for whichever is asked for.
	Models       []string
	Capabilities []string
	// Health is healthy, degraded, unhealthy or unknown.
	Health string
	// Breaker is closed (or empty), open, half_open, rate_limited or dead.
	Breaker string
	// LatencyMS is the median time to first token; nil: never seen. It counts in whole microseconds.
	LatencyMS *float64
}

// Request is what of a call matters to routing.
type Request struct {
	// Model is the one that the call asks for; empty leaves it to the provider.
	Model string
	// Needs are the capabilities that the call needs.
	Needs        []string
	DepartmentID string
	// PromptTokens is how long the prompt is, or is estimated to be.
	PromptTokens int64
	// MaxCostPer1k is the most that 1,000 input tokens may cost, in nano-USD; nil: any price.
	MaxCostPer1k *int64
	// MaxLatencyMS is the longest median time to first token, in milliseconds; nil: any.
	MaxLatencyMS *int64
}

// Prices looks up what a model costs, in units of 10⁻¹⁰ USD per million tokens; ok is false where it has no price.
type Prices func(providerType, model string) (input, output int64, ok bool)

// The breaker states of a candidate.
const (
	Closed      = "closed"
	Open        = "open"
	HalfOpen    = "half_open"
	RateLimited = "rate_limited"
	Dead        = "dead"
)

// healthy and unhealthy are the two words of health that this package looks for.
const (
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// unseen stands for the latency of a provider that has none yet.
const unseen = -1

// latencyUS is the latency in whole microseconds, unseen where there is none that makes sense.
func (c *Candidate) latencyUS() int64 {
	const perMillisecond, longest = 1000, 1e12
	if c.LatencyMS == nil {
		return unseen
	}
	us := math.Round(*c.LatencyMS * perMillisecond)
	if math.IsNaN(us) || us < 0 {
		return unseen
	}
	return int64(min(us, longest))
}
