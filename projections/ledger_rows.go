package projections

// ledgerRowType is the composite type in which rows of token_ledger travel.
const ledgerRowType = "ledger_row"

// ledgerRowColumns is how many columns that type has.
const ledgerRowColumns = 23

// ledgerRows are the rows of a batch in token_ledger. Few prices are behind many calls, so they travel once, and a row has
// the number of its price.
type ledgerRows struct {
	rows     *records
	prices   []string
	priceNos map[string]int64
}

func newLedgerRows(bytes int) ledgerRows {
	return ledgerRows{
		rows:     &records{columns: ledgerRowColumns, elements: make([]byte, 0, bytes)},
		priceNos: map[string]int64{},
	}
}

// add adds the row of a call, in the order of the columns of ledger_row.
func (l *ledgerRows) add(call *Call) {
	r, t := l.rows, call.Tokens
	r.begin()
	r.time(call.StartedAt)
	r.integer(call.Position)
	r.id(call.ID)
	r.text(call.Kind)
	r.text(call.Outcome)
	r.optionalText(call.ExecutionID)
	r.optionalText(call.Agent)
	r.optionalID(call.Answer.Provider)
	r.text(call.ProviderType)
	r.text(call.Answer.Model)
	r.optionalID(call.Key)
	r.text(call.User)
	r.optionalText(call.Department)
	r.integer(t.Prompt())
	r.integer(t.Completion())
	r.integer(t.CacheRead)
	r.integer(t.CacheWrite)
	r.integer(t.Reasoning)
	r.integer(l.priceNo(call.Price))
	r.boolean(call.Priced)
	r.optionalAmount(call.Cost, call.Known)
	r.optionalText(call.GivenUpJSON())
	r.time(call.RecordedAt)
	r.end()
}

// priceNo is the number of a price, from 1; 0 for none.
func (l *ledgerRows) priceNo(price []byte) int64 {
	if len(price) == 0 {
		return 0
	}
	number, found := l.priceNos[string(price)]
	if !found {
		l.prices = append(l.prices, string(price))
		number = int64(len(l.prices))
		l.priceNos[string(price)] = number
	}
	return number
}

// insertRows makes total_tokens itself, and of both times when the call was recorded one. Each price is parsed once.
const insertRows = `insert into token_ledger (tenant_id, started_at, recorded_position, id, kind, outcome, execution_id, agent_id, provider_id,
		provider_type, model, key_id, user_id, department_id, prompt_tokens, completion_tokens, total_tokens, cached_tokens,
		cache_write_tokens, reasoning_tokens, priced, price, cost_usd, given_up, occurred_at, created_at)
	select $1, u.started_at, u.recorded_position, u.id, u.kind, u.outcome, u.execution_id, u.agent_id, u.provider_id,
		u.provider_type, u.model, u.key_id, u.user_id, u.department_id, u.prompt_tokens, u.completion_tokens,
		u.prompt_tokens + u.completion_tokens, u.cached_tokens, u.cache_write_tokens, u.reasoning_tokens, u.priced,
		p.list[u.price_no], u.cost_usd, u.given_up::jsonb, u.recorded_at, u.recorded_at
	from (select array_agg(p.price::jsonb order by p.number) as list from unnest($3::text[]) with ordinality as p(price, number)) p,
		unnest($2::ledger_row[]) u`

// write inserts the rows.
func (l *ledgerRows) write(tenant string, out *Statements) {
	if l.rows.count > 0 {
		out.Exec(insertRows, tenant, l.rows, l.prices)
	}
}
