package projections

import (
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain/routing"
)

// RoutingName is the name of the projection of rules and fallback chains.
const RoutingName = "routing"

// Routing builds routing_rulesets, routing_rules and fallback_chains.
type Routing struct{}

var _ Rebuildable = Routing{}

// Name implements Projector.
func (Routing) Name() string { return RoutingName }

// Version implements Projector.
func (Routing) Version() int { return 1 }

// Tables implements Rebuildable.
func (Routing) Tables() []string {
	return []string{"routing_rulesets", "routing_rules", "fallback_chains"}
}

// Handles implements Projector.
func (Routing) Handles() []string {
	return []string{routing.RulesetReplaced{}.EventType(), routing.FallbackReplaced{}.EventType()}
}

// Project implements Projector. Each event is written, not the last one of a batch alone: a rule keeps the time at which it
// came, and whether it was gone in between must not depend on where batches end. There are few of them.
func (Routing) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		var err error
		switch payload := event.Payload.(type) {
		case routing.RulesetReplaced:
			err = rulesReplaced(event, payload.Ruleset, out)
		case routing.FallbackReplaced:
			err = fallbackReplaced(event, payload.Fallback, out)
		}
		if err != nil {
			return fmt.Errorf("project position %d: %w", event.Position, err)
		}
	}
	return nil
}

func rulesReplaced(event *Event, ruleset routing.Ruleset, out *Statements) error {
	rules, err := json.Marshal(ruleset.Shown().Rules)
	if err != nil {
		return fmt.Errorf("encode the rules: %w", err)
	}
	var defaultRule *string
	if ruleset.Default != nil {
		encoded, err := json.Marshal(ruleset.Default)
		if err != nil {
			return fmt.Errorf("encode the default rule: %w", err)
		}
		text := string(encoded)
		defaultRule = &text
	}
	out.Exec(`insert into routing_rulesets (tenant_id, version, default_rule, created_at, updated_at) values ($1, $2, $3::jsonb, $4, $4)
		on conflict (tenant_id) do update set version = excluded.version, default_rule = excluded.default_rule, updated_at = excluded.updated_at`,
		event.Tenant, event.Version, defaultRule, event.Time())
	out.Exec(`delete from routing_rules where tenant_id = $1
		and id not in (select r.value ->> 'id' from jsonb_array_elements($2::jsonb) as r)`, event.Tenant, string(rules))
	out.Exec(`insert into routing_rules (tenant_id, id, place, name, priority, conditions, action, is_enabled, created_at, updated_at)
		select $1, r.value ->> 'id', r.place - 1, r.value ->> 'name', (r.value ->> 'priority')::bigint, r.value -> 'conditions',
			r.value -> 'action', (r.value ->> 'is_enabled')::boolean, $3, $3
		from jsonb_array_elements($2::jsonb) with ordinality as r(value, place)
		on conflict (tenant_id, id) do update set place = excluded.place, name = excluded.name, priority = excluded.priority,
			conditions = excluded.conditions, action = excluded.action, is_enabled = excluded.is_enabled, updated_at = excluded.updated_at`,
		event.Tenant, string(rules), event.Time())
	return nil
}

func fallbackReplaced(event *Event, fallback routing.Fallback, out *Statements) error {
	encoded, err := json.Marshal(fallback)
	if err != nil {
		return fmt.Errorf("encode the chain: %w", err)
	}
	out.Exec(`insert into fallback_chains (tenant_id, id, chain, circuit_breaker_config, failover_triggers, version, created_at, updated_at)
		select $1, $2::uuid, f -> 'chain', f -> 'circuit_breaker', f -> 'failover_triggers', $4, $5, $5 from cast($3 as jsonb) as f
		on conflict (tenant_id) do update set chain = excluded.chain, circuit_breaker_config = excluded.circuit_breaker_config,
			failover_triggers = excluded.failover_triggers, version = excluded.version, updated_at = excluded.updated_at`,
		event.Tenant, routing.FallbackID(event.Tenant), string(encoded), event.Version, event.Time())
	return nil
}
