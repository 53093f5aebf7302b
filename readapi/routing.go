package readapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/internal/httpx"
)

// Routing answers what a tenant's rules and its fallback chain are.
type Routing struct {
	Database Database
	History  History
}

// GetRoutingRules implements api.StrictServerInterface.
func (r *Routing) GetRoutingRules(ctx context.Context, request api.GetRoutingRulesRequestObject) (api.GetRoutingRulesResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	ruleset, version, err := r.rules(ctx, tenant, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	shown, err := shownAs[api.RoutingRules](ruleset.Shown())
	if err != nil {
		return nil, err
	}
	etag := httpx.ETag(version)
	return api.GetRoutingRules200JSONResponse{
		Body:    api.RoutingRulesEnvelope{Data: shown, Meta: httpx.Meta(ctx)},
		Headers: api.GetRoutingRules200ResponseHeaders{ETag: &etag},
	}, nil
}

// GetFallback implements api.StrictServerInterface.
func (r *Routing) GetFallback(ctx context.Context, request api.GetFallbackRequestObject) (api.GetFallbackResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	fallback, version, err := r.fallback(ctx, tenant, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	shown, err := shownAs[api.Fallback](fallback)
	if err != nil {
		return nil, err
	}
	etag := httpx.ETag(version)
	return api.GetFallback200JSONResponse{
		Body:    api.FallbackEnvelope{Data: shown, Meta: httpx.Meta(ctx)},
		Headers: api.GetFallback200ResponseHeaders{ETag: &etag},
	}, nil
}

// shownAs is a value of the domain in the API's type; their JSON is the same.
func shownAs[T any](value any) (shown T, err error) {
	encoded, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(encoded, &shown)
	}
	if err != nil {
		return shown, fmt.Errorf("show %T: %w", value, err)
	}
	return shown, nil
}

// rules are a tenant's rules with their version, at a moment where one is given.
func (r *Routing) rules(ctx context.Context, tenant string, asOf *time.Time) (routing.Ruleset, int64, error) {
	if asOf != nil {
		position, err := r.History.PositionAt(ctx, tenant, *asOf)
		if err != nil {
			return routing.Ruleset{}, 0, err //nolint:wrapcheck // the store's errors are part of the API
		}
		ruleset, events, err := foldStream(ctx, r.History, tenant, routing.RulesetStream(tenant), position, routing.RulesDecider())
		return ruleset, int64(len(events)), err
	}
	// One statement, so that rules and version belong together.
	rows, err := query[struct {
		Version int64
		Ruleset routing.Ruleset
	}](ctx, r.Database, tenant, `select s.version, jsonb_build_object('default_rule', s.default_rule, 'rules', coalesce((
			select jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name, 'priority', r.priority, 'conditions', r.conditions,
				'action', r.action, 'is_enabled', r.is_enabled) order by r.place)
			from routing_rules r where r.tenant_id = s.tenant_id), '[]'::jsonb)) as ruleset
		from routing_rulesets s where s.tenant_id = $1`)
	if err != nil || len(rows) == 0 {
		return routing.Ruleset{}, 0, err
	}
	return rows[0].Ruleset, rows[0].Version, nil
}

// fallback is a tenant's chain with its version, at a moment where one is given; the default one where none was set.
func (r *Routing) fallback(ctx context.Context, tenant string, asOf *time.Time) (routing.Fallback, int64, error) {
	if asOf != nil {
		position, err := r.History.PositionAt(ctx, tenant, *asOf)
		if err != nil {
			return routing.Fallback{}, 0, err //nolint:wrapcheck // the store's errors are part of the API
		}
		state, events, err := foldStream(ctx, r.History, tenant, routing.FallbackStream(tenant), position, routing.FallbackDecider())
		return state.Current(), int64(len(events)), err
	}
	rows, err := query[struct {
		Version  int64
		Fallback routing.Fallback
	}](ctx, r.Database, tenant, `select version, jsonb_build_object('chain', chain, 'circuit_breaker', circuit_breaker_config,
			'failover_triggers', failover_triggers) as fallback from fallback_chains where tenant_id = $1`)
	if err != nil || len(rows) == 0 {
		return routing.DefaultFallback(), 0, err
	}
	return rows[0].Fallback, rows[0].Version, nil
}
