package reactions_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("Budgets that were set", func() {
	It("are looked at once a batch, as far as it goes", func() {
		earlier := ninth
		earlier.Position, earlier.Payload = 8, budgets.Set{}
		last := ninth
		last.Payload = budgets.Removed{}
		out := &projections.Statements{}
		Expect(reactions.BudgetReview{}.Project([]projections.Event{earlier, last}, out)).To(Succeed())
		jobs := 0
		for _, args := range out.All() {
			jobs++
			Expect(args[0]).To(Equal("acme"))
			Expect(args[2]).To(Equal(reactions.ReviewBudgetsTopic))
			encoded, _ := args[3].([]byte)
			Expect(reactions.ReviewBudgets(func(_ context.Context, job reactions.Job, position int64) error {
				Expect(position).To(BeEquivalentTo(9))
				return nil
			})(context.Background(), reactions.Job{Payload: json.RawMessage(encoded)})).To(Succeed())
		}
		Expect(jobs).To(Equal(1))
		Expect(reactions.ReviewBudgets(nil)(context.Background(), reactions.Job{Payload: json.RawMessage(`[`)})).NotTo(Succeed())
	})
})

var _ = Describe("the sweeper of budgets", Label("postgres"), func() {
	It("looks at every tenant that has or had budgets, one node at a time, and goes on behind a failure", func(ctx context.Context) {
		db := database()
		owner, err := pgx.Connect(ctx, db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(owner.Close)
		_, err = owner.Exec(ctx, `insert into budgets (tenant_id, level, subject_id, id, budget_usd, period, warn_threshold_pct, version, removed_at, created_at, updated_at)
			values ('acme', 'department', 'a', gen_random_uuid(), 1, 'monthly', 80, 1, null, now(), now()), ('acme', 'agent', 'a', gen_random_uuid(), 1, 'monthly', 80, 1, null, now(), now()),
				('globex', 'department', 'a', gen_random_uuid(), 1, 'monthly', 80, 2, now(), now(), now())`)
		Expect(err).NotTo(HaveOccurred())
		var looked []string
		away := errors.New("away")
		sweeper := &reactions.BudgetSweeper{Pool: pool(db, "archon_worker"), Log: slog.New(slog.DiscardHandler)}
		other := *sweeper
		other.Review = func(context.Context, string) error { return errors.New("two at once") }
		sweeper.Review = func(ctx context.Context, tenant string) error {
			Expect(other.Sweep(ctx)).To(Succeed(), "another node is at it")
			looked = append(looked, tenant)
			if tenant == "acme" {
				return away
			}
			return nil
		}
		Expect(sweeper.Sweep(ctx)).To(MatchError(away))
		Expect(looked).To(Equal([]string{"acme", "globex"}))
		over, cancel := context.WithCancel(ctx)
		cancel()
		Expect(sweeper.Run(over)).To(Succeed())
	})
})
