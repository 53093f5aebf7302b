package readapi

import (
	"context"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

const (
	// maxPageBytes bounds the data and meta of a page of events: one event may have 4 MiB.
	maxPageBytes = 4 << 20
	// maxLooks bounds how often one answer looks for more events that fit a filter; a look is at 20,000 positions.
	maxLooks = 10
)

// EventLog is the part of the event store that raw events, and the streams' stories, are read from.
type EventLog interface {
	Select(ctx context.Context, tenant string, selection eventstore.Selection) (eventstore.Selected, error)
	LoadSome(ctx context.Context, tenant, stream string, after, upTo int64, limit int) ([]eventstore.Recorded, error)
	LoadNewest(ctx context.Context, tenant, stream string, upTo int64, limit int) ([]eventstore.Recorded, error)
	PositionAt(ctx context.Context, tenant string, at time.Time) (int64, error)
	Decode(eventType string, data []byte) (eventstore.Typed, error)
}

// Events answers from the log itself: raw events, and what streams have come to.
type Events struct {
	Log EventLog
}

// eventCursor is the position that a page of events goes on after.
type eventCursor struct {
	After int64 `json:"a"`
}

// ListEvents implements api.StrictServerInterface.
func (e *Events) ListEvents(ctx context.Context, request api.ListEventsRequestObject) (api.ListEventsResponseObject, error) {
	var cursor eventCursor
	page, err := pageOf("events", request.Params.Limit, request.Params.Cursor, &cursor)
	if err != nil {
		return nil, err
	}
	selection, err := selectionOf(&request.Params)
	if err != nil {
		return nil, err
	}
	selection.After = max(selection.After, cursor.After)
	events, upTo, head, err := e.selectPage(ctx, httpx.From(ctx).Principal.Tenant, selection, page.limit)
	if err != nil {
		return nil, err
	}
	if upTo < head {
		if err := page.continueAfter(eventCursor{After: upTo}); err != nil {
			return nil, err
		}
	}
	lines, err := exported(events)
	if err != nil {
		return nil, err
	}
	return api.ListEvents200JSONResponse{Data: lines, Meta: page.meta(ctx)}, nil
}

// selectionOf reads the filters of a list of events.
func selectionOf(params *api.ListEventsParams) (eventstore.Selection, error) {
	selection := eventstore.Selection{MaxBytes: maxPageBytes}
	wrong := map[string]any{}
	for _, filter := range []struct {
		name string
		sent *string
		into *eventstore.Names
	}{{"stream", params.Stream, &selection.Streams}, {"type", params.Type, &selection.Types}} {
		if filter.sent == nil {
			continue
		}
		names, err := eventstore.ParseNames(*filter.sent)
		if err != nil {
			wrong[filter.name] = err.Error()
		}
		*filter.into = names
	}
	if len(wrong) > 0 {
		return selection, httpx.InvalidParameters(wrong)
	}
	if params.After != nil {
		selection.After = *params.After
	}
	return selection, nil
}

// selectPage collects a page, and tells up to where it goes and where the log ended.
func (e *Events) selectPage(ctx context.Context, tenant string, selection eventstore.Selection, limit int) (events []eventstore.Recorded, upTo, head int64, err error) {
	upTo = selection.After
	for look := 0; look < maxLooks && selection.MaxBytes > 0; look++ {
		selection.After, selection.Limit = upTo, limit-len(events)
		found, err := e.Log.Select(ctx, tenant, selection)
		if err != nil {
			return nil, 0, 0, err //nolint:wrapcheck // the store's errors are part of the API
		}
		events = append(events, found.Events...)
		upTo, head = found.UpTo, found.Head
		if len(events) >= limit || upTo >= head {
			break
		}
		for i := range found.Events {
			selection.MaxBytes -= len(found.Events[i].Meta) + len(found.Events[i].Data)
		}
	}
	return events, upTo, head, nil
}

// exported are events as lines of the export format.
func exported(events []eventstore.Recorded) ([]api.Event, error) {
	lines := make([]api.Event, len(events))
	for i := range events {
		line, err := events[i].ExportLine()
		if err != nil {
			return nil, err //nolint:wrapcheck // says which event
		}
		lines[i] = line
	}
	return lines, nil
}
