package httpx_test

import (
	"context"

	"github.com/archonhq/archon/api"
)

func (h *handlers) TryRoute(ctx context.Context, _ api.TryRouteRequestObject) (api.TryRouteResponseObject, error) {
	return h.written(ctx, "tryRoute")
}

func (h *handlers) Route(ctx context.Context, _ api.RouteRequestObject) (api.RouteResponseObject, error) {
	return h.written(ctx, "route")
}
