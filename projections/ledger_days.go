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

// daySum is what a batch's calls come to in a row of cost_daily. Dollars and the rest below one are apart, since the cost
// of a single call may be as much as an Amount can be.
type daySum struct {
	dollars                     int64
	rest                        domain.Amount
	prompt, completion          int64
	requests, unpriced          int64
	firstPosition, lastPosition int64
	first                       time.Time // when the first event occurred
}

func (s *daySum) add(share *Share) {
	s.dollars += int64(share.Cost / domain.USD)
	s.rest += share.Cost % domain.USD
	s.prompt += share.Tokens.Prompt()
	s.completion += share.Tokens.Completion()
	if !share.Priced {
		s.unpriced++
	}
}

// sum counts a call to its rows of cost_daily and to its execution. Each provider and each model gets the shares of its own
// attempts; everything else gets all of them. The call itself counts once in every dimension, where it was answered.
func (f *ledgerFold) sum(call *Call) {
	day := call.Day()
	for _, one := range [...][2]string{
		{dimensionTotal, ""},
		{dimensionDepartment, call.Department},
		{dimensionAgent, call.Agent},
		{dimensionUser, call.User},
		{dimensionKey, idText(call.Key)},
	} {
		into := f.row(call, dayKey{dimension: one[0], day: day, key: one[1]})
		into.requests++
		into.add(&call.Answer)
		for i := range call.GivenUp {
			into.add(&call.GivenUp[i])
		}
	}
	f.sumShare(call, &call.Answer, day, 1)
	for i := range call.GivenUp {
		f.sumShare(call, &call.GivenUp[i], day, 0)
	}
	if call.ExecutionID == "" {
		return
	}
	execution := executionKey{agent: call.Agent, execution: call.ExecutionID}
	if _, found := f.executions[execution]; !found {
		f.executions[execution] = &firstCall{day: day, position: call.Position, at: call.RecordedAt}
	}
}

func (f *ledgerFold) sumShare(call *Call, share *Share, day time.Time, requests int64) {
	for _, one := range [...][2]string{{dimensionProvider, idText(share.Provider)}, {dimensionModel, share.Model}} {
		into := f.row(call, dayKey{dimension: one[0], day: day, key: one[1]})
		into.requests += requests
		into.add(share)
	}
}

// row is the row that the call counts to.
func (f *ledgerFold) row(call *Call, key dayKey) *daySum {
	into, found := f.days[key]
	if !found {
		into = &daySum{first: call.RecordedAt, firstPosition: call.Position}
		f.days[key] = into
	}
	into.lastPosition = call.Position
	return into
}

// dayKey is the key of a row of cost_daily.
type dayKey struct {
	dimension string
	day       time.Time
	key       string
}

func (k dayKey) compare(other dayKey) int {
	return cmp.Or(strings.Compare(k.dimension, other.dimension), k.day.Compare(other.day), strings.Compare(k.key, other.key))
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
	requests, unpriced, firstPositions, lastPositions := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, key := range order {
		sum := f.days[key]
		dimensions[i], days[i], keys[i] = key.dimension, key.day, key.key
		dollars[i], rests[i], prompt[i], completion[i] = sum.dollars, int64(sum.rest), sum.prompt, sum.completion
		requests[i], unpriced[i], first[i] = sum.requests, sum.unpriced, sum.first
		firstPositions[i], lastPositions[i] = sum.firstPosition, sum.lastPosition
	}
	out.Exec(`insert into cost_daily as c (tenant_id, dimension, day, key, spend_usd, prompt_tokens, completion_tokens, requests, unpriced,
			first_position, last_position, created_at)
		select $1, u.dimension, u.day, u.key, u.dollars + u.rest::numeric * 0.0000000001, u.prompt, u.completion, u.requests, u.unpriced,
			u.first_position, u.last_position, u.first
		from unnest($2::text[], $3::date[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
				$11::bigint[], $12::bigint[], $13::timestamptz[])
			as u(dimension, day, key, dollars, rest, prompt, completion, requests, unpriced, first_position, last_position, first)
		on conflict (tenant_id, dimension, day, key) do update set spend_usd = c.spend_usd + excluded.spend_usd,
			prompt_tokens = c.prompt_tokens + excluded.prompt_tokens, completion_tokens = c.completion_tokens + excluded.completion_tokens,
			requests = c.requests + excluded.requests, unpriced = c.unpriced + excluded.unpriced, last_position = excluded.last_position`,
		f.tenant, dimensions, days, keys, dollars, rests, prompt, completion, requests, unpriced, firstPositions, lastPositions, first)
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
