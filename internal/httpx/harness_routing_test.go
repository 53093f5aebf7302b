package httpx_test

import (
	"context"

	"github.com/archonhq/archon/api"
)

func (h *handlers) GetRoutingRules(ctx context.Context, _ api.GetRoutingRulesRequestObject) (api.GetRoutingRulesResponseObject, error) {
	return nil, h.arrive(ctx, "getRoutingRules")
}

func (h *handlers) ReplaceRoutingRules(ctx context.Context, _ api.ReplaceRoutingRulesRequestObject) (api.ReplaceRoutingRulesResponseObject, error) {
	return h.written(ctx, "replaceRoutingRules")
}

func (h *handlers) GetFallback(ctx context.Context, _ api.GetFallbackRequestObject) (api.GetFallbackResponseObject, error) {
	return nil, h.arrive(ctx, "getFallback")
}

func (h *handlers) ReplaceFallback(ctx context.Context, _ api.ReplaceFallbackRequestObject) (api.ReplaceFallbackResponseObject, error) {
	return h.written(ctx, "replaceFallback")
}
