package commands

import (
	"context"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/internal/httpx"
)

// Repricings holds the use cases of pricing calls again.
type Repricings struct {
	Handler *Handler
	Reads   ReadYourWrites
	Prices  *Prices
	// Show is a repricing as the API shows it.
	Show func(state costs.Repricing, requestedAt time.Time, completedAt *time.Time) api.CostRepricing
	// What the job needs besides; see Run.
	Calls CallLog
	// Begun lists the calls of the ledger that are behind a place and began before a moment, recorded up to a position, in the
	// order of places; at most limit.
	Begun  func(ctx context.Context, tenant string, after costs.Place, until time.Time, upTo int64, limit int) ([]costs.Place, error)
	Waiter Waiter
	// Chunk is how many calls are priced, and booked, at once; 500 by default.
	Chunk int
	// Recount, where set, has budgets counted anew that the differences of a repricing are in. It is called when the ledger has
	// all of them, again where it fails.
	Recount func(ctx context.Context, tenant string, requested costs.RepricingRequested) error
}

type repricingTask = task[costs.Repricing, costs.Request]

// RepriceCalls implements api.StrictServerInterface.
func (r *Repricings) RepriceCalls(ctx context.Context, request api.RepriceCallsRequestObject) (api.RepriceCallsResponseObject, error) {
	now := r.Handler.Now()
	wanted, err := repricingOf(request.Body, now)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	if wanted.RepricingID, err = newID(); err != nil {
		return nil, err
	}
	book, err := r.Handler.Log.Load(ctx, caller.Tenant, prices.Stream(caller.Tenant), 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // says which stream
	}
	wanted.BookVersion = int64(len(book))
	done, err := handle(ctx, r.Handler, caller, repricingTask{
		decider: costs.RepricingDecider(),
		command: costs.Request{RepricingRequested: wanted},
		streams: []string{costs.RepricingStream(wanted.RepricingID)},
		answer: func(state costs.Repricing, _ int64, at time.Time) response {
			return response{status: http.StatusAccepted, data: r.Show(state, at, nil), location: "/api/v1/cost/repricings/" + wanted.RepricingID}
		},
	})
	return finish(ctx, r.Handler, r.Reads, caller, done, err, "audit_index")
}

// repricingOf reads what was sent. As in every route about costs, a day as to is included, and a moment is not.
func repricingOf(sent *api.RepriceCalls, now time.Time) (costs.RepricingRequested, error) {
	wanted := costs.RepricingRequested{Until: now}
	details := map[string]any{}
	from, _, ok := httpx.DayOrTime(sent.From)
	if !ok {
		details["from"] = httpx.NotDayOrTime
	}
	wanted.From = from
	if sent.To != nil {
		to, isDay, ok := httpx.DayOrTime(*sent.To)
		if !ok {
			details["to"] = httpx.NotDayOrTime
		}
		if wanted.Until = to; isDay {
			wanted.Until = to.AddDate(0, 0, 1)
		}
	}
	if sent.ProviderType != nil {
		wanted.ProviderType = string(*sent.ProviderType)
	}
	if sent.Model != nil {
		wanted.Model = *sent.Model
	}
	if sent.DryRun != nil {
		wanted.DryRun = *sent.DryRun
	}
	return wanted, domain.InvalidFields("Calls can't be priced again in this way.", details)
}
