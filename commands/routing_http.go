package commands

import (
	"context"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/internal/httpx"
)

// routingTables are the projections that show rules and chain, and the audit trail.
var routingTables = []string{"routing", "audit_index"} //nolint:gochecknoglobals // a constant list

// ReplaceRoutingRules implements api.StrictServerInterface.
func (r *Routing) ReplaceRoutingRules(ctx context.Context, request api.ReplaceRoutingRulesRequestObject) (api.ReplaceRoutingRulesResponseObject, error) {
	ruleset, err := RulesetOf(request.Body)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := r.replaceRules(ctx, caller, ruleset)
	return finish(ctx, r.Handler, r.Reads, caller, done, err, routingTables...)
}

// ReplaceFallback implements api.StrictServerInterface.
func (r *Routing) ReplaceFallback(ctx context.Context, request api.ReplaceFallbackRequestObject) (api.ReplaceFallbackResponseObject, error) {
	caller := callerOf(ctx)
	done, err := r.replaceFallback(ctx, caller, fallbackOf(request.Body))
	return finish(ctx, r.Handler, r.Reads, caller, done, err, routingTables...)
}

// RulesetOf is a ruleset as a client sends it, with what it left out filled in, but for ids. What can't be read is a refusal
// that names the fields.
func RulesetOf(sent *api.ReplaceRoutingRules) (routing.Ruleset, error) {
	ruleset := routing.Ruleset{Rules: make([]routing.Rule, 0, len(sent.Rules))}
	wrong := map[string]any{}
	for i := range sent.Rules {
		rule := &sent.Rules[i]
		path := "rules." + strconv.Itoa(i)
		ruleset.Rules = append(ruleset.Rules, routing.Rule{
			ID: orZero(rule.ID), Name: rule.Name, Priority: rule.Priority, IsEnabled: orTrue(rule.IsEnabled),
			Conditions: conditionsOf(orNone(rule.Conditions), path+".conditions.", wrong),
			Action: routing.Action{
				Type: routing.ActionType(rule.Action.Type), Targets: targetsOf(rule.Action.Providers, path+".action.providers.", wrong),
			},
		})
	}
	if sent.DefaultRule != nil {
		ruleset.Default = &routing.Default{ProviderID: canonical(sent.DefaultRule.ProviderID)}
	}
	return ruleset, domain.InvalidFields("The rules are not valid.", wrong)
}

func conditionsOf(sent []api.RoutingCondition, path string, wrong map[string]any) []routing.Condition {
	conditions := make([]routing.Condition, len(sent))
	for i, condition := range sent {
		conditions[i] = routing.Condition{Field: routing.Field(condition.Field), Operator: routing.Operator(condition.Operator)}
		if err := conditions[i].Value.UnmarshalJSON(condition.Value); err != nil {
			wrong[path+strconv.Itoa(i)+".value"] = err.Error()
		}
	}
	return conditions
}

func targetsOf(sent []api.RoutingTarget, path string, wrong map[string]any) []routing.Target {
	targets := make([]routing.Target, len(sent))
	for i, target := range sent {
		targets[i] = routing.Target{ProviderID: canonical(target.ProviderID), Weight: routing.One, Model: orZero(target.Model)}
		if target.Weight == nil {
			continue
		}
		weight, err := routing.ParseWeight(target.Weight.String())
		if err != nil {
			wrong[path+strconv.Itoa(i)+".weight"] = err.Error()
		}
		targets[i].Weight = weight
	}
	return targets
}

func fallbackOf(sent *api.ReplaceFallback) routing.Fallback {
	fallback := routing.DefaultFallback()
	for _, entry := range sent.Chain {
		fallback.Chain = append(fallback.Chain, routing.Entry{
			ProviderID: canonical(entry.ProviderID), Name: orZero(entry.Name), Priority: entry.Priority, Model: orZero(entry.Model),
		})
	}
	if breaker := sent.CircuitBreaker; breaker != nil {
		set(&fallback.Breaker.FailureThreshold, breaker.FailureThreshold)
		set(&fallback.Breaker.CooldownSeconds, breaker.CooldownSeconds)
		set(&fallback.Breaker.HalfOpenMaxRequests, breaker.HalfOpenMaxRequests)
	}
	if sent.FailoverTriggers != nil {
		fallback.Triggers = []routing.Trigger{}
		for _, trigger := range *sent.FailoverTriggers {
			fallback.Triggers = append(fallback.Triggers, routing.Trigger(trigger))
		}
	}
	return fallback
}

// canonical is a provider's id as it stands in stream names; what is no UUID stays as it is, and is nobody's.
func canonical(sent string) string {
	id, err := uuid.Parse(sent)
	if err != nil {
		return sent
	}
	return id.String()
}

// routingResource names what a write to a tenant's rules or its chain is about, of which it has one each; empty for any other
// request.
func routingResource(request *httpx.Request) (resourceType, id string) {
	switch {
	case strings.HasPrefix(request.Path, "/api/v1/router/rules"):
		return "ruleset", routing.RulesetID(request.Principal.Tenant)
	case strings.HasPrefix(request.Path, "/api/v1/router/fallback"):
		return "fallback", routing.FallbackID(request.Principal.Tenant)
	}
	return "", ""
}
