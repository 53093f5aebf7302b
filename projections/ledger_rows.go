package projections

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// ledgerRows are the rows of a batch in token_ledger, by column.
type ledgerRows struct {
	ids                                                                 []uuid.UUID
	started, recorded                                                   []time.Time
	positions                                                           []int64
	kinds, outcomes, providerTypes, models, users                       []string
	executions, agents, departments, prices, givenUp                    []*string
	providers, keys                                                     []pgtype.UUID
	prompt, completion, total, cached, cacheWrite, reasoning, costUnits []int64
	priced, known                                                       []bool
}

func (r *ledgerRows) add(call *Call) {
	r.ids, r.started, r.recorded = append(r.ids, call.ID), append(r.started, call.StartedAt), append(r.recorded, call.RecordedAt)
	r.positions, r.kinds, r.outcomes = append(r.positions, call.Position), append(r.kinds, call.Kind), append(r.outcomes, call.Outcome)
	r.providers, r.providerTypes = append(r.providers, encodableID(call.Answer.Provider)), append(r.providerTypes, call.ProviderType)
	r.models, r.keys, r.users = append(r.models, call.Answer.Model), append(r.keys, encodableID(call.Key)), append(r.users, call.User)
	r.executions, r.agents = append(r.executions, nullable(call.ExecutionID)), append(r.agents, nullable(call.Agent))
	r.departments = append(r.departments, nullable(call.Department))
	r.prices, r.givenUp = append(r.prices, nullable(string(call.Price))), append(r.givenUp, nullable(call.GivenUpJSON()))
	t := call.Tokens
	r.prompt, r.completion, r.total = append(r.prompt, t.Prompt()), append(r.completion, t.Completion()), append(r.total, t.Total())
	r.cached, r.cacheWrite, r.reasoning = append(r.cached, t.CacheRead), append(r.cacheWrite, t.CacheWrite), append(r.reasoning, t.Reasoning)
	r.priced, r.known, r.costUnits = append(r.priced, call.Priced), append(r.known, call.Known), append(r.costUnits, int64(call.Cost))
}

// encodableID is an id, or null, in the form that pgx encodes without reflection.
func encodableID(id *uuid.UUID) pgtype.UUID {
	if id == nil {
		return pgtype.UUID{}
	}
	return pgtype.UUID{Bytes: *id, Valid: true}
}

// nullable is nil for no text.
func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// write inserts the rows. Costs travel as whole numbers of 10⁻¹⁰ USD, which as numerics are multiplied exactly.
func (r *ledgerRows) write(tenant string, out *Statements) {
	if len(r.ids) == 0 {
		return
	}
	out.Exec(`insert into token_ledger (tenant_id, id, started_at, recorded_position, kind, outcome, execution_id, agent_id, provider_id,
			provider_type, model, key_id, user_id, department_id, prompt_tokens, completion_tokens, total_tokens, cached_tokens,
			cache_write_tokens, reasoning_tokens, priced, price, cost_usd, given_up, occurred_at, created_at)
		select $1, u.id, u.started, u.position, u.kind, u.outcome, u.execution, u.agent, u.provider, u.provider_type, u.model, u.key, u.owner,
			u.department, u.prompt, u.completion, u.total, u.cached, u.cache_write, u.reasoning, u.priced, u.price::jsonb,
			case when u.known then u.cost::numeric * 0.0000000001 end, u.given_up::jsonb, u.recorded, u.recorded
		from unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[],
				$11::text[], $12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[],
				$20::bigint[], $21::boolean[], $22::text[], $23::bigint[], $24::timestamptz[], $25::boolean[], $26::text[])
			as u(id, started, position, kind, outcome, execution, agent, provider, provider_type, model, key, owner, department, prompt,
				completion, total, cached, cache_write, reasoning, priced, price, cost, recorded, known, given_up)`,
		tenant, r.ids, r.started, r.positions, r.kinds, r.outcomes, r.executions, r.agents, r.providers, r.providerTypes,
		r.models, r.keys, r.users, r.departments, r.prompt, r.completion, r.total, r.cached, r.cacheWrite,
		r.reasoning, r.priced, r.prices, r.costUnits, r.recorded, r.known, r.givenUp)
}
