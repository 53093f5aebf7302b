package readapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
)

// History is the part of the event store that answers what things looked like at a time.
type History interface {
	PositionAt(ctx context.Context, tenant string, at time.Time) (int64, error)
	LoadUntil(ctx context.Context, tenant, stream string, position int64) ([]eventstore.Recorded, error)
	Decode(eventType string, data []byte) (eventstore.Typed, error)
}

// listAsOf folds every provider that has ever been, as it was at the time, and pages over those that were there.
func (p *Providers) listAsOf(ctx context.Context, tenant string, request api.ListProvidersRequestObject) (api.ListProvidersResponseObject, error) {
	var after providerCursor
	page, err := pageOf("providers", request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	position, err := p.History.PositionAt(ctx, tenant, *request.Params.AsOf)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	ids, err := query[struct{ ID uuid.UUID }](ctx, p.Database, tenant,
		`select id from model_providers where tenant_id = $1 and created_at <= $2`, *request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	list := []api.Provider{}
	for _, row := range ids {
		provider, found, err := p.fold(ctx, tenant, row.ID.String(), position, *request.Params.AsOf)
		if err != nil {
			return nil, err
		}
		if found && providerOrder(provider, after.Name, after.ID.String()) > 0 {
			list = append(list, provider)
		}
	}
	slices.SortFunc(list, func(a, b api.Provider) int { return providerOrder(a, b.Name, b.ID) })
	list, err = cut(&page, list, func(last api.Provider) any { return providerCursor{Name: last.Name, ID: uuid.MustParse(last.ID)} })
	if err != nil {
		return nil, err
	}
	return api.ListProviders200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

// providerOrder compares by name, then id.
func providerOrder(provider api.Provider, name, id string) int {
	if order := strings.Compare(provider.Name, name); order != 0 {
		return order
	}
	return strings.Compare(provider.ID, id)
}

func (p *Providers) providerAsOf(ctx context.Context, tenant, id string, at time.Time) (api.Provider, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return api.Provider{}, providers.ErrNotFound
	}
	position, err := p.History.PositionAt(ctx, tenant, at)
	if err != nil {
		return api.Provider{}, err //nolint:wrapcheck // the store's errors are part of the API
	}
	provider, found, err := p.fold(ctx, tenant, parsed.String(), position, at)
	if err == nil && !found {
		err = providers.ErrNotFound
	}
	return provider, err
}

// fold is a provider as it was at a position, with the same decider that decides about it; found is false where it was
// not there.
func (p *Providers) fold(ctx context.Context, tenant, id string, position int64, at time.Time) (provider api.Provider, found bool, err error) {
	state, recorded, err := foldStream(ctx, p.History, tenant, providers.Stream(id), position, providers.Decider())
	if err != nil || !state.Exists() {
		return api.Provider{}, false, err
	}
	calls := callCounts{}
	probes := providers.Health{}
	health, err := p.History.LoadUntil(ctx, tenant, providers.HealthStream(id), position)
	if err != nil {
		return api.Provider{}, false, err //nolint:wrapcheck // says which stream
	}
	for i := range health {
		event, err := p.History.Decode(health[i].Type, health[i].Data)
		if err != nil {
			return api.Provider{}, false, fmt.Errorf("fold the health of %s: %w", id, err)
		}
		probes = providers.HealthDecider().Evolve(probes, event)
		if sample, ok := event.(providers.Sampled); ok && sample.From.Truncate(recentSlot).After(at.Add(-providers.StatusWindow)) {
			calls.requests += sample.Requests
			calls.errors += sample.Errors
			calls.latency.Merge(&sample.Latency)
		}
	}
	row := providerRow{
		ID: uuid.MustParse(id), Name: state.Config.Name, Type: string(state.Config.Type), BaseURL: state.Config.BaseURL,
		VaultPath: state.Secret.VaultPath, IsEnabled: state.Config.IsEnabled, RateLimitRPM: state.Config.RateLimitRPM,
		RateLimitTPM: state.Config.RateLimitTPM, SupportedModels: state.Config.SupportedModels, CustomHeaders: state.Config.CustomHeaders,
		Capabilities: api.CapabilitiesOf(state.Config.Capabilities), Version: int64(len(recorded)), CreatedAt: recorded[0].Time(),
	}
	if probes.Tested {
		row.OK, row.Failures = &probes.OK, &probes.Failures
	}
	return row.provider(calls), true, nil
}

// foldStream folds a stream up to a position.
func foldStream[S, C any](ctx context.Context, history History, tenant, stream string, position int64, decider domain.Decider[S, C]) (S, []eventstore.Recorded, error) {
	var state S
	events, err := history.LoadUntil(ctx, tenant, stream, position)
	if err != nil {
		return state, nil, err //nolint:wrapcheck // says which stream
	}
	for i := range events {
		event, err := history.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return state, nil, fmt.Errorf("fold %s: %w", stream, err)
		}
		state = decider.Evolve(state, event)
	}
	return state, events, nil
}
