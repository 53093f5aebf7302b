package readapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/internal/httpx"
)

// Alerts answers what somebody should look at.
type Alerts struct {
	Database Database
}

// alertRow is a row of alerts.
type alertRow struct {
	ID         uuid.UUID
	Kind       string
	Subject    string
	Message    string
	Details    json.RawMessage
	CreatedAt  time.Time
	ResolvedAt *time.Time
	Resolution *string
}

// ListAlerts implements api.StrictServerInterface.
func (a *Alerts) ListAlerts(ctx context.Context, request api.ListAlertsRequestObject) (api.ListAlertsResponseObject, error) {
	var after newestFirst
	page, err := pageOf("alerts", request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	rows, err := query[alertRow](ctx, a.Database, httpx.From(ctx).Principal.Tenant,
		`select id, kind, subject, message, details, created_at, resolved_at, resolution from alerts where tenant_id = $1
		and ($2 or (created_at, id) < ($3::timestamptz, $4::uuid)) `+filterOf(request.Params.Status)+` order by created_at desc, id desc limit $5`,
		request.Params.Cursor == nil, after.CreatedAt, after.ID, page.limit+1)
	if err != nil {
		return nil, err
	}
	if rows, err = cut(&page, rows, func(last alertRow) any { return newestFirst{last.CreatedAt, last.ID} }); err != nil {
		return nil, err
	}
	list := make([]api.Alert, len(rows))
	for i := range rows {
		list[i] = rows[i].alert()
	}
	return api.ListAlerts200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

// filterOf is the condition for a status, as text so that the index of open alerts can serve it.
func filterOf(status *api.AlertStatus) string {
	switch {
	case status == nil:
		return ""
	case *status == api.AlertStatusOpen:
		return "and resolved_at is null"
	default:
		return "and resolved_at is not null"
	}
}

// OpenSubjects lists what a tenant's open alerts of a kind are about.
func (a *Alerts) OpenSubjects(ctx context.Context, tenant string, kind alerts.Kind) ([]string, error) {
	rows, err := query[struct{ Subject string }](ctx, a.Database, tenant,
		`select subject from alerts where tenant_id = $1 and kind = $2 and resolved_at is null order by subject`, string(kind))
	subjects := make([]string, len(rows))
	for i, row := range rows {
		subjects[i] = row.Subject
	}
	return subjects, err
}

// OpenAlert is an alert that is open.
type OpenAlert struct {
	Kind    string
	Subject string
	Details json.RawMessage
}

// Open lists a tenant's open alerts of some kinds.
func (a *Alerts) Open(ctx context.Context, tenant string, kinds ...alerts.Kind) ([]OpenAlert, error) {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return query[OpenAlert](ctx, a.Database, tenant,
		`select kind, subject, details from alerts where tenant_id = $1 and kind = any($2) and resolved_at is null order by created_at, id`, names)
}

func (r *alertRow) alert() api.Alert {
	status := api.AlertStatusOpen
	if r.ResolvedAt != nil {
		status = api.AlertStatusResolved
	}
	return api.Alert{
		ID: r.ID.String(), Kind: api.AlertKind(r.Kind), Subject: r.Subject, Message: r.Message, Details: r.Details, Status: status,
		CreatedAt: r.CreatedAt.UTC(), ResolvedAt: utc(r.ResolvedAt), Resolution: r.Resolution,
	}
}
