package costcheck

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/projections"
)

// fold is what the calls of the log come to, without a limit to how large a sum may be.
type fold struct {
	calls, unpriced int64
	spend           *big.Int
	// adjusted is how much of spend the differences are, of which there are adjustments.
	adjusted    *big.Int
	adjustments int64
	days        map[dayKey]*sums
	executions  map[executionKey]execution
}

type dayKey struct{ dimension, day, key string }

// sums is what a row of cost_daily comes to.
type sums struct {
	spend, adjusted                                    *big.Int
	prompt, completion, requests, unpriced, executions int64
	first, last                                        int64
}

// add adds shares of a call that is at a position.
func (s *sums) add(position int64, shares ...projections.Share) {
	for i := range shares {
		share := &shares[i]
		s.spend.Add(s.spend, big.NewInt(int64(share.Cost)))
		s.prompt += share.Tokens.Input + share.Tokens.CacheRead + share.Tokens.CacheWrite
		s.completion += share.Tokens.Output + share.Tokens.Reasoning
		if !share.Priced {
			s.unpriced++
		}
	}
	if s.first == 0 {
		s.first = position
	}
	s.last = position
}

type executionKey struct{ agent, id string }

type execution struct {
	day      string
	position int64
}

func newFold() *fold {
	return &fold{spend: new(big.Int), adjusted: new(big.Int), days: map[dayKey]*sums{}, executions: map[executionKey]execution{}}
}

// add counts a call. Where it was answered it is a request; its shares count where they were consumed.
func (f *fold) add(call *projections.Call) {
	f.calls++
	if !call.Priced {
		f.unpriced++
	}
	f.spend.Add(f.spend, big.NewInt(int64(call.Cost)))
	day := call.StartedAt.UTC().Format(time.DateOnly)
	shares := append([]projections.Share{call.Answer}, call.GivenUp...)
	for dimension, key := range map[string]string{
		"total": "", "department": call.Department, "agent": call.Agent, "user": call.User, "key": id(call.Key),
	} {
		into := f.day(dayKey{dimension, day, key})
		into.requests++
		into.add(call.Position, shares...)
	}
	for i := range shares {
		for dimension, key := range map[string]string{"provider": id(shares[i].Provider), "model": shares[i].Model} {
			into := f.day(dayKey{dimension, day, key})
			into.add(call.Position, shares[i])
			if i == 0 {
				into.requests++
			}
		}
	}
	if call.ExecutionID == "" {
		return
	}
	key := executionKey{call.Agent, call.ExecutionID}
	if _, seen := f.executions[key]; !seen {
		f.executions[key] = execution{day, call.Position}
		f.day(dayKey{"agent", day, call.Agent}).executions++
	}
}

// adjust adds a difference to what its call has cost.
func (f *fold) adjust(a *projections.Adjustment, repriced *costs.CallRepriced) {
	f.adjustments++
	if repriced.Priced && !repriced.WasPriced {
		f.unpriced--
	}
	day := a.Day().Format(time.DateOnly)
	for i := range a.Parts {
		part := &a.Parts[i]
		difference := big.NewInt(int64(part.Difference))
		f.spend.Add(f.spend, difference)
		f.adjusted.Add(f.adjusted, difference)
		for dimension, key := range map[string]string{
			"total": "", "provider": id(part.Provider), "model": part.Model, "department": a.Department, "agent": a.Agent, "user": a.User, "key": id(a.Key),
		} {
			into := f.day(dayKey{dimension, day, key})
			into.spend.Add(into.spend, difference)
			into.adjusted.Add(into.adjusted, difference)
			if part.NewlyPriced {
				into.unpriced--
			}
		}
	}
}

func (f *fold) day(key dayKey) *sums {
	into, found := f.days[key]
	if !found {
		into = &sums{spend: new(big.Int), adjusted: new(big.Int)}
		f.days[key] = into
	}
	return into
}

// values are the columns of sums as text.
func (s *sums) values() [9]string {
	return [...]string{
		decimal(s.spend), number(s.prompt), number(s.completion), number(s.requests), number(s.unpriced), number(s.executions), number(s.first), number(s.last),
		decimal(s.adjusted),
	}
}

// checkDays holds cost_daily against the fold.
func (c *check) checkDays(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select dimension, day::text, key, spend_usd::text, prompt_tokens::text, completion_tokens::text, requests::text, unpriced::text,
		executions::text, first_position::text, last_position::text, adjusted_usd::text from cost_daily where tenant_id = $1 order by dimension, day, key`, c.tenant)
	if err != nil {
		return fmt.Errorf("read the sums of days: %w", err)
	}
	defer rows.Close()
	left := maps.Clone(c.fold.days)
	for rows.Next() {
		var key dayKey
		var have [9]string
		if err := rows.Scan(&key.dimension, &key.day, &key.key, &have[0], &have[1], &have[2], &have[3], &have[4], &have[5], &have[6], &have[7], &have[8]); err != nil {
			return fmt.Errorf("read the sums of days: %w", err)
		}
		c.compareDay(key, have, left[key])
		delete(left, key)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the sums of days: %w", err)
	}
	for _, key := range slices.SortedFunc(maps.Keys(left), dayKey.compare) {
		c.differf("%s: the sums of days lack it; the log comes to %s USD", key, decimal(left[key].spend))
	}
	return nil
}

func (c *check) compareDay(key dayKey, have [9]string, want *sums) {
	if want == nil {
		c.differf("%s: the sums of days have %s USD, and the log has no calls there", key, have[0])
		return
	}
	expected := want.values()
	for i, column := range []string{"spend_usd", "prompt_tokens", "completion_tokens", "requests", "unpriced", "executions", "first_position", "last_position", "adjusted_usd"} {
		if have[i] != expected[i] {
			c.differf("%s: %s is %s in the sums of days, and the log comes to %s", key, column, have[i], expected[i])
		}
	}
}

// String names a row of cost_daily.
func (k dayKey) String() string { return fmt.Sprintf("%s, %s %q", k.day, k.dimension, k.key) }

func (k dayKey) compare(other dayKey) int {
	return cmp.Or(cmp.Compare(k.dimension, other.dimension), cmp.Compare(k.day, other.day), cmp.Compare(k.key, other.key))
}

// checkExecutions holds cost_executions against the fold.
func (c *check) checkExecutions(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select agent_id, execution_id, day::text, first_position from cost_executions where tenant_id = $1 order by agent_id, execution_id`, c.tenant)
	if err != nil {
		return fmt.Errorf("read the executions: %w", err)
	}
	defer rows.Close()
	left := maps.Clone(c.fold.executions)
	for rows.Next() {
		var key executionKey
		var have execution
		if err := rows.Scan(&key.agent, &key.id, &have.day, &have.position); err != nil {
			return fmt.Errorf("read the executions: %w", err)
		}
		if want, found := left[key]; !found || want != have {
			c.differf("execution %q of agent %q: first seen on %s at position %d, which the log does not say", key.id, key.agent, have.day, have.position)
		}
		delete(left, key)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the executions: %w", err)
	}
	for _, key := range slices.SortedFunc(maps.Keys(left), func(a, b executionKey) int { return cmp.Or(cmp.Compare(a.agent, b.agent), cmp.Compare(a.id, b.id)) }) {
		c.differf("execution %q of agent %q: the table of executions lacks it", key.id, key.agent)
	}
	return nil
}
