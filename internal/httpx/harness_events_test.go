package httpx_test

import (
	"context"

	"github.com/archonhq/archon/api"
)

func (h *handlers) ListEvents(ctx context.Context, _ api.ListEventsRequestObject) (api.ListEventsResponseObject, error) {
	return nil, h.arrive(ctx, "listEvents")
}

func (h *handlers) GetStream(ctx context.Context, _ api.GetStreamRequestObject) (api.GetStreamResponseObject, error) {
	return nil, h.arrive(ctx, "getStream")
}

func (h *handlers) GetStreamState(ctx context.Context, _ api.GetStreamStateRequestObject) (api.GetStreamStateResponseObject, error) {
	return nil, h.arrive(ctx, "getStreamState")
}

func (h *handlers) DiffStream(ctx context.Context, _ api.DiffStreamRequestObject) (api.DiffStreamResponseObject, error) {
	return nil, h.arrive(ctx, "diffStream")
}

func (h *handlers) CreateSocketTicket(ctx context.Context, _ api.CreateSocketTicketRequestObject) (api.CreateSocketTicketResponseObject, error) {
	return h.written(ctx, "createSocketTicket")
}
