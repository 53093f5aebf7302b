package routing

import (
	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// RulesetReplaced says that these are the rules from now on, all of them.
type RulesetReplaced struct {
	Ruleset
}

// FallbackReplaced says that this is the fallback chain from now on, all of it.
type FallbackReplaced struct {
	Fallback
}

// EventType implements domain.Event.
func (RulesetReplaced) EventType() string { return "routing.ruleset_replaced.v1" }

// EventType implements domain.Event.
func (FallbackReplaced) EventType() string { return "routing.fallback_replaced.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{RulesetReplaced{}, FallbackReplaced{}} }

// Prefixes of this context's streams.
const (
	RulesetStreamPrefix  = "ruleset-"
	FallbackStreamPrefix = "fallback-"
)

// nameSpace is the UUID namespace of a tenant's ruleset and chain; it must never change.
var nameSpace = uuid.MustParse("b5a5b3f0-6c0e-5d5b-9b0a-0c6e4a1f7d21")

// RulesetStream is the stream of a tenant's rules.
func RulesetStream(tenant string) string { return RulesetStreamPrefix + RulesetID(tenant) }

// FallbackStream is the stream of a tenant's fallback chain.
func FallbackStream(tenant string) string { return FallbackStreamPrefix + FallbackID(tenant) }

// RulesetID is the id of a tenant's one ruleset.
func RulesetID(tenant string) string {
	return uuid.NewSHA1(nameSpace, []byte("ruleset/"+tenant)).String()
}

// FallbackID is the id of a tenant's one fallback chain.
func FallbackID(tenant string) string {
	return uuid.NewSHA1(nameSpace, []byte("fallback/"+tenant)).String()
}
