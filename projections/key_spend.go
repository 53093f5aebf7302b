package projections

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/usage"
)

// KeySpendName is the name of the projection of what API keys have spent.
const KeySpendName = "key_spend"

// KeySpend builds api_key_spend. It folds a batch in memory and writes a row a key, in the order of keys.
type KeySpend struct{}

var _ Rebuildable = KeySpend{}

// Name implements Projector.
func (KeySpend) Name() string { return KeySpendName }

// Version implements Projector.
func (KeySpend) Version() int { return 1 }

// Tables implements Rebuildable.
func (KeySpend) Tables() []string {
	return []string{"api_key_spend"}
}

// Handles implements Projector.
func (KeySpend) Handles() []string {
	return []string{usage.Recorded{}.EventType(), costs.CallRepriced{}.EventType()}
}

// spending is what a batch's calls of one key come to.
type spending struct {
	key         string
	spent       domain.Amount
	calls       int64
	first, last time.Time
}

// Project implements Projector.
func (KeySpend) Project(events []Event, out *Statements) error {
	byKey := map[string]*spending{}
	for i := range events {
		if repriced, is := events[i].Payload.(costs.CallRepriced); is {
			if repriced.KeyID != "" { // it has been used before, by the call itself
				spendingOf(byKey, repriced.KeyID, &events[i]).spent += repriced.Difference
			}
			continue
		}
		recorded, ok := events[i].Payload.(usage.Recorded)
		if !ok || recorded.KeyID == "" || recorded.Outcome == usage.Refused {
			continue
		}
		one := spendingOf(byKey, recorded.KeyID, &events[i])
		if recorded.CostUSD != "" {
			cost, err := domain.ParseAmount(recorded.CostUSD, domain.AmountPlaces)
			if err != nil {
				return fmt.Errorf("project position %d: cost_usd: %w", events[i].Position, err)
			}
			one.spent += cost
		}
		one.calls++
		one.last = events[i].Time()
	}
	if len(byKey) == 0 {
		return nil
	}
	return writeSpending(events[0].Tenant, byKey, out)
}

// spendingOf is the spending of a key in the batch.
func spendingOf(byKey map[string]*spending, key string, event *Event) *spending {
	one, found := byKey[key]
	if !found {
		one = &spending{key: key, first: event.Time()}
		byKey[key] = one
	}
	return one
}

func writeSpending(tenant string, byKey map[string]*spending, out *Statements) error {
	all := make([]*spending, 0, len(byKey))
	for _, one := range byKey {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *spending) int { return strings.Compare(a.key, b.key) })
	ids, spent := make([]uuid.UUID, len(all)), make([]string, len(all))
	calls, first, last := make([]int64, len(all)), make([]time.Time, len(all)), make([]time.Time, len(all))
	for i, one := range all {
		id, err := uuid.Parse(one.key)
		if err != nil {
			return fmt.Errorf("key id: %w", err)
		}
		ids[i], spent[i], calls[i], first[i], last[i] = id, one.spent.String(), one.calls, one.first, one.last
	}
	out.Exec(`insert into api_key_spend as s (tenant_id, key_id, spent_usd, calls, last_used_at, created_at)
		select $1, u.* from unnest($2::uuid[], $3::numeric[], $4::bigint[], $5::timestamptz[], $6::timestamptz[]) as u(key_id, spent, calls, last, first)
		on conflict (tenant_id, key_id) do update set spent_usd = s.spent_usd + excluded.spent_usd, calls = s.calls + excluded.calls,
			last_used_at = greatest(s.last_used_at, excluded.last_used_at)`, tenant, ids, spent, calls, last, first)
	return nil
}
