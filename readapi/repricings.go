package readapi

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/internal/httpx"
)

// GetRepricing implements api.StrictServerInterface. It reads the log itself.
func (c *Costs) GetRepricing(ctx context.Context, request api.GetRepricingRequestObject) (api.GetRepricingResponseObject, error) {
	id, err := uuid.Parse(request.ID)
	if err != nil {
		return nil, costs.ErrNoRepricing
	}
	state, events, err := foldStream(ctx, c.History, httpx.From(ctx).Principal.Tenant, costs.RepricingStream(id.String()), math.MaxInt64, costs.RepricingDecider())
	if err != nil {
		return nil, err
	}
	if !state.Exists() {
		return nil, costs.ErrNoRepricing
	}
	var completed *time.Time
	if state.Completed {
		at := events[len(events)-1].Time()
		completed = &at
	}
	return api.GetRepricing200JSONResponse{Data: RepricingOf(state, events[0].Time(), completed), Meta: httpx.Meta(ctx)}, nil
}

// RepricingOf is a repricing as the API shows it; completedAt is nil where it is not completed.
func RepricingOf(state costs.Repricing, requestedAt time.Time, completedAt *time.Time) api.CostRepricing {
	shown := api.CostRepricing{
		ID: state.Requested.RepricingID, From: state.Requested.From, To: state.Requested.Until, DryRun: state.Requested.DryRun,
		ProviderType: optionalParameter(state.Requested.ProviderType), Model: optionalParameter(state.Requested.Model),
		Status: api.CostRepricingStatusRunning, Examined: state.Found.Examined, Repriced: state.Found.Repriced,
		NewlyPriced: state.Found.NewlyPriced, Unpriced: state.Found.Unpriced, DifferenceUsd: state.Found.Difference.Number(),
		RequestedAt: requestedAt, CompletedAt: completedAt,
	}
	if state.Completed {
		shown.Status = api.CostRepricingStatusCompleted
	}
	return shown
}

// CallsBegun lists the calls of a tenant's ledger that are behind a place and began before a moment, recorded up to a position,
// in the order of places; at most limit.
func (c *Costs) CallsBegun(ctx context.Context, tenant string, after costs.Place, until time.Time, upTo int64, limit int) ([]costs.Place, error) {
	rows, err := query[struct {
		StartedAt        time.Time
		RecordedPosition int64
	}](ctx, c.Database, tenant, `select started_at, recorded_position from token_ledger
		where tenant_id = $1 and (started_at, recorded_position) > ($2, $3) and started_at >= $2 and started_at < $4 and recorded_position <= $5
		order by started_at, recorded_position limit $6`, after.StartedAt, after.Position, until, upTo, limit)
	if err != nil {
		return nil, fmt.Errorf("list calls of the ledger: %w", err)
	}
	places := make([]costs.Place, len(rows))
	for i, row := range rows {
		places[i] = costs.Place{StartedAt: row.StartedAt.UTC(), Position: row.RecordedPosition}
	}
	return places, nil
}

// Spender is on whose account calls were made; what is empty was on nobody's.
type Spender struct{ KeyID, DepartmentID, AgentID string }

// SpendersOf are those whose calls a repricing has booked differences for, each combination once: what they have spent is
// another sum since.
func (c *Costs) SpendersOf(ctx context.Context, tenant string, requested costs.RepricingRequested) ([]Spender, error) {
	spenders, err := query[Spender](ctx, c.Database, tenant, `select distinct coalesce(key_id::text, '') as key_id, coalesce(department_id, '') as department_id,
			coalesce(agent_id, '') as agent_id
		from cost_adjustments where tenant_id = $1 and started_at >= $2 and started_at < $3 and repricing_id = $4::uuid order by 1, 2, 3`,
		requested.From, requested.Until, requested.RepricingID)
	if err != nil {
		return nil, fmt.Errorf("find out whose calls were priced again: %w", err)
	}
	return spenders, nil
}
