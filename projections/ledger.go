package projections

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
)

// LedgerName is the name of the projection of what calls have consumed and cost.
const LedgerName = "ledger"

// Ledger builds token_ledger, cost_daily and cost_executions, and of differences cost_adjustments and cost_adjusted_days. It folds a batch in memory: ledger rows are inserted in the
// order of the log, and each row of cost_daily is written once a batch, in the order of its primary key.
type Ledger struct{}

var _ Folder = Ledger{}

// Name implements Projector.
func (Ledger) Name() string { return LedgerName }

// Version implements Projector.
func (Ledger) Version() int { return 1 }

// Handles implements Projector.
func (Ledger) Handles() []string {
	return []string{usage.Recorded{}.EventType(), costs.CallRepriced{}.EventType()}
}

// Project implements Projector.
func (l Ledger) Project(events []Event, out *Statements) error {
	fold := l.Fold()
	for i := range events {
		event := events[i]
		event.Payload = pointer(event.Payload)
		if err := fold.Add(&event); err != nil {
			return err //nolint:wrapcheck // it is our own
		}
	}
	fold.Write(out)
	return nil
}

// Fold implements Folder.
func (Ledger) Fold() Fold {
	return &ledgerFold{days: map[dayKey]*daySum{}, executions: map[executionKey]*firstCall{}}
}

type ledgerFold struct {
	tenant     string
	rows       ledgerRows
	held       int
	days       map[dayKey]*daySum
	executions map[executionKey]*firstCall
	// adjusted are the differences of calls that were priced again.
	adjusted adjustments
}

// Bytes that a row of a kind takes in memory, about.
const (
	ledgerRowBytes    = 640
	daySumBytes       = 200
	executionRowBytes = 200
)

// Add implements Fold.
func (f *ledgerFold) Add(event *Event) error {
	if repriced, is := event.Payload.(*costs.CallRepriced); is {
		bytes, err := f.adjusted.add(event, repriced)
		f.held += bytes
		return err
	}
	recorded, ok := event.Payload.(*usage.Recorded)
	if !ok || !Ledgered(recorded) {
		return nil
	}
	call, err := CallOf(recorded, event.Position, event.Time())
	if err != nil {
		return fmt.Errorf("project position %d: %w", event.Position, err)
	}
	f.tenant = event.Tenant
	f.rows.add(&call)
	f.held += ledgerRowBytes + len(call.Price)
	f.sum(&call)
	return nil
}

// Bytes implements Fold.
func (f *ledgerFold) Bytes() int {
	return f.held + len(f.days)*daySumBytes + len(f.executions)*executionRowBytes + f.adjusted.bytes()
}

// Part implements Fold.
func (f *ledgerFold) Part(out *Statements) {
	f.rows.write(f.tenant, out)
	f.rows = ledgerRows{}
	f.adjusted.writeRows(out)
}

// Write implements Fold.
func (f *ledgerFold) Write(out *Statements) {
	f.Part(out)
	f.writeDays(out)
	f.writeExecutions(out)
	f.adjusted.writeSums(out)
}

// Ledgered tells whether a call belongs into the ledger: whether it consumed something, or succeeded.
func Ledgered(recorded *usage.Recorded) bool {
	t := recorded.Tokens
	consumed := t.Input > 0 || t.CacheRead > 0 || t.CacheWrite > 0 || t.Output > 0 || t.Reasoning > 0
	return consumed || recorded.CostUSD != "" || recorded.Unpriced || recorded.Outcome == usage.Succeeded
}

// Call is a call as the ledger has it.
type Call struct {
	ID        uuid.UUID
	Position  int64
	StartedAt time.Time
	// RecordedAt is when the event occurred.
	RecordedAt time.Time
	Kind       string
	Outcome    string

	// Provider and Key are nil where there was none; empty text stands for none likewise.
	Provider, Key                                             *uuid.UUID
	ProviderType, Model, User, Department, Agent, ExecutionID string

	Tokens domain.Tokens
	// Priced says that Cost is known; it is 0 otherwise.
	Priced bool
	Cost   domain.Amount
	// Price is the JSON of the price that was used, nil where none was.
	Price []byte
}

// Day is the day (UTC) that the call counts to: the one on which it began, whose price it has.
func (c *Call) Day() time.Time {
	const day = 24 * time.Hour
	return c.StartedAt.UTC().Truncate(day)
}

// CallOf is the ledger's row of a call that Ledgered is true of. It fails on what no data plane writes: ids that are none,
// and a cost that is no amount.
func CallOf(recorded *usage.Recorded, position int64, at time.Time) (Call, error) {
	call := Call{
		Position: position, StartedAt: recorded.StartedAt.UTC().Truncate(time.Microsecond), RecordedAt: at,
		Kind: bounded(string(recorded.Kind)), Outcome: bounded(string(recorded.Outcome)),
		ProviderType: bounded(recorded.ProviderType), Model: bounded(recorded.Model), User: bounded(recorded.UserID),
		Department: bounded(recorded.DepartmentID), Agent: bounded(recorded.AgentID), ExecutionID: bounded(recorded.ExecutionID),
		Tokens: boundedTokens(recorded.Tokens), Priced: !recorded.Unpriced,
	}
	if recorded.StartedAt.IsZero() {
		call.StartedAt = at
	}
	if len(recorded.Price) > 0 && string(recorded.Price) != "null" {
		call.Price = recorded.Price
	}
	var err error
	if call.ID, err = uuid.Parse(recorded.CallID); err != nil {
		return Call{}, fmt.Errorf("call_id: %w", err)
	}
	if call.Provider, err = optionalID(recorded.ProviderID); err != nil {
		return Call{}, fmt.Errorf("provider_id: %w", err)
	}
	if call.Key, err = optionalID(recorded.KeyID); err != nil {
		return Call{}, fmt.Errorf("key_id: %w", err)
	}
	if call.Priced && recorded.CostUSD != "" {
		if call.Cost, err = domain.ParseAmount(recorded.CostUSD, domain.AmountPlaces); err != nil {
			return Call{}, fmt.Errorf("cost_usd: %w", err)
		}
	}
	return call, nil
}

