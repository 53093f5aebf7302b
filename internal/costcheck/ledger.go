package costcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/projections"
)

// columns are those of token_ledger as text, in the order of expected; null is empty.
const columns = `id::text, (extract(epoch from started_at) * 1000000)::bigint::text, (extract(epoch from occurred_at) * 1000000)::bigint::text,
	(extract(epoch from created_at) * 1000000)::bigint::text, kind, outcome, coalesce(execution_id, ''), coalesce(agent_id, ''), coalesce(provider_id::text, ''),
	provider_type, model, coalesce(key_id::text, ''), user_id, coalesce(department_id, ''), prompt_tokens::text, completion_tokens::text, total_tokens::text,
	cached_tokens::text, cache_write_tokens::text, reasoning_tokens::text, priced::text, coalesce(cost_usd::text, ''), coalesce(price::text, ''), coalesce(given_up::text, '')`

// names are the names of columns.
func names() []string {
	return []string{
		"id", "started_at", "occurred_at", "created_at", "kind", "outcome", "execution_id", "agent_id", "provider_id", "provider_type", "model", "key_id",
		"user_id", "department_id", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
		"priced", "cost_usd", "price", "given_up",
	}
}

// expected are the columns of a call's row.
func expected(call *projections.Call) []string {
	micros := func(at time.Time) string { return number(at.UnixMicro()) }
	cost, t := "", call.Tokens
	if call.Known {
		cost = call.Cost.String()
	}
	return []string{
		call.ID.String(), micros(call.StartedAt), micros(call.RecordedAt), micros(call.RecordedAt), call.Kind, call.Outcome, call.ExecutionID, call.Agent,
		id(call.Answer.Provider), call.ProviderType, call.Answer.Model, id(call.Key), call.User, call.Department, number(t.Prompt()), number(t.Completion()), number(t.Total()),
		number(t.CacheRead), number(t.CacheWrite), number(t.Reasoning), strconv.FormatBool(call.Priced), cost, string(call.Price), call.GivenUpJSON(),
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func id(optional *uuid.UUID) string {
	if optional == nil {
		return ""
	}
	return optional.String()
}

// row is a row of token_ledger.
type row struct {
	position int64
	id, cost string
	columns  []string
}

// difference is a column in which a row is not what the log says.
type difference struct{ column, have, want string }

func (r *row) differences(call *projections.Call) (found []difference) {
	want := expected(call)
	for i, name := range names() {
		isJSON := name == "price" || name == "given_up"
		if r.columns[i] != want[i] && (!isJSON || !sameJSON(r.columns[i], want[i])) {
			found = append(found, difference{name, shown(r.columns[i]), shown(want[i])})
		}
	}
	return found
}

// shown is a value as it is told.
func shown(value string) string {
	if value == "" {
		return "empty"
	}
	return strconv.Quote(value)
}

// sameJSON tells whether two texts are the same JSON, whatever the order of fields.
func sameJSON(a, b string) bool {
	decode := func(text string) (value any) {
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		if decoder.Decode(&value) != nil {
			return text
		}
		return value
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

// ledger reads the rows of a tenant in the order of positions, page by page.
type ledger struct {
	tx     pgx.Tx
	tenant string
	page   []row
	ended  bool
}

func (l *ledger) open(ctx context.Context) error {
	_, err := l.tx.Exec(ctx, `declare ledger no scroll cursor for select recorded_position, `+columns+`
		from token_ledger where tenant_id = current_setting('app.tenant_id') order by recorded_position, started_at`)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// peek is the next row; found is false behind the last one.
func (l *ledger) peek(ctx context.Context) (*row, bool, error) {
	if len(l.page) == 0 && !l.ended {
		if err := l.fetch(ctx); err != nil {
			return nil, false, err
		}
	}
	if len(l.page) == 0 {
		return nil, false, nil
	}
	return &l.page[0], true, nil
}

func (l *ledger) pass() { l.page = l.page[1:] }

func (l *ledger) fetch(ctx context.Context) error {
	rows, err := l.tx.Query(ctx, `fetch `+strconv.Itoa(pageSize)+` from ledger`)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	l.page, err = pgx.CollectRows(rows, scanRow)
	l.ended = len(l.page) < pageSize
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

func scanRow(from pgx.CollectableRow) (row, error) {
	r := row{columns: make([]string, len(names()))}
	into := []any{&r.position}
	for i := range r.columns {
		into = append(into, &r.columns[i])
	}
	if err := from.Scan(into...); err != nil {
		return row{}, fmt.Errorf("%w: %w", errCursor, err)
	}
	for i, name := range names() {
		switch name {
		case "id":
			r.id = r.columns[i]
		case "cost_usd":
			r.cost = strings.TrimSpace(r.columns[i])
		}
	}
	return r, nil
}
