package projections

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/archonhq/archon/domain"
)

// Dimensions of cost_daily.
const (
	dimensionTotal      = "total"
	dimensionProvider   = "provider"
	dimensionModel      = "model"
	dimensionDepartment = "department"
	dimensionAgent      = "agent"
	dimensionUser       = "user"
	dimensionKey        = "key"
)

// dimensionsOf names what the call counts to, once in every dimension; the key is empty where it has no such thing.
func dimensionsOf(call *Call) [7][2]string {
	return [...][2]string{
		{dimensionTotal, ""},
		{dimensionProvider, idText(call.Provider)},
		{dimensionModel, call.Model},
		{dimensionDepartment, call.Department},
		{dimensionAgent, call.Agent},
		{dimensionUser, call.User},
		{dimensionKey, idText(call.Key)},
	}
}

// daySum is what a batch's calls come to in a row of cost_daily. Dollars and the rest below one are apart, since the cost
// of a single call may be as much as an Amount can be.
type daySum struct {
	dollars            int64
	rest               domain.Amount
	prompt, completion int64
	requests, unpriced int64
	first              time.Time // when the first event occurred
}

// sum counts a call to its rows of cost_daily and to its execution.
func (f *ledgerFold) sum(call *Call) {
	day := call.Day()
	for _, one := range dimensionsOf(call) {
		key := dayKey{dimension: one[0], day: day, key: one[1]}
		into, found := f.days[key]
		if !found {
			into = &daySum{first: call.RecordedAt}
			f.days[key] = into
		}
		into.dollars += int64(call.Cost / domain.USD)
		into.rest += call.Cost % domain.USD
		into.prompt += call.Tokens.Prompt()
		into.completion += call.Tokens.Completion()
		into.requests++
		if !call.Priced {
			into.unpriced++
		}
	}
	if call.ExecutionID == "" {
		return
	}
	execution := executionKey{agent: call.Agent, execution: call.ExecutionID}
	if _, found := f.executions[execution]; !found {
		f.executions[execution] = &firstCall{day: day, position: call.Position, at: call.RecordedAt}
	}
}

// writeDays adds the sums to cost_daily, in the order of its primary key.
func (f *ledgerFold) writeDays(out *Statements) {
	if len(f.days) == 0 {
		return
	}
	order := slices.SortedFunc(maps.Keys(f.days), dayKey.compare)
	n := len(order)
	dimensions, keys, days, first := make([]string, n), make([]string, n), make([]time.Time, n), make([]time.Time, n)
	dollars, rests, prompt, completion := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	requests, unpriced := make([]int64, n), make([]int64, n)
	for i, key := range order {
		sum := f.days[key]
		dimensions[i], days[i], keys[i] = key.dimension, key.day, key.key
		dollars[i], rests[i], prompt[i], completion[i] = sum.dollars, int64(sum.rest), sum.prompt, sum.completion
		requests[i], unpriced[i], first[i] = sum.requests, sum.unpriced, sum.first
	}
	out.Exec(`insert into cost_daily as c (tenant_id, dimension, day, key, spend_usd, prompt_tokens, completion_tokens, requests, unpriced, created_at)
		select $1, u.dimension, u.day, u.key, u.dollars + u.rest::numeric * 0.0000000001, u.prompt, u.completion, u.requests, u.unpriced, u.first
		from unnest($2::text[], $3::date[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[])
			as u(dimension, day, key, dollars, rest, prompt, completion, requests, unpriced, first)
		on conflict (tenant_id, dimension, day, key) do update set spend_usd = c.spend_usd + excluded.spend_usd,
			prompt_tokens = c.prompt_tokens + excluded.prompt_tokens, completion_tokens = c.completion_tokens + excluded.completion_tokens,
			requests = c.requests + excluded.requests, unpriced = c.unpriced + excluded.unpriced`,
		f.tenant, dimensions, days, keys, dollars, rests, prompt, completion, requests, unpriced, first)
}

type executionKey struct{ agent, execution string }

// firstCall is the first call of an execution in a batch.
type firstCall struct {
	day      time.Time
	position int64
	at       time.Time
}

// writeExecutions notes the executions that are new and counts each on the day of its first call. The agent's row of that
// day is there by now, since that call is in it.
func (f *ledgerFold) writeExecutions(out *Statements) {
	if len(f.executions) == 0 {
		return
	}
	order := slices.SortedFunc(maps.Keys(f.executions), func(a, b executionKey) int {
		return cmp.Or(strings.Compare(a.agent, b.agent), strings.Compare(a.execution, b.execution))
	})
	n := len(order)
	agents, executions, days, positions, first := make([]string, n), make([]string, n), make([]time.Time, n), make([]int64, n), make([]time.Time, n)
	for i, key := range order {
		call := f.executions[key]
		agents[i], executions[i], days[i], positions[i], first[i] = key.agent, key.execution, call.day, call.position, call.at
	}
	out.Exec(`with begun as (
			insert into cost_executions (tenant_id, agent_id, execution_id, day, first_position, created_at)
			select $1, u.* from unnest($2::text[], $3::text[], $4::date[], $5::bigint[], $6::timestamptz[]) as u
			on conflict (tenant_id, agent_id, execution_id) do nothing returning agent_id, day)
		update cost_daily c set executions = c.executions + b.count
		from (select agent_id, day, count(*) as count from begun group by agent_id, day) b
		where c.tenant_id = $1 and c.dimension = 'agent' and c.day = b.day and c.key = b.agent_id`,
		f.tenant, agents, executions, days, positions, first)
}
