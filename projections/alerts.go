package projections

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/alerts"
)

// AlertsName is the name of the projection of alerts.
const AlertsName = "alerts"

// Alerts builds alerts.
type Alerts struct{}

var _ Rebuildable = Alerts{}

// Name implements Projector.
func (Alerts) Name() string { return AlertsName }

// Version implements Projector.
func (Alerts) Version() int { return 1 }

// Tables implements Rebuildable.
func (Alerts) Tables() []string {
	return []string{"alerts"}
}

// Handles implements Projector.
func (Alerts) Handles() []string {
	return []string{alerts.Raised{}.EventType(), alerts.Resolved{}.EventType()}
}

// Project implements Projector.
func (Alerts) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		var err error
		switch payload := event.Payload.(type) {
		case alerts.Raised:
			err = raiseAlert(event, payload, out)
		case alerts.Resolved:
			err = resolveAlert(event, payload, out)
		}
		if err != nil {
			return fmt.Errorf("project position %d: %w", event.Position, err)
		}
	}
	return nil
}

func raiseAlert(event *Event, raised alerts.Raised, out *Statements) error {
	id, err := uuid.Parse(raised.AlertID)
	if err != nil {
		return fmt.Errorf("alert id: %w", err)
	}
	details := []byte(`{}`)
	if raised.Details != nil {
		if details, err = json.Marshal(raised.Details); err != nil {
			return fmt.Errorf("encode an alert's details: %w", err)
		}
	}
	out.Exec(`insert into alerts (tenant_id, id, kind, subject, message, details, created_at) values ($1, $2, $3, $4, $5, $6, $7)`,
		event.Tenant, id, string(raised.Kind), raised.Subject, raised.Message, string(details), event.Time())
	return nil
}

func resolveAlert(event *Event, resolved alerts.Resolved, out *Statements) error {
	id, err := uuid.Parse(resolved.AlertID)
	if err != nil {
		return fmt.Errorf("alert id: %w", err)
	}
	out.Exec(`update alerts set resolved_at = $3, resolution = $4 where tenant_id = $1 and id = $2`, event.Tenant, id, event.Time(), resolved.Resolution)
	return nil
}
