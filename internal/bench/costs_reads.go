package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/readapi"
)

// readTenant is the one whose costs are read.
const readTenant = "reads"

// history is the event store with a codec.
type history struct {
	*eventstore.Store
	*eventstore.Codec
}

// readCosts fills the month before this one with config.Rows calls, and reads what they cost as one would at its end.
func (c Config) readCosts(ctx context.Context, scratch *Scratch) ([]Result, error) {
	until := time.Now().UTC()
	until = time.Date(until.Year(), until.Month(), 1, 0, 0, 0, 0, time.UTC)
	from := until.AddDate(0, -1, 0)
	step := until.Sub(from) / time.Duration(c.Rows+1)
	log := callEvents(func(i int) time.Time { return from.Add(time.Duration(i) * step).Truncate(time.Microsecond) })
	if err := scratch.fillFrom(ctx, readTenant, c.Rows, from, step, log); err != nil {
		return nil, err
	}
	worker, err := scratch.Pool(ctx, RoleWorker, projectConns)
	if err != nil {
		return nil, err
	}
	if err := rebuild(ctx, worker, readTenant, int64(c.Rows)); err != nil {
		return nil, fmt.Errorf("project what is read: %w", err)
	}
	owner, err := scratch.Pool(ctx, RoleOwner, 1)
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, owner, `vacuum (analyze) token_ledger, cost_daily, cost_executions`); err != nil {
		return nil, err
	}
	app, err := scratch.Pool(ctx, RoleApp, c.PoolSize)
	if err != nil {
		return nil, err
	}
	store := eventstore.New(app, eventstore.Config{})
	now := func() time.Time { return until.Add(-time.Hour) }
	past := history{store, eventcodec.New()}
	r := reader{pool: app, until: until, costs: &readapi.Costs{
		Database: readapi.Database{Pool: app}, History: past, Now: now, Budgets: &readapi.Budgets{
			Database: readapi.Database{Pool: app}, History: past, Now: now,
			TimeZone: func(context.Context, string) (*time.Location, error) { return time.UTC, nil },
		},
	}}
	var variants []variant
	for _, one := range []struct {
		name string
		read call
	}{
		{"dashboard", r.dashboard(nil)},
		{"dashboard, as_of mid-month", r.dashboard(new(from.Add(until.Sub(from) / 2)))},
		{"dashboard, as_of an hour ago", r.dashboard(new(until.Add(-2 * time.Hour)))},
		{"breakdown", r.breakdown(nil)},
		{"breakdown since a noon", r.breakdown(new(from.Add(36 * time.Hour).Format(time.RFC3339)))},
		{"select 1", r.nothing},
	} {
		variants = append(variants, variant{name: one.name, callers: 1, measure: func(ctx context.Context) (measurement, error) {
			return drive(ctx, c.Duration, []call{one.read})
		}})
	}
	return c.alone(ctx, scratch, variants)
}

// reader reads costs through the handlers, up to the bytes of an answer.
type reader struct {
	pool  *pgxpool.Pool
	costs *readapi.Costs
	until time.Time
}

// as is the context of a request of the tenant's.
func (r *reader) as(ctx context.Context) context.Context {
	return httpx.With(ctx, &httpx.Request{Principal: auth.Principal{Tenant: readTenant, Roles: []auth.Role{auth.RoleViewer}}})
}

func (r *reader) dashboard(asOf *time.Time) call {
	period := r.until.AddDate(0, -1, 0).Format("2006-01")
	return func(ctx context.Context) (int64, error) {
		answer, err := r.costs.GetCostDashboard(r.as(ctx), api.GetCostDashboardRequestObject{Params: api.GetCostDashboardParams{Period: &period, AsOf: asOf}})
		if err != nil {
			return 0, err //nolint:wrapcheck // drive does
		}
		return 1, written(answer.VisitGetCostDashboardResponse)
	}
}

func (r *reader) breakdown(from *string) call {
	if from == nil {
		from = new(r.until.AddDate(0, -1, 0).Format(time.DateOnly))
	}
	to := r.until.AddDate(0, 0, -1).Format(time.DateOnly)
	return func(ctx context.Context) (int64, error) {
		answer, err := r.costs.GetCostBreakdown(r.as(ctx), api.GetCostBreakdownRequestObject{
			Dimension: "user", Params: api.GetCostBreakdownParams{From: from, To: &to},
		})
		if err != nil {
			return 0, err //nolint:wrapcheck // drive does
		}
		return 1, written(answer.VisitGetCostBreakdownResponse)
	}
}

// nothing is a round trip to the database.
func (r *reader) nothing(ctx context.Context) (int64, error) {
	_, err := r.pool.Exec(ctx, "select 1")
	return 1, err //nolint:wrapcheck // drive does
}

// written writes an answer; one that is empty is a fault of the bench.
func written(visit func(http.ResponseWriter) error) error {
	recorder := httptest.NewRecorder()
	if err := visit(recorder); err != nil {
		return err
	}
	if recorder.Code != http.StatusOK || recorder.Body.Len() == 0 {
		return fmt.Errorf("%d %s", recorder.Code, recorder.Body)
	}
	return nil
}
