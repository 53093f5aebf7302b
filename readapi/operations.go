package readapi

import (
	"context"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

// Overview shows how a tenant's projections and jobs are doing.
type Overview interface {
	Projections(ctx context.Context, tenant string) ([]api.Projection, error)
	// Jobs lists jobs, newest first, that were enqueued before the one with the number before, all where it is 0; next is
	// the number to go on with, 0 at the end.
	Jobs(ctx context.Context, tenant string, status *api.JobStatus, before int64, limit int) (jobs []api.Job, next int64, err error)
}

// Operations answers how Archon itself is doing.
type Operations struct {
	Overview Overview
}

// ListProjections implements api.StrictServerInterface. There are few, so that every page is the last one.
func (o *Operations) ListProjections(ctx context.Context, request api.ListProjectionsRequestObject) (api.ListProjectionsResponseObject, error) {
	var none struct{}
	page, err := pageOf("projections", request.Params.Limit, request.Params.Cursor, &none)
	if err != nil {
		return nil, err
	}
	list, err := o.Overview.Projections(ctx, httpx.From(ctx).Principal.Tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	return api.ListProjections200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

type jobCursor struct {
	Before int64 `json:"b"`
}

// ListJobs implements api.StrictServerInterface.
func (o *Operations) ListJobs(ctx context.Context, request api.ListJobsRequestObject) (api.ListJobsResponseObject, error) {
	var before jobCursor
	page, err := pageOf("jobs", request.Params.Limit, request.Params.Cursor, &before)
	if err != nil {
		return nil, err
	}
	list, next, err := o.Overview.Jobs(ctx, httpx.From(ctx).Principal.Tenant, request.Params.Status, before.Before, page.limit)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	if next != 0 {
		if err := page.continueAfter(jobCursor{Before: next}); err != nil {
			return nil, err
		}
	}
	return api.ListJobs200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}
