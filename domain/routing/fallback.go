package routing

import (
	"cmp"
	"slices"
)

// Fallback is where calls go when the provider that was chosen can't serve them, and when a provider counts as such.
// Its JSON is that of the API and of the event.
type Fallback struct {
	Chain    []Entry   `json:"chain"`
	Breaker  Breaker   `json:"circuit_breaker"`
	Triggers []Trigger `json:"failover_triggers"`
}

// Entry is one provider of the chain.
type Entry struct {
	ProviderID string `json:"provider_id"`
	// Name is what the entry is called; the provider's name where none was sent.
	Name string `json:"name"`
	// Priority orders the chain: the lowest number is tried first, equal ones in the order of the list.
	Priority int64 `json:"priority"`
	// Model, where set, goes upstream whatever was asked for.
	Model string `json:"model,omitempty"`
}

// Breaker says when a provider is left alone and for how long.
type Breaker struct {
	// FailureThreshold is how many failures within a minute open the breaker.
	FailureThreshold int `json:"failure_threshold"`
	// CooldownSeconds is how long it stays open.
	CooldownSeconds int `json:"cooldown_seconds"`
	// HalfOpenMaxRequests is how many calls then try the provider at once.
	HalfOpenMaxRequests int `json:"half_open_max_requests"`
}

// Trigger is a failure that sends a call down the chain.
type Trigger string

// The triggers of a failover.
const (
	OnTimeout       Trigger = "timeout"
	OnRateLimit     Trigger = "rate_limit"
	OnServerError   Trigger = "server_error"
	OnContentPolicy Trigger = "content_policy"
)

// Triggers lists the triggers in the order in which they are shown.
func Triggers() []Trigger {
	return []Trigger{OnTimeout, OnRateLimit, OnServerError, OnContentPolicy}
}

// DefaultFallback is what holds until a tenant has said otherwise.
func DefaultFallback() Fallback {
	const failures, seconds, requests = 5, 60, 3
	return Fallback{
		Chain:    []Entry{},
		Breaker:  Breaker{FailureThreshold: failures, CooldownSeconds: seconds, HalfOpenMaxRequests: requests},
		Triggers: []Trigger{OnTimeout, OnRateLimit, OnServerError},
	}
}

// Names lists the providers of the chain, each once, in the order of first mention.
func (f Fallback) Names() []string {
	var list names
	for _, entry := range f.Chain {
		list.add(entry.ProviderID)
	}
	return list
}

// ordered is the chain in the order in which it is tried.
func (f Fallback) ordered() []Entry {
	byPriority := func(a, b Entry) int { return cmp.Compare(a.Priority, b.Priority) }
	if slices.IsSortedFunc(f.Chain, byPriority) {
		return f.Chain
	}
	chain := slices.Clone(f.Chain)
	slices.SortStableFunc(chain, byPriority)
	return chain
}

// normalised is the form in which a chain is stored: lists that are never null.
func (f Fallback) normalised() Fallback {
	f.Chain = append([]Entry{}, f.Chain...)
	f.Triggers = append([]Trigger{}, f.Triggers...)
	return f
}
