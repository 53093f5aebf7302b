package httpx_test

import (
	"context"

	"github.com/archonhq/archon/api"
)

func (h *handlers) ListBudgets(ctx context.Context, _ api.ListBudgetsRequestObject) (api.ListBudgetsResponseObject, error) {
	return nil, h.arrive(ctx, "listBudgets")
}

func (h *handlers) GetDepartmentBudget(ctx context.Context, _ api.GetDepartmentBudgetRequestObject) (api.GetDepartmentBudgetResponseObject, error) {
	return nil, h.arrive(ctx, "getDepartmentBudget")
}

func (h *handlers) PutDepartmentBudget(ctx context.Context, _ api.PutDepartmentBudgetRequestObject) (api.PutDepartmentBudgetResponseObject, error) {
	return h.written(ctx, "putDepartmentBudget")
}

func (h *handlers) DeleteDepartmentBudget(ctx context.Context, _ api.DeleteDepartmentBudgetRequestObject) (api.DeleteDepartmentBudgetResponseObject, error) {
	return h.written(ctx, "deleteDepartmentBudget")
}

func (h *handlers) GetBudget(ctx context.Context, _ api.GetBudgetRequestObject) (api.GetBudgetResponseObject, error) {
	return nil, h.arrive(ctx, "getBudget")
}

func (h *handlers) PutBudget(ctx context.Context, _ api.PutBudgetRequestObject) (api.PutBudgetResponseObject, error) {
	return h.written(ctx, "putBudget")
}

func (h *handlers) DeleteBudget(ctx context.Context, _ api.DeleteBudgetRequestObject) (api.DeleteBudgetResponseObject, error) {
	return h.written(ctx, "deleteBudget")
}
