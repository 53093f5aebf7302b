package readapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// foldBatch is how many events of a stream are in memory at once while it is folded.
const foldBatch = 500

// versionCursor is the version that a page of a stream goes on after.
type versionCursor struct {
	After int64 `json:"v"`
}

// GetStream implements api.StrictServerInterface.
func (e *Events) GetStream(ctx context.Context, request api.GetStreamRequestObject) (api.GetStreamResponseObject, error) {
	var cursor versionCursor
	page, err := pageOf("stream", request.Params.Limit, request.Params.Cursor, &cursor)
	if err != nil {
		return nil, err
	}
	events, err := e.Log.LoadSome(ctx, httpx.From(ctx).Principal.Tenant, request.Stream, cursor.After, math.MaxInt64, page.limit+1)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if len(events) == 0 && cursor.After == 0 {
		return nil, httpx.NotFound()
	}
	if events, err = cut(&page, events, func(last eventstore.Recorded) any { return versionCursor{After: last.Version} }); err != nil {
		return nil, err
	}
	lines, err := exported(events)
	if err != nil {
		return nil, err
	}
	return api.GetStream200JSONResponse{Data: lines, Meta: page.meta(ctx)}, nil
}

// GetStreamState implements api.StrictServerInterface.
func (e *Events) GetStreamState(ctx context.Context, request api.GetStreamStateRequestObject) (api.GetStreamStateResponseObject, error) {
	tenant, upTo := httpx.From(ctx).Principal.Tenant, int64(math.MaxInt64)
	if request.Params.AsOf != nil {
		var err error
		if upTo, err = e.Log.PositionAt(ctx, tenant, *request.Params.AsOf); err != nil {
			return nil, err //nolint:wrapcheck // the store's errors are part of the API
		}
	}
	last, err := e.last(ctx, tenant, request.Stream, upTo)
	if err != nil {
		return nil, err
	}
	state, err := e.state(ctx, last)
	if err != nil {
		return nil, err
	}
	return api.GetStreamState200JSONResponse{
		Data: api.StreamState{Stream: last.Stream, Version: last.Version, Position: last.Position, OccurredAt: last.Time(), State: state},
		Meta: httpx.Meta(ctx),
	}, nil
}

// DiffStream implements api.StrictServerInterface.
func (e *Events) DiffStream(ctx context.Context, request api.DiffStreamRequestObject) (api.DiffStreamResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	newest, err := e.last(ctx, tenant, request.Stream, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	to := newest.Version
	if request.Params.To != nil {
		to = *request.Params.To
	}
	from := to - 1
	if request.Params.From != nil {
		from = *request.Params.From
	}
	switch {
	case to > newest.Version:
		return nil, httpx.InvalidParameters(map[string]any{"to": fmt.Sprintf("must be at most %d, the stream's newest version", newest.Version)})
	case from >= to:
		return nil, httpx.InvalidParameters(map[string]any{"from": "must be less than `to`"})
	}
	before, err := e.stateAt(ctx, tenant, request.Stream, from)
	if err != nil {
		return nil, err
	}
	after, err := e.stateAt(ctx, tenant, request.Stream, to)
	if err != nil {
		return nil, err
	}
	changes, err := fieldChanges(before, after)
	if err != nil {
		return nil, fmt.Errorf("compare versions of %s: %w", request.Stream, err)
	}
	return api.DiffStream200JSONResponse{
		Data: api.StreamDiff{Stream: request.Stream, From: from, To: to, Changes: changes}, Meta: httpx.Meta(ctx),
	}, nil
}

// last is the newest event of a stream at positions up to upTo; a 404 where there is none.
func (e *Events) last(ctx context.Context, tenant, stream string, upTo int64) (*eventstore.Recorded, error) {
	events, err := e.Log.LoadNewest(ctx, tenant, stream, upTo, 1)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if len(events) == 0 {
		return nil, httpx.NotFound()
	}
	return &events[0], nil
}

// stateAt is what a stream looked like at a version; of version 0 there is nothing to see.
func (e *Events) stateAt(ctx context.Context, tenant, stream string, version int64) (json.RawMessage, error) {
	if version == 0 {
		return json.RawMessage("{}"), nil
	}
	events, err := e.Log.LoadSome(ctx, tenant, stream, version-1, math.MaxInt64, 1)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if len(events) == 0 || events[0].Version != version {
		return nil, httpx.NotFound() // a row is gone: `audit verify` names it
	}
	return e.state(ctx, &events[0])
}

// state is what the events of a stream have come to, up to and including last.
func (e *Events) state(ctx context.Context, last *eventstore.Recorded) (json.RawMessage, error) {
	view := viewOf(last.Stream)
	add, show := view.fold()
	after := int64(0)
	if view.newest > 0 {
		after = max(0, last.Version-view.newest)
	}
	for after < last.Version {
		events, err := e.Log.LoadSome(ctx, last.Tenant, last.Stream, after, last.Position, foldBatch)
		if err != nil {
			return nil, err //nolint:wrapcheck // the store's errors are part of the API
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			event, err := e.Log.Decode(events[i].Type, events[i].Data)
			if errors.Is(err, eventstore.ErrUnknownType) {
				return nil, httpx.Unavailable(fmt.Errorf("fold %s: %w", last.Stream, err)) // until this node is as new as the one that wrote it
			}
			if err != nil {
				return nil, fmt.Errorf("fold %s: %w", last.Stream, err)
			}
			add(event)
		}
		after = events[len(events)-1].Version
	}
	state, err := json.Marshal(show())
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", last.Stream, err)
	}
	return state, nil
}