func optionalID(text string) (*uuid.UUID, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // none is not an error
	}
	id, err := uuid.Parse(text)
	return &id, err //nolint:wrapcheck // wrapped by the caller
}

func idText(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

// maxCallTokens bounds a bucket of a call: what a provider claims beyond it is no count, and must not make sums overflow.
const maxCallTokens = 1_000_000_000_000

func boundedTokens(t domain.Tokens) domain.Tokens {
	bound := func(n int64) int64 { return min(max(n, 0), maxCallTokens) }
	return domain.Tokens{
		Input: bound(t.Input), CacheRead: bound(t.CacheRead), CacheWrite: bound(t.CacheWrite),
		Output: bound(t.Output), Reasoning: bound(t.Reasoning),
	}
}

// maxKeyBytes is how long a text may be that PostgreSQL is to index, with room for the other columns of the key.
const maxKeyBytes = 512

// bounded is text that PostgreSQL can store and index: without NUL, and where it is longer than maxKeyBytes, its beginning
// and a digest of all of it, so that different texts stay different. Users and departments are named by others.
func bounded(text string) string {
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= maxKeyBytes {
		return text
	}
	const digestBytes = 16
	digest := sha256.Sum256([]byte(text))
	end := maxKeyBytes - 2*digestBytes - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…" + hex.EncodeToString(digest[:digestBytes])
}

// ledgerRows are the rows of a batch in token_ledger, by column.
type ledgerRows struct {
	ids                                                                 []uuid.UUID
	started, recorded                                                   []time.Time
	positions                                                           []int64
	kinds, outcomes, providerTypes, models, users                       []string
	executions, agents, departments, prices                             []*string
	providers, keys                                                     []pgtype.UUID
	prompt, completion, total, cached, cacheWrite, reasoning, costUnits []int64
	priced                                                              []bool
}

func (r *ledgerRows) add(call *Call) {
	r.ids, r.started, r.recorded = append(r.ids, call.ID), append(r.started, call.StartedAt), append(r.recorded, call.RecordedAt)
	r.positions, r.kinds, r.outcomes = append(r.positions, call.Position), append(r.kinds, call.Kind), append(r.outcomes, call.Outcome)
	r.providers, r.providerTypes = append(r.providers, encodableID(call.Provider)), append(r.providerTypes, call.ProviderType)
	r.models, r.keys, r.users = append(r.models, call.Model), append(r.keys, encodableID(call.Key)), append(r.users, call.User)
	r.executions, r.agents = append(r.executions, nullable(call.ExecutionID)), append(r.agents, nullable(call.Agent))
	r.departments = append(r.departments, nullable(call.Department))
	r.prices = append(r.prices, nullable(string(call.Price)))
	t := call.Tokens
	r.prompt, r.completion, r.total = append(r.prompt, t.Prompt()), append(r.completion, t.Completion()), append(r.total, t.Total())
	r.cached, r.cacheWrite, r.reasoning = append(r.cached, t.CacheRead), append(r.cacheWrite, t.CacheWrite), append(r.reasoning, t.Reasoning)
	r.priced, r.costUnits = append(r.priced, call.Priced), append(r.costUnits, int64(call.Cost))
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
			cache_write_tokens, reasoning_tokens, priced, price, cost_usd, occurred_at, created_at)
		select $1, u.id, u.started, u.position, u.kind, u.outcome, u.execution, u.agent, u.provider, u.provider_type, u.model, u.key, u.owner,
			u.department, u.prompt, u.completion, u.total, u.cached, u.cache_write, u.reasoning, u.priced, u.price::jsonb,
			case when u.priced then u.cost::numeric * 0.0000000001 end, u.recorded, u.recorded
		from unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[],
				$11::text[], $12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[],
				$20::bigint[], $21::boolean[], $22::text[], $23::bigint[], $24::timestamptz[])
			as u(id, started, position, kind, outcome, execution, agent, provider, provider_type, model, key, owner, department, prompt,
				completion, total, cached, cache_write, reasoning, priced, price, cost, recorded)`,
		tenant, r.ids, r.started, r.positions, r.kinds, r.outcomes, r.executions, r.agents, r.providers, r.providerTypes,
		r.models, r.keys, r.users, r.departments, r.prompt, r.completion, r.total, r.cached, r.cacheWrite,
		r.reasoning, r.priced, r.prices, r.costUnits, r.recorded)
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
