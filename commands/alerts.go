package commands

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/archonhq/archon/domain/alerts"
)

// An alert that is known to be open is not looked at again for knownOpen, so that a model without a price costs its calls
// nothing. It is also how long an alert may be missing after it was resolved and happens again. maxKnown bounds the memory:
// past it everything is forgotten.
const (
	knownOpen = time.Minute
	maxKnown  = 10_000
)

// Alerts holds the use cases of alerts. It is safe for concurrent use.
type Alerts struct {
	Handler *Handler

	mu sync.Mutex
	// known is until when an alert is taken to be open, by tenant and stream.
	known map[[2]string]time.Time
}

type alertTask = task[alerts.State, alerts.Command]

// Raise opens an alert, unless one about the same thing is open. It is cheap where this node has raised or seen it within
// the last minute, or is about to: then it does nothing.
func (a *Alerts) Raise(ctx context.Context, tenant string, alert alerts.Alert) error {
	stream := alerts.Stream(alert.Kind, alert.Subject)
	key := [2]string{tenant, stream}
	if !a.claim(key) {
		return nil
	}
	id, err := newID()
	if err == nil {
		err = a.apply(ctx, SystemCaller(tenant, "alerts"), stream, alerts.Raise{AlertID: id, Alert: alert})
	}
	if err != nil {
		a.forget(key)
		return fmt.Errorf("raise an alert: %w", err)
	}
	return nil
}

// Resolve closes the open alert about something, if there is one; resolution says what resolved it.
func (a *Alerts) Resolve(ctx context.Context, caller Caller, kind alerts.Kind, subject, resolution string) error {
	stream := alerts.Stream(kind, subject)
	if err := a.apply(ctx, caller, stream, alerts.Resolve{Resolution: resolution}); err != nil {
		return fmt.Errorf("resolve an alert: %w", err)
	}
	a.forget([2]string{caller.Tenant, stream})
	return nil
}

func (a *Alerts) apply(ctx context.Context, caller Caller, stream string, command alerts.Command) error {
	_, err := handle(ctx, a.Handler, caller, alertTask{
		decider: alerts.Decider(),
		command: command,
		streams: []string{stream},
		answer:  func(alerts.State, int64, time.Time) response { return response{status: http.StatusNoContent} },
	})
	return err
}

// claim tells whether the caller has to raise an alert: nobody on this node has of late.
func (a *Alerts) claim(key [2]string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Handler.Now()
	if now.Before(a.known[key]) {
		return false
	}
	if a.known == nil || len(a.known) >= maxKnown {
		a.known = map[[2]string]time.Time{}
	}
	a.known[key] = now.Add(knownOpen)
	return true
}

func (a *Alerts) forget(key [2]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, key)
}
