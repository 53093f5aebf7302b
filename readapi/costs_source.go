package readapi

import "strings"

// Sources of sums: rows of (dimension, day, key, spend_usd, prompt_tokens, completion_tokens, requests, executions), of the
// dimensions in $5, in the span from $2 until before $3. Differences of calls that were priced again are in both, as far as they
// were booked.
//
// dailySource has the sums of days, up to date; $4 must be null.
const dailySource = `select dimension, day, key, spend_usd, prompt_tokens, completion_tokens, requests, executions from cost_daily
		where tenant_id = $1 and dimension = any($5::text[]) and day >= ($2::timestamptz at time zone 'UTC')::date
			and day < ($3::timestamptz at time zone 'UTC')::date and $4::bigint is null`

// mixedSource has what was recorded up to position $4, or everything where that is null, for spans that need not be whole
// days. A day of which nothing was recorded behind the position has its sums in cost_daily; one that was not begun by then
// is nothing; of the others, mostly the one in which the position lies, the calls are added up. Either way it is exact, since a
// projector writes both tables in one transaction.
//
// A call is added up under the provider and model that answered; what attempts before that one consumed is then moved to
// theirs. What was booked by the position because calls were priced again is added to what was recorded. The ledger's rows are
// read once, whatever the number of dimensions. The offsets keep PostgreSQL from reading all rows and asking of each whether it
// lies in one of the days, which it takes to be many.
func mixedSource(dimensions []string) string {
	columns := map[string]string{"provider": "provider_id", "model": "model", "department": "department_id", "agent": "agent_id", "user": "user_id"}
	var sets, names, keys strings.Builder
	for _, dimension := range dimensions {
		column, found := columns[dimension]
		if !found {
			sets.WriteString(", (day)")
			continue
		}
		sets.WriteString(", (day, " + column + ")")
		names.WriteString(" when grouping(" + column + ") = 0 then '" + dimension + "'")
		keys.WriteString(" when grouping(" + column + ") = 0 then coalesce(" + column + "::text, '')")
	}
	return `with days as materialized (
			select day, greatest(starts, $2::timestamptz) as starts, least(starts + interval '24 hours', $3::timestamptz) as ends,
				starts >= $2::timestamptz and starts + interval '24 hours' <= $3::timestamptz and ($4::bigint is null or last_position <= $4) as settled
			from (
				select day, day::timestamp at time zone 'UTC' as starts, first_position, last_position from cost_daily
				where tenant_id = $1 and dimension = 'total' and day >= ($2::timestamptz at time zone 'UTC')::date
					and day <= ($3::timestamptz at time zone 'UTC')::date
			) d
			where starts < $3::timestamptz and ($4::bigint is null or first_position <= $4)
		), calls as materialized (
			select n.day, l.provider_id, l.model, l.department_id, l.agent_id, l.user_id, l.cost_usd, l.prompt_tokens, l.completion_tokens, l.given_up
			from days n cross join lateral (
				select provider_id, model, department_id, agent_id, user_id, cost_usd, prompt_tokens, completion_tokens, given_up from token_ledger
				where tenant_id = $1 and started_at >= n.starts and started_at < n.ends and ($4::bigint is null or recorded_position <= $4)
				offset 0
			) l
			where not n.settled
		), shares as (
			select day, provider_id, model, department_id, agent_id, user_id, cost_usd, prompt_tokens, completion_tokens, 1 as requests from calls
			union all
			select c.day, s.provider_id, s.model, c.department_id, c.agent_id, c.user_id, s.sign * g.cost_usd, s.sign * g.prompt_tokens,
				s.sign * g.completion_tokens, 0
			from calls c
				cross join lateral jsonb_to_recordset(c.given_up) as g(provider_id text, model text, prompt_tokens bigint, completion_tokens bigint, cost_usd numeric)
				cross join lateral (values (nullif(g.provider_id, '')::uuid, g.model, 1), (c.provider_id, c.model, -1)) as s(provider_id, model, sign)
			where c.given_up is not null
			union all
			select n.day, a.provider_id, a.model, a.department_id, a.agent_id, a.user_id, a.difference_usd, 0, 0, 0
			from days n cross join lateral (
				select provider_id, model, department_id, agent_id, user_id, difference_usd from cost_adjustments
				where tenant_id = $1 and started_at >= n.starts and started_at < n.ends
					and (recorded_position <= $4 or ($4::bigint is null and not n.settled))
				offset 0
			) a
		)
		select c.dimension, c.day, c.key, case when $4::bigint is null then c.spend_usd else c.spend_usd - c.adjusted_usd end as spend_usd,
			c.prompt_tokens, c.completion_tokens, c.requests, c.executions
		from days n join cost_daily c on c.tenant_id = $1 and c.dimension = any($5::text[]) and c.day = n.day
		where n.settled
		union all
		select case` + names.String() + ` else 'total' end, day, case` + keys.String() + ` else '' end,
			coalesce(sum(cost_usd), 0), sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint, sum(requests)::bigint, 0::bigint
		from shares
		group by grouping sets (` + strings.TrimPrefix(sets.String(), ", ") + `)
		union all
		select 'agent', e.day, e.agent_id, 0, 0, 0, 0, 1
		from days n join cost_executions e on e.tenant_id = $1 and e.day = n.day and ($4::bigint is null or e.first_position <= $4)
		where not n.settled and 'agent' = any($5::text[])`
}

// sourceOf is what can answer for a span as of a position, nil for now.
func sourceOf(s span, position *int64, dimensions []string) string {
	if position == nil && s.wholeDays() {
		return dailySource
	}
	return mixedSource(dimensions)
}
