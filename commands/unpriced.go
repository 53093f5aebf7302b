package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/archonhq/archon/domain/alerts"
)

// Unpriced resolves alerts about models without a price once they have one.
type Unpriced struct {
	Alerts *Alerts
	Prices *Prices
	Waiter Waiter
	// Open lists the subjects of a tenant's open alerts of a kind, as the read tables have them.
	Open func(ctx context.Context, tenant string, kind alerts.Kind) ([]string, error)
}

// tableWait bounds the wait for the table of alerts; past it the job fails and is done again.
const tableWait = 30 * time.Second

// Resolve resolves every alert about a model that has a price now. It is called after each new price, when a price that was
// set ahead begins to hold, and after each new alert; position is that of the event, and moment the one that has come,
// which this node's clock may not have reached.
//
// That is enough for every alert, in whatever order the two events came: an alert before the price is in the table that is
// waited for, and a price before the alert is in the log that the book is made of.
func (u *Unpriced) Resolve(ctx context.Context, caller Caller, position int64, moment time.Time) error {
	waiting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	if err := u.Waiter.Wait(waiting, caller.Tenant, position, "alerts"); err != nil {
		return fmt.Errorf("wait for the table of alerts: %w", err)
	}
	open, err := u.Open(ctx, caller.Tenant, alerts.UnpricedModel)
	if err != nil || len(open) == 0 {
		return err
	}
	book, err := u.Prices.Book(ctx, caller.Tenant)
	if err != nil {
		return err
	}
	now := u.Prices.Handler.Now()
	if moment.After(now) {
		now = moment
	}
	// A job's id is good for one command; these change nothing when they are done again.
	caller.Idempotency = nil
	for _, subject := range open {
		providerType, model := alerts.ModelOf(subject)
		if _, priced := book.At(providerType, model, now); priced {
			if err := u.Alerts.Resolve(ctx, caller, alerts.UnpricedModel, subject, "The model has a price now."); err != nil {
				return err
			}
		}
	}
	return nil
}
