package routing_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/archonhq/archon/domain/routing"
)

// randomInput makes any situation that the rules allow, and some that they don't.
func randomInput(random *rand.Rand) routing.Input {
	models := []string{"", "gpt", "claude", "gpt-mini", "text-embed", "llama"}
	in := routing.Input{
		RulesVersion: random.Int64N(9), FallbackVersion: random.Int64N(9), Draw: random.Uint64(), Fallback: routing.DefaultFallback(),
		Request: routing.Request{
			Model: oneOf(random, models...), Needs: some(random, routing.Capabilities()...), PromptTokens: random.Int64N(20_000),
			DepartmentID: oneOf(random, "", "d-1", "d-2"),
		},
	}
	if random.IntN(3) == 0 {
		in.Request.MaxCostPer1k = new(random.Int64N(4_000_000))
	}
	if random.IntN(3) == 0 {
		in.Request.MaxLatencyMS = new(random.Int64N(1000))
	}
	provider := func() string { return fmt.Sprintf("p-%d", random.IntN(8)) }
	for i := range random.IntN(8) {
		candidate := routing.Candidate{
			ProviderID: fmt.Sprintf("p-%d", i), Version: random.Int64N(50), Name: oneOf(random, "x", "y", "z"), Type: oneOf(random, "openai", "ollama"),
			Enabled: random.IntN(5) > 0, Models: some(random, models[1:]...), Health: oneOf(random, "healthy", "unhealthy", "unknown", ""),
			Breaker: oneOf(random, "", routing.Closed, routing.Closed, routing.Open, routing.HalfOpen, routing.RateLimited, routing.Dead),
		}
		candidate.Capabilities = routing.Capabilities()
		if random.IntN(3) == 0 {
			candidate.Capabilities = some(random, routing.Capabilities()...)
		}
		if random.IntN(3) > 0 {
			candidate.LatencyMS = new(random.Float64() * 1000)
		}
		in.Candidates = append(in.Candidates, candidate)
	}
	for i := range random.IntN(5) {
		r := routing.Rule{ID: fmt.Sprintf("r-%d", i), Name: oneOf(random, "m", "n"), Priority: random.Int64N(3), IsEnabled: random.IntN(4) > 0}
		for range random.IntN(3) {
			r.Conditions = append(r.Conditions, is(oneOf(random, routing.Fields()...), oneOf(random, routing.Operators()...), oneOf(random, `"vision"`, `"gpt"`, `0.002`, `["d-1","gpt"]`, `500`, `"^g"`)))
		}
		r.Action.Type = oneOf(random, routing.ActionTypes()...)
		for range 1 + random.IntN(4) {
			r.Action.Targets = append(r.Action.Targets, routing.Target{ProviderID: provider(), Weight: routing.Weight(random.Int64N(3)) * routing.One, Model: oneOf(random, "", "", "gpt")})
		}
		in.Rules.Rules = append(in.Rules.Rules, r)
	}
	if random.IntN(2) == 0 {
		in.Rules.Default = &routing.Default{ProviderID: provider()}
	}
	for range random.IntN(4) {
		in.Fallback.Chain = append(in.Fallback.Chain, routing.Entry{ProviderID: provider(), Priority: random.Int64N(3), Model: oneOf(random, "", "claude")})
	}
	return in
}

func oneOf[T any](random *rand.Rand, items ...T) T { return items[random.IntN(len(items))] }

func some(random *rand.Rand, items ...string) (list []string) {
	for _, item := range items {
		if random.IntN(4) == 0 {
			list = append(list, item)
		}
	}
	return list
}

// configuredOf looks providers up in an input, as the log would.
func configuredOf(in routing.Input) routing.Providers {
	return func(id string, version int64) (routing.Configured, bool) {
		for _, c := range in.Candidates {
			if c.ProviderID == id && c.Version == version {
				return routing.Configured{Name: c.Name, Type: c.Type, Enabled: c.Enabled, Models: c.Models, Capabilities: c.Capabilities}, true
			}
		}
		return routing.Configured{}, false
	}
}
