package commands

import (
	"context"
	"fmt"

	"github.com/archonhq/archon/domain/alerts"
)

// DeadCredentials keeps the alerts about credentials that providers refuse.
type DeadCredentials struct {
	Alerts *Alerts
	Waiter Waiter
	// Refused tells, from the read tables, whether a provider refuses its credentials, and its name.
	Refused func(ctx context.Context, tenant, providerID string) (name string, refused bool, err error)
}

// Settle raises the alert about a provider where it refuses its credentials, and resolves it where it does not or is gone.
// It is called after each event that may have changed that; position is the event's. It goes by what the tables show then,
// so that jobs may come in any order.
func (d *DeadCredentials) Settle(ctx context.Context, caller Caller, position int64, providerID string) error {
	waiting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	if err := d.Waiter.Wait(waiting, caller.Tenant, position, "providers", "breakers"); err != nil {
		return fmt.Errorf("wait for the tables of providers: %w", err)
	}
	name, refused, err := d.Refused(ctx, caller.Tenant, providerID)
	if err != nil {
		return err
	}
	// A job's id is good for one command; these change nothing when they are done again.
	caller.Idempotency = nil
	if !refused {
		return d.Alerts.Resolve(ctx, caller, alerts.DeadCredentials, providerID, "The provider takes calls again, or is gone.")
	}
	return d.Alerts.raise(ctx, caller, alerts.CredentialsRefused(providerID, name))
}
