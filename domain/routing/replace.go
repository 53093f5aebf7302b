package routing

import "github.com/archonhq/archon/domain"

// ReplaceRules makes these the tenant's rules. Rules that had no id have been given one.
type ReplaceRules struct {
	Tenant  string
	Ruleset Ruleset
	// Exists tells which providers are there to be named, as of the versions of their streams that the append expects.
	Exists func(providerID string) bool
}

// ReplaceFallback makes this the tenant's fallback chain.
type ReplaceFallback struct {
	Tenant   string
	Fallback Fallback
	// Exists: see ReplaceRules.
	Exists func(providerID string) bool
}

// RulesDecider is the behaviour of a tenant's rules: replaced as a whole, where anything differs.
func RulesDecider() domain.Decider[Ruleset, ReplaceRules] {
	return domain.Decider[Ruleset, ReplaceRules]{
		Decide: func(state Ruleset, c ReplaceRules) ([]domain.To, error) {
			if err := c.Ruleset.Problem(c.Exists); err != nil {
				return nil, err
			}
			after := c.Ruleset.Shown()
			if same(state.Shown(), after) {
				return nil, nil
			}
			return []domain.To{{Stream: RulesetStream(c.Tenant), Event: RulesetReplaced{after}}}, nil
		},
		Evolve: func(state Ruleset, event domain.Event) Ruleset {
			if e, ok := event.(RulesetReplaced); ok {
				return e.Ruleset
			}
			return state
		},
	}
}

// FallbackState is a tenant's fallback chain as decisions know it; see Current.
type FallbackState struct {
	fallback *Fallback
}

// Current is the chain, or the default one where none was ever set.
func (s FallbackState) Current() Fallback {
	if s.fallback == nil {
		return DefaultFallback()
	}
	return *s.fallback
}

// FallbackDecider is the behaviour of a tenant's fallback chain: replaced as a whole, where anything differs.
func FallbackDecider() domain.Decider[FallbackState, ReplaceFallback] {
	return domain.Decider[FallbackState, ReplaceFallback]{
		Decide: func(state FallbackState, c ReplaceFallback) ([]domain.To, error) {
			if err := c.Fallback.Problem(c.Exists); err != nil {
				return nil, err
			}
			after := c.Fallback.normalised()
			if same(state.Current(), after) {
				return nil, nil
			}
			return []domain.To{{Stream: FallbackStream(c.Tenant), Event: FallbackReplaced{after}}}, nil
		},
		Evolve: func(state FallbackState, event domain.Event) FallbackState {
			if e, ok := event.(FallbackReplaced); ok {
				return FallbackState{fallback: &e.Fallback}
			}
			return state
		},
	}
}
