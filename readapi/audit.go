package readapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// Log is the part of the event store that the audit trail is read from.
type Log interface {
	At(ctx context.Context, tenant string, positions []int64) ([]eventstore.Recorded, error)
	Verify(ctx context.Context, tenant string, options eventstore.VerifyOptions) (eventstore.Report, error)
}

// ClientOpener decrypts a caller's address and user agent; ok is false where their subject has been erased.
type ClientOpener interface {
	OpenClient(ctx context.Context, tenant string, sealed json.RawMessage) (ip, userAgent string, ok bool, err error)
}

// Audit answers from the log itself; audit_index only finds the positions.
type Audit struct {
	Database Database
	Log      Log
	Clients  ClientOpener
}

// auditRow is what the index knows of an entry that its event does not say in so many words.
type auditRow struct {
	Position     int64
	Action       string
	ResourceType *string
	ResourceID   *string
	Outcome      string
	StatusCode   *int
}

type auditCursor struct {
	Before int64 `json:"b"`
}

// ListAudit implements api.StrictServerInterface.
func (a *Audit) ListAudit(ctx context.Context, request api.ListAuditRequestObject) (api.ListAuditResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	if write, err := downloadOf(ctx, request.Params); write != nil || err != nil {
		return auditDownload{ctx: ctx, audit: a, tenant: tenant, filter: request.Params, write: write}, err
	}
	var before auditCursor
	page, err := pageOf("audit", request.Params.Limit, request.Params.Cursor, &before)
	if err != nil {
		return nil, err
	}
	rows, err := a.find(ctx, tenant, request.Params, before.Before, page.limit+1)
	if err != nil {
		return nil, err
	}
	if rows, err = cut(&page, rows, func(last auditRow) any { return auditCursor{Before: last.Position} }); err != nil {
		return nil, err
	}
	entries, err := a.entries(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	return api.ListAudit200JSONResponse{Data: entries, Meta: page.meta(ctx)}, nil
}

// find looks up the positions of a page, newest first. Conditions are only written out for filters that were given, so
// that each of them gets the plan that its index is for.
func (a *Audit) find(ctx context.Context, tenant string, filter api.ListAuditParams, before int64, limit int) ([]auditRow, error) {
	var where strings.Builder
	args := []any{}
	and := func(condition string, value any) {
		args = append(args, value)
		fmt.Fprintf(&where, " and "+condition, len(args)+1)
	}
	if before > 0 {
		and("position < $%d", before)
	}
	if filter.Telemetry == nil || !*filter.Telemetry {
		where.WriteString(" and not telemetry")
	}
	for _, equal := range []struct {
		condition string
		value     *string
	}{
		{"actor = $%d", filter.Actor},
		{"(action = $%[1]d or event_type = $%[1]d)", filter.Action},
		{"resource_type = $%d", filter.ResourceType},
		{"resource_id = $%d", filter.ResourceID},
		{"correlation_id = $%d", filter.CorrelationID},
		{"outcome = $%d", (*string)(filter.Outcome)},
	} {
		if equal.value != nil {
			and(equal.condition, *equal.value)
		}
	}
	if filter.From != nil {
		and("occurred_at >= $%d", *filter.From)
	}
	if filter.To != nil {
		and("occurred_at < $%d", *filter.To)
	}
	if filter.Q != nil && *filter.Q != "" {
		and(`search like $%d`, "%"+escapeLike(strings.ToLower(*filter.Q))+"%")
	}
	args = append(args, limit)
	return query[auditRow](ctx, a.Database, tenant, `select position, action, resource_type, resource_id, outcome, status_code
		from audit_index where tenant_id = $1`+where.String()+fmt.Sprintf(" order by position desc limit $%d", len(args)+1), args...)
}

// escapeLike takes the special meaning from what LIKE would read as a wildcard.
func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

func (a *Audit) entries(ctx context.Context, tenant string, rows []auditRow) ([]api.AuditEntry, error) {
	positions := make([]int64, len(rows))
	for i := range rows {
		positions[i] = rows[i].Position
	}
	events, err := a.Log.At(ctx, tenant, positions)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	byPosition := make(map[int64]*eventstore.Recorded, len(events))
	for i := range events {
		byPosition[events[i].Position] = &events[i]
	}
	entries := make([]api.AuditEntry, 0, len(rows))
	for i := range rows {
		event := byPosition[rows[i].Position]
		if event == nil {
			continue // the row is gone from the log: `audit verify` names it, a list can't show it
		}
		entry, err := a.entry(ctx, &rows[i], event)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func (a *Audit) entry(ctx context.Context, row *auditRow, event *eventstore.Recorded) (api.AuditEntry, error) {
	var meta domain.Meta
	if err := json.Unmarshal(event.Meta, &meta); err != nil {
		meta = domain.Meta{} // tampered bytes must not hide the rest of the trail
	}
	entry := api.AuditEntry{
		Position: event.Position, EventID: event.EventID.String(), OccurredAt: event.Time().Truncate(time.Microsecond),
		Actor: meta.Actor.ID, Action: row.Action, ResourceType: row.ResourceType, ResourceID: row.ResourceID,
		Outcome: api.AuditOutcome(row.Outcome), StatusCode: row.StatusCode, CorrelationID: optional(meta.CorrelationID),
		CausationID: optional(meta.CausationID), Hash: hex.EncodeToString(event.Hash), PrevHash: hex.EncodeToString(event.PrevHash),
		Data: printable(event.Data),
	}
	if len(meta.Client) == 0 {
		return entry, nil
	}
	ip, userAgent, known, err := a.Clients.OpenClient(ctx, event.Tenant, meta.Client)
	if err != nil {
		return entry, fmt.Errorf("open the client data of position %d: %w", event.Position, err)
	}
	if known {
		entry.IPAddress, entry.UserAgent = optional(ip), optional(userAgent)
	}
	return entry, nil
}

// printable is data as JSON, or as a JSON string where it has been tampered into something else.
func printable(data []byte) json.RawMessage {
	if json.Valid(data) {
		return data
	}
	text, err := json.Marshal(string(data))
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// verifyRetryAfter is when to ask again for a verification that another one was in the way of: most logs are read in less.
const verifyRetryAfter = time.Second

// VerifyAudit implements api.StrictServerInterface.
func (a *Audit) VerifyAudit(ctx context.Context, request api.VerifyAuditRequestObject) (api.VerifyAuditResponseObject, error) {
	var options eventstore.VerifyOptions
	if request.Params.From != nil {
		options.From = *request.Params.From
	}
	if request.Params.To != nil {
		options.To = *request.Params.To
	}
	report, err := a.Log.Verify(ctx, httpx.From(ctx).Principal.Tenant, options)
	switch {
	case errors.Is(err, eventstore.ErrRange):
		return nil, httpx.InvalidParameters(map[string]any{"from": "from and to must be a range of positions that the log has"})
	case errors.Is(err, eventstore.ErrVerifying):
		return nil, httpx.TooManyRequests("verification_running", "A verification of this tenant is running already; try again when it is done.", verifyRetryAfter)
	case err != nil:
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	verification := api.AuditVerification{
		OK: report.OK, Checked: report.Checked, Reason: optional(report.Reason),
		Head: api.ChainHead{Position: report.Head.Position, Hash: hex.EncodeToString(report.Head.Hash)},
	}
	if report.FirstBadPosition != 0 {
		verification.FirstBadPosition = &report.FirstBadPosition
	}
	return api.VerifyAudit200JSONResponse{Data: verification, Meta: httpx.Meta(ctx)}, nil
}
