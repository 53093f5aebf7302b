package httpx_test

import (
	"context"

	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/api"
)

func (h *handlers) ListKeys(ctx context.Context, _ api.ListKeysRequestObject) (api.ListKeysResponseObject, error) {
	return nil, h.arrive(ctx, "listKeys")
}

func (h *handlers) GetKey(ctx context.Context, _ api.GetKeyRequestObject) (api.GetKeyResponseObject, error) {
	return nil, h.arrive(ctx, "getKey")
}

func (h *handlers) CreateKey(ctx context.Context, _ api.CreateKeyRequestObject) (api.CreateKeyResponseObject, error) {
	return h.written(ctx, "createKey")
}

func (h *handlers) RevokeKey(ctx context.Context, _ api.RevokeKeyRequestObject) (api.RevokeKeyResponseObject, error) {
	return h.written(ctx, "revokeKey")
}

func (h *handlers) ListPrices(ctx context.Context, _ api.ListPricesRequestObject) (api.ListPricesResponseObject, error) {
	return nil, h.arrive(ctx, "listPrices")
}

func (h *handlers) OverridePrices(ctx context.Context, _ api.OverridePricesRequestObject) (api.OverridePricesResponseObject, error) {
	return h.written(ctx, "overridePrices")
}

func (h *handlers) RepriceCalls(ctx context.Context, _ api.RepriceCallsRequestObject) (api.RepriceCallsResponseObject, error) {
	return h.written(ctx, "repriceCalls")
}

func (h *handlers) GetRepricing(ctx context.Context, _ api.GetRepricingRequestObject) (api.GetRepricingResponseObject, error) {
	return nil, h.arrive(ctx, "getRepricing")
}

func (h *handlers) ListAlerts(ctx context.Context, _ api.ListAlertsRequestObject) (api.ListAlertsResponseObject, error) {
	return nil, h.arrive(ctx, "listAlerts")
}

func (h *handlers) GetCostDashboard(ctx context.Context, _ api.GetCostDashboardRequestObject) (api.GetCostDashboardResponseObject, error) {
	return nil, h.arrive(ctx, "getCostDashboard")
}

func (h *handlers) GetCostBreakdown(ctx context.Context, _ api.GetCostBreakdownRequestObject) (api.GetCostBreakdownResponseObject, error) {
	return nil, h.arrive(ctx, "getCostBreakdown")
}

func (h *handlers) GetCostForecast(ctx context.Context, _ api.GetCostForecastRequestObject) (api.GetCostForecastResponseObject, error) {
	return nil, h.arrive(ctx, "getCostForecast")
}

// streams are the handlers of what has no generated route.
func (h *handlers) streams() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"exportCosts": func(c echo.Context) error { return h.arrive(c.Request().Context(), "exportCosts") },
	}
}
