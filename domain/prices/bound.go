package prices

import "github.com/archonhq/archon/domain"

// UpperBound is what a call of so many prompt and output tokens costs at most, whichever buckets they turn out to be in,
// rounded up. It is what is set aside of a budget before a call.
func (p Price) UpperBound(prompt, output int64) Amount {
	rates := p.at(clamp(prompt))
	dearestIn := max(rates.Input, rates.CacheRead, rates.CacheWrite)
	dearestOut := max(rates.Output, rates.Reasoning)
	bound := Price{Rates: Rates{Input: dearestIn, Output: dearestOut}}.Cost(domain.Tokens{Input: prompt, Output: output})
	return bound + 1 // the cost was rounded half to even
}
