package readapi

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/internal/httpx"
)

const (
	// exportPage is how many rows are read at once: no connection is held while a client takes its time.
	exportPage = 2000
	// exportPatience is how long a client may take for a page.
	exportPatience = 2 * time.Minute
)

// exportHeader are the columns of the export.
func exportHeader() []string {
	return []string{
		"timestamp", "execution_id", "agent", "provider", "model", "department", "user", "prompt_tokens", "completion_tokens",
		"cached_tokens", "total_tokens", "cost_usd", "currency",
	}
}

// exportRow is a row of token_ledger.
type exportRow struct {
	StartedAt        time.Time
	RecordedPosition int64
	ExecutionID      *string
	AgentID          *string
	ProviderID       *uuid.UUID
	Model            string
	DepartmentID     *string
	UserID           string
	PromptTokens     int64
	CompletionTokens int64
	CachedTokens     int64
	TotalTokens      int64
	CostUSD          *string `db:"cost_usd"`
}

// ExportCosts streams the calls of a span as CSV, page by page in the order of the ledger's key. What is recorded after it
// has begun is not in it. An answer that can't be completed is broken off, so that nobody takes a part for the whole.
func (c *Costs) ExportCosts(e echo.Context) error {
	ctx, query := e.Request().Context(), e.QueryParams()
	within, err := spanOf(optionalParameter(query.Get("from")), optionalParameter(query.Get("to")), c.Now())
	if err != nil {
		return err
	}
	out := export{costs: c, tenant: httpx.From(ctx).Principal.Tenant, within: within}
	if err := out.prepare(ctx); err != nil {
		return err
	}
	rows, err := out.next(ctx)
	if err != nil {
		return err
	}
	header := e.Response().Header()
	header.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	header.Set("Content-Disposition", `attachment; filename="`+out.fileName()+`"`)
	e.Response().WriteHeader(http.StatusOK)
	if e.Request().Method == http.MethodHead {
		return nil
	}
	if err := out.stream(ctx, e.Response(), rows); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

func optionalParameter(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// export is one download.
type export struct {
	costs  *Costs
	tenant string
	within span
	// position is how far the ledger was when the export began.
	position int64
	// names are those of providers, departments those of departments, by id.
	names       map[uuid.UUID]string
	departments map[string]string
	after       exportRow
	begun       bool
}

func (x *export) fileName() string {
	last := x.within.until.Add(-time.Microsecond)
	if now := x.costs.Now().UTC(); last.After(now) {
		last = now
	}
	return "archon-costs-" + x.within.from.Format(time.DateOnly) + "-" + last.Format(time.DateOnly) + ".csv"
}

// prepare reads what all rows share.
func (x *export) prepare(ctx context.Context) error {
	at, err := query[struct{ Position int64 }](ctx, x.costs.Database, x.tenant,
		`select coalesce(max(position), 0) as position from projection_checkpoints where tenant_id = $1 and projection = 'ledger' and status <> 'rebuilding'`)
	if err != nil {
		return err
	}
	x.position = at[0].Position
	named, err := query[struct {
		ID   uuid.UUID
		Name string
	}](ctx, x.costs.Database, x.tenant, `select id, name from model_providers where tenant_id = $1`)
	if err != nil {
		return err
	}
	x.names = make(map[uuid.UUID]string, len(named))
	for _, provider := range named {
		x.names[provider.ID] = provider.Name
	}
	x.departments, err = departmentNames(ctx, x.costs.Database, x.tenant)
	return err
}

// costAsOf is what a call of the ledger (l) cost as of position $5: what was recorded, and the differences that were booked for
// it by then. Few calls have any.
const costAsOf = `case when l.corrected_position is null then l.cost_usd else (
			select coalesce(l.cost_usd + coalesce(sum(a.difference_usd), 0), sum(a.difference_usd)) from cost_adjustments a
			where a.tenant_id = $1 and a.call_position = l.recorded_position and a.recorded_position <= $5)::numeric(20, 10) end`

// next reads the next page; an empty one is the end.
func (x *export) next(ctx context.Context) ([]exportRow, error) {
	from, after := x.within.from, int64(0)
	if x.begun {
		from, after = x.after.StartedAt, x.after.RecordedPosition
	}
	rows, err := query[exportRow](ctx, x.costs.Database, x.tenant, `select started_at, recorded_position, execution_id, agent_id, provider_id, model, department_id,
			user_id, prompt_tokens, completion_tokens, cached_tokens, total_tokens, `+costAsOf+`::text as cost_usd
		from token_ledger l where tenant_id = $1 and (started_at, recorded_position) > ($2, $3) and started_at >= $2 and started_at < $4 and recorded_position <= $5
		order by started_at, recorded_position limit $6`, from, after, x.within.until, x.position, exportPage)
	if len(rows) > 0 {
		x.begun, x.after = true, rows[len(rows)-1]
	}
	return rows, err
}

// stream writes the header, the rows that were read, and those that follow them.
func (x *export) stream(ctx context.Context, response *echo.Response, rows []exportRow) error {
	control, out := http.NewResponseController(response), csv.NewWriter(response)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // the connection may live on
	if err := out.Write(exportHeader()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	for {
		_ = control.SetWriteDeadline(time.Now().Add(exportPatience)) // a writer without deadlines is one of a test
		for i := range rows {
			if err := out.Write(x.record(&rows[i])); err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
		out.Flush()
		if err := out.Error(); err != nil || len(rows) < exportPage {
			return err //nolint:wrapcheck // only tells whether to break off
		}
		var err error
		if rows, err = x.next(ctx); err != nil {
			return err
		}
	}
}

func (x *export) record(row *exportRow) []string {
	provider := ""
	if row.ProviderID != nil {
		if provider = x.names[*row.ProviderID]; provider == "" {
			provider = row.ProviderID.String()
		}
	}
	department := cmp.Or(x.departments[text(row.DepartmentID)], text(row.DepartmentID))
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{
		row.StartedAt.UTC().Format("2006-01-02T15:04:05.000000Z"), cell(text(row.ExecutionID)), cell(text(row.AgentID)), cell(provider), cell(row.Model),
		cell(department), cell(row.UserID), number(row.PromptTokens), number(row.CompletionTokens), number(row.CachedTokens),
		number(row.TotalTokens), text(row.CostUSD), "USD",
	}
}

func text(optional *string) string {
	if optional == nil {
		return ""
	}
	return *optional
}

// cell is text that no spreadsheet takes for a formula: where its first character, white space and what is not shown aside,
// could begin one, an apostrophe stands before it. Full-width signs count in some of them too.
func cell(text string) string {
	begins := strings.TrimLeftFunc(text, func(char rune) bool { return unicode.IsSpace(char) || !unicode.IsGraphic(char) })
	if strings.ContainsAny(first(begins), "=+-@|＝＋－＠") || strings.ContainsAny(first(text), "\t\r\n") {
		return "'" + text
	}
	return text
}

// first is the first character of a text.
func first(text string) string {
	for _, char := range text {
		return string(char)
	}
	return ""
}
