package readapi

import (
	"context"
	"math"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/internal/httpx"
)

// CostSettings answers what a tenant has decided about its costs. It reads the log itself: there is one short stream.
type CostSettings struct {
	History History
}

// GetCostSettings implements api.StrictServerInterface.
func (c *CostSettings) GetCostSettings(ctx context.Context, request api.GetCostSettingsRequestObject) (api.GetCostSettingsResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	position := int64(math.MaxInt64)
	if request.Params.AsOf != nil {
		var err error
		if position, err = c.History.PositionAt(ctx, tenant, *request.Params.AsOf); err != nil {
			return nil, err //nolint:wrapcheck // the store's errors are part of the API
		}
	}
	state, events, err := foldStream(ctx, c.History, tenant, costsettings.Stream, position, costsettings.Decider())
	if err != nil {
		return nil, err
	}
	settings, version := state.Current(), int64(len(events))
	shown, etag := api.CostSettings{TimeZone: settings.TimeZone, Version: version}, httpx.ETag(version)
	if settings.Webhook != nil {
		shown.AlertWebhookURL = &settings.Webhook.URL
	}
	return api.GetCostSettings200JSONResponse{
		Body:    api.CostSettingsEnvelope{Data: shown, Meta: httpx.Meta(ctx)},
		Headers: api.GetCostSettings200ResponseHeaders{ETag: &etag},
	}, nil
}
