package readapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

// shareRow is what calls come to under one key of a dimension.
type shareRow struct {
	Key              string
	Name             string
	Spend            usdSum
	PromptTokens     int64
	CompletionTokens int64
	Requests         int64
	// Position is how far the ledger was when the row was read.
	Position int64
}

// shareCursor is where a page of the breakdown ended, and up to which position the calls of its first page were counted:
// the pages behind it count the same ones.
type shareCursor struct {
	Position int64  `json:"p"`
	Spend    usdSum `json:"s"`
	Key      string `json:"k"`
}

var (
	sumPattern     = regexp.MustCompile(`^-?\d{1,20}\.\d{10}$`)
	errShareCursor = errors.New("not a place in a breakdown")
)

// UnmarshalJSON takes what a cursor may hold, since a client can make one up.
func (s *shareCursor) UnmarshalJSON(data []byte) error {
	type plain shareCursor
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err //nolint:wrapcheck // becomes invalid_cursor
	}
	if s.Position < 0 || !sumPattern.MatchString(string(s.Spend)) || strings.ContainsRune(s.Key, 0) {
		return errShareCursor
	}
	return nil
}

// GetCostBreakdown implements api.StrictServerInterface.
func (c *Costs) GetCostBreakdown(ctx context.Context, request api.GetCostBreakdownRequestObject) (api.GetCostBreakdownResponseObject, error) {
	dimension := string(request.Dimension)
	if !slices.Contains([]string{"provider", "model", "department", "agent", "user"}, dimension) {
		return nil, httpx.NotFound()
	}
	within, err := spanOf(request.Params.From, request.Params.To, c.Now())
	if err != nil {
		return nil, err
	}
	after := shareCursor{Spend: "0"}
	page, err := pageOf("costs by "+dimension, request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	var position *int64
	if request.Params.Cursor != nil {
		position = &after.Position
	}
	rows, err := query[shareRow](ctx, c.Database, httpx.From(ctx).Principal.Tenant, `with shares as (
			select key, sum(spend_usd)::numeric(30, 10) as spend, sum(prompt_tokens)::bigint as prompt_tokens, sum(completion_tokens)::bigint as completion_tokens,
				sum(requests)::bigint as requests
			from (`+sourceOf(within, position, []string{dimension})+`) s group by key
			having sum(requests) > 0 or sum(prompt_tokens) + sum(completion_tokens) > 0 or sum(spend_usd) <> 0)
		select s.key, coalesce(p.name, d.name, s.key) as name, s.spend::text as spend, s.prompt_tokens, s.completion_tokens, s.requests, coalesce((
			select max(c.position) from projection_checkpoints c where c.tenant_id = $1 and c.projection = 'ledger' and c.status <> 'rebuilding'), 0) as position
		from shares s left join model_providers p on $6 and p.tenant_id = $1 and p.id::text = s.key
			left join `+departmentsThen+` d on $10 and d.department_id = s.key
		where $4::bigint is null or s.spend < $7::numeric or (s.spend = $7::numeric and s.key > $8 collate "C")
		order by s.spend desc, s.key collate "C" limit $9`,
		within.from, within.until, position, []string{dimension}, dimension == "provider", string(after.Spend), after.Key, page.limit+1, dimension == "department")
	if err != nil {
		return nil, err
	}
	if len(rows) > page.limit {
		rows = rows[:page.limit]
		last := rows[len(rows)-1]
		next := shareCursor{Position: last.Position, Spend: last.Spend, Key: last.Key}
		if position != nil {
			next.Position = *position
		}
		if err := page.continueAfter(next); err != nil {
			return nil, err
		}
	}
	list := make([]api.CostShare, len(rows))
	for i, row := range rows {
		list[i] = api.CostShare{
			Key: row.Key, Name: cmp.Or(row.Name, unattributed), Spend: row.Spend.number(), PromptTokens: row.PromptTokens,
			CompletionTokens: row.CompletionTokens, Requests: row.Requests,
		}
	}
	return api.GetCostBreakdown200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}
