package httpx_test

import (
	"context"

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
