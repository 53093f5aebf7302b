package httpx_test

import (
	"context"

	"github.com/archonhq/archon/api"
)

func (h *handlers) ListDepartments(ctx context.Context, _ api.ListDepartmentsRequestObject) (api.ListDepartmentsResponseObject, error) {
	return nil, h.arrive(ctx, "listDepartments")
}

func (h *handlers) GetDepartment(ctx context.Context, _ api.GetDepartmentRequestObject) (api.GetDepartmentResponseObject, error) {
	return nil, h.arrive(ctx, "getDepartment")
}

func (h *handlers) CreateDepartment(ctx context.Context, _ api.CreateDepartmentRequestObject) (api.CreateDepartmentResponseObject, error) {
	return h.written(ctx, "createDepartment")
}

func (h *handlers) RenameDepartment(ctx context.Context, _ api.RenameDepartmentRequestObject) (api.RenameDepartmentResponseObject, error) {
	return h.written(ctx, "renameDepartment")
}

func (h *handlers) GetCostSettings(ctx context.Context, _ api.GetCostSettingsRequestObject) (api.GetCostSettingsResponseObject, error) {
	return nil, h.arrive(ctx, "getCostSettings")
}

func (h *handlers) ReplaceCostSettings(ctx context.Context, _ api.ReplaceCostSettingsRequestObject) (api.ReplaceCostSettingsResponseObject, error) {
	return h.written(ctx, "replaceCostSettings")
}
