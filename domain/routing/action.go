package routing

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

const (
	// AssumedOutputTokens is how long an answer is taken to be when prices are compared before it is there: the price of input
	// counts by the prompt's length, so a long prompt makes the price of input matter more.
	AssumedOutputTokens = 256
	// exploreOneIn is the share of calls that least_latency gives to providers that were never seen, all of them together.
	exploreOneIn = 20
)

// act considers an action's providers and chooses. passed has why each was passed over, empty for the one that is chosen.
func (d *decider) act(action Action) (options []option, passed []Reason) {
	options = make([]option, len(action.Targets))
	for i, target := range action.Targets {
		options[i] = d.option(target)
	}
	passed = make([]Reason, len(options))
	d.decision.Scores = make([]Score, len(options))
	for i := range options {
		passed[i] = d.unfit(action.Type, &options[i])
		d.decision.Scores[i] = d.score(action.Type, &options[i])
	}
	preferHealthy(options, passed)
	chosen := d.choose(action.Type, passed)
	for i := range passed {
		if passed[i] == "" && i != chosen {
			passed[i] = action.Type.instead()
		}
	}
	return options, passed
}

// unfit is why an action can't choose an option at all.
func (d *decider) unfit(action ActionType, o *option) Reason {
	switch {
	case o.can() && action == WeightedRandom && o.target.Weight <= 0:
		return NoWeight
	default:
		return o.obstacle()
	}
}

func (d *decider) score(action ActionType, o *option) Score {
	score := Score{ProviderID: o.target.ProviderID, Model: o.model, Weight: o.target.Weight, LatencyUS: unseen, Cost: unpriced}
	if o.candidate == nil {
		return score
	}
	score.LatencyUS = o.candidate.latencyUS()
	if action == LeastCost && o.can() {
		if price := d.price(o.candidate.Type, o.model); price.Known {
			score.Cost = Estimate(price, d.request.PromptTokens, d.outputTokens())
		}
	}
	return score
}

// outputTokens is how long the answer is taken to be: embeddings have none.
func (d *decider) outputTokens() int64 {
	if slices.Contains(d.request.Needs, "embeddings") {
		return 0
	}
	return AssumedOutputTokens
}

// preferHealthy passes over the unhealthy ones where another one is left.
func preferHealthy(options []option, passed []Reason) {
	isLeft := func(wanted bool) bool {
		for i := range options {
			if passed[i] == "" && (options[i].candidate.Health == unhealthy) == wanted {
				return true
			}
		}
		return false
	}
	if !isLeft(false) {
		return
	}
	for i := range options {
		if passed[i] == "" && options[i].candidate.Health == unhealthy {
			passed[i] = IsUnhealthy
		}
	}
}

// choose is the index of the option that an action takes among those that are left, -1 where none is.
func (d *decider) choose(action ActionType, passed []Reason) int {
	var left []int
	for i := range passed {
		if passed[i] == "" {
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		return -1
	}
	scores := d.decision.Scores
	switch action {
	case Direct:
	case WeightedRandom:
		return d.drawn(left)
	case LeastLatency:
		return d.fastest(left)
	case LeastCost:
		return slices.MinFunc(left, func(a, b int) int { return cmp.Compare(orLast(scores[a].Cost), orLast(scores[b].Cost)) })
	}
	return left[0]
}

// drawn takes one in proportion to the weights, all of which are above 0.
func (d *decider) drawn(left []int) int {
	weight := func(i int) uint64 { return uint64(max(d.decision.Scores[i].Weight, 0)) }
	var sum uint64
	for _, i := range left {
		sum += weight(i)
	}
	at := below(d.draw, sum)
	for _, i := range left {
		if at < weight(i) {
			return i
		}
		at -= weight(i)
	}
	return left[len(left)-1]
}

// fastest takes the one with the lowest latency, but one that was never seen in one of exploreOneIn calls. Where none was
// seen, all have the same share.
func (d *decider) fastest(left []int) int {
	scores := d.decision.Scores
	var newcomers []int
	for _, i := range left {
		if scores[i].LatencyUS == unseen {
			newcomers = append(newcomers, i)
		}
	}
	shares := uint64(len(newcomers))
	if len(newcomers) < len(left) {
		shares *= exploreOneIn
	}
	if shares > 0 {
		if at := below(d.draw, shares); at < uint64(len(newcomers)) {
			return newcomers[at]
		}
	}
	return slices.MinFunc(left, func(a, b int) int { return cmp.Compare(orLast(scores[a].LatencyUS), orLast(scores[b].LatencyUS)) })
}

// firstFree is passed for a list of which the first one that is free is taken.
func firstFree(options []option) []Reason {
	passed := make([]Reason, len(options))
	taken := false
	for i := range options {
		passed[i] = options[i].obstacle()
		if passed[i] != "" {
			continue
		}
		if taken {
			passed[i] = Later
		}
		taken = true
	}
	return passed
}

// instead is why an action did not take one that it could have taken.
func (t ActionType) instead() Reason {
	switch t {
	case WeightedRandom:
		return NotDrawn
	case LeastLatency:
		return Slower
	case LeastCost:
		return Dearer
	case Direct:
		return Later
	}
	return Later
}

// below scales a uniformly random number to 0 ≤ x < n.
func below(draw, n uint64) uint64 {
	scaled, _ := bits.Mul64(draw, n)
	return scaled
}

// orLast orders what is not known, which is negative, behind everything.
func orLast(value int64) int64 {
	if value < 0 {
		return math.MaxInt64
	}
	return value
}

// unpriced stands for the cost of what has no price.
const unpriced = -1

// Estimate is what a call would cost, in units of 10⁻¹⁰ USD, rounded down; what is beyond int64 is its maximum.
func Estimate(price Price, promptTokens, outputTokens int64) int64 {
	const perMillion = 1_000_000
	high, low := bits.Mul64(uint64(max(price.Input, 0)), uint64(max(promptTokens, 0)))
	high2, low2 := bits.Mul64(uint64(max(price.Output, 0)), uint64(max(outputTokens, 0)))
	low, carry := bits.Add64(low, low2, 0)
	high, carry = bits.Add64(high, high2, carry)
	if carry > 0 || high >= perMillion {
		return math.MaxInt64
	}
	cost, _ := bits.Div64(high, low, perMillion)
	return int64(min(cost, math.MaxInt64))
}
