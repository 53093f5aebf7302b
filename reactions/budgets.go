package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/projections"
)

// ReviewBudgetsTopic is the topic of jobs that look at a tenant's budgets.
const ReviewBudgetsTopic = "budgets.review"

// BudgetReview asks for a look at the tenant's budgets whenever one was set or removed, or periods may have changed: that may raise
// alerts, and resolve some.
type BudgetReview struct{}

var _ projections.Projector = BudgetReview{}

// Name implements projections.Projector.
func (BudgetReview) Name() string { return "budget_review" }

// Version implements projections.Projector.
func (BudgetReview) Version() int { return 1 }

// Handles implements projections.Projector.
func (BudgetReview) Handles() []string {
	return []string{budgets.Set{}.EventType(), budgets.Removed{}.EventType(), costsettings.Changed{}.EventType()}
}

type reviewBudgets struct {
	// Position is the event's, up to which the table of budgets has to be.
	Position int64 `json:"position"`
}

// Project implements projections.Projector. One look is enough for a batch.
func (BudgetReview) Project(events []projections.Event, out *projections.Statements) error {
	last := &events[len(events)-1]
	job, err := NewJob(last, ReviewBudgetsTopic, reviewBudgets{Position: last.Position})
	if err != nil {
		return err
	}
	return job.Enqueue(out)
}

// ReviewBudgets does the jobs of BudgetReview with the use case that it is given.
func ReviewBudgets(review func(ctx context.Context, job Job, position int64) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload reviewBudgets
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return review(ctx, job, payload.Position)
	}
}

const (
	// reviewEvery is how often budgets are looked at that nobody has touched.
	reviewEvery = 30 * time.Second
	// reviewLock is the advisory lock that keeps two nodes from doing so at once.
	reviewLock = 0x62_7564_6765 // "budge"
)

// BudgetSweeper looks at all tenants' budgets, for what calls and jobs have missed, and for periods that are over.
type BudgetSweeper struct {
	// Pool's sessions run as archon_worker.
	Pool   *pgxpool.Pool
	Review func(ctx context.Context, tenant string) error
	Log    *slog.Logger
}

// Run looks every 30 seconds until ctx ends.
func (s *BudgetSweeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reviewEvery):
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "a look at budgets failed and will be tried again", slog.Any("error", err))
		}
	}
}

// Sweep looks once at every tenant that has or had budgets, unless another node is at it. What goes wrong with one does not keep
// it from the others.
func (s *BudgetSweeper) Sweep(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(reviewLock)).Scan(&mine); err != nil || !mine {
			return err //nolint:wrapcheck // wrapped below
		}
		rows, err := tx.Query(ctx, `select distinct tenant_id from budgets order by tenant_id`)
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		var failures []error
		for _, tenant := range tenants {
			failures = append(failures, s.Review(ctx, tenant))
		}
		return errors.Join(failures...)
	})
	if err != nil {
		return fmt.Errorf("look at budgets: %w", err)
	}
	return nil
}
