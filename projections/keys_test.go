package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

// recordedAt is an event as a runner hands it out.
func recordedAt(position, version int64, stream string, payload eventstore.Typed) projections.Event {
	return projections.Event{Payload: payload, Recorded: eventstore.Recorded{
		Stream: stream, Type: payload.EventType(), Position: position, Version: version,
		EventID:    uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "event", position)),
		OccurredAt: time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC).Add(time.Duration(position) * time.Second).UnixMicro(),
	}}
}

// rowsOf are the rows of a table that a projector makes of a log in batches of a size, and of the same log once more from
// position 1, which has to give the same.
func (b *bench) rowsOf(ctx context.Context, projector projections.Projector, table string, log []projections.Event, size int) []string {
	GinkgoHelper()
	project := func(tenant string) []string {
		b.projectedBy(ctx, projector, tenant, log, size)
		rows, err := b.owner.Query(ctx, `select (to_jsonb(t) - 'tenant_id')::text from `+table+` t where tenant_id = $1 order by 1`, tenant)
		Expect(err).NotTo(HaveOccurred())
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		return lines
	}
	first := project(fmt.Sprintf("first-%d", size))
	Expect(project(fmt.Sprintf("again-%d", size))).To(Equal(first))
	return first
}

var _ = Describe("the keys projection", Label("postgres"), func() {
	It("builds the rows that a plain fold gives, wherever batches end", func(ctx context.Context) {
		b := newBench(ctx)
		random := rand.New(rand.NewPCG(1, 2))
		var log []projections.Event
		folded, versions := map[string]keys.Key{}, map[string]int64{}
		add := func(id string, payload eventstore.Typed) {
			versions[id]++
			log = append(log, recordedAt(int64(len(log)+1), versions[id], keys.Stream(id), payload))
			folded[id] = keys.Decider().Evolve(folded[id], payload)
		}
		for i := range 30 {
			id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)).String()
			created := keys.Created{KeyID: id, SecretHash: keys.Hash(id), Hint: "abcd", CreatedBy: "u'1", Config: keys.Config{Name: `K "` + id + `"`}}
			if i%2 == 0 {
				until := time.Date(2027, 1, 1, 0, 0, 0, 1000, time.UTC)
				created.Config = keys.Config{
					Name: "all", DepartmentID: new("d"), Models: []string{`a"b`, "c*"}, RateLimitRPM: new(int64(5)), BudgetNanoUSD: new(int64(0)), ExpiresAt: &until,
				}
			}
			add(id, created)
			if random.IntN(3) == 0 {
				add(id, keys.Revoked{KeyID: id})
			}
		}
		whole := b.rowsOf(ctx, projections.Keys{}, "api_keys", log, len(log))
		Expect(whole).To(HaveLen(30))
		for _, size := range []int{1, 7} {
			Expect(b.rowsOf(ctx, projections.Keys{}, "api_keys", log, size)).To(Equal(whole))
		}
		type row struct {
			ID, Hash  string
			IsRevoked bool
			Version   int64
			Models    int
			Budget    int64
		}
		var want []row
		for _, found := range collect[row](ctx, b, `select id::text, encode(secret_hash, 'hex'), revoked_at is not null, version,
			jsonb_array_length(models), coalesce(budget_nano_usd, -1) from api_keys where tenant_id = 'first-1' order by id`) {
			key := folded[found.ID]
			hash, err := key.SecretHash.MarshalText()
			Expect(err).NotTo(HaveOccurred())
			budget := int64(-1)
			if key.BudgetNanoUSD != nil {
				budget = *key.BudgetNanoUSD
			}
			want = append(want, row{found.ID, string(hash), key.IsRevoked, versions[found.ID], len(key.Models), budget})
			Expect(found).To(Equal(want[len(want)-1]))
		}
		Expect(want).To(HaveLen(30))
	})

	It("takes an id that is no UUID for the event's fault", func() {
		for _, payload := range []eventstore.Typed{keys.Created{KeyID: "x"}, keys.Revoked{KeyID: "x"}} {
			event := recordedAt(9, 1, "key-x", payload)
			Expect(projections.Keys{}.Project([]projections.Event{event}, &projections.Statements{})).To(MatchError(ContainSubstring("project position 9: key id")))
		}
	})
})
