package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/webhook"
)

// AlertDelivery sends alerts to their tenant's webhook.
type AlertDelivery struct {
	Settings *CostSettings
	// LoadUntil reads the events of a stream up to a position.
	LoadUntil func(ctx context.Context, tenant, stream string, position int64) ([]eventstore.Recorded, error)
	Send      func(ctx context.Context, message webhook.Message) error
}

// alertMessage is the body of a message, in the form that Standard Webhooks proposes.
type alertMessage struct {
	// Type is the event's name without its version.
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      alertData `json:"data"`
}

type alertData struct {
	Tenant     string         `json:"tenant_id"`
	AlertID    string         `json:"alert_id"`
	Kind       alerts.Kind    `json:"kind"`
	Subject    string         `json:"subject"`
	Message    string         `json:"message"`
	Details    map[string]any `json:"details"`
	Status     string         `json:"status"`
	RaisedAt   time.Time      `json:"raised_at"`
	ResolvedAt *time.Time     `json:"resolved_at"`
	Resolution *string        `json:"resolution"`
	// Path is where the alert is listed, below the address of the API.
	Path string `json:"path"`
}

// alertsPath is where alerts are listed.
const alertsPath = "/api/v1/alerts"

// Deliver sends what a stream of alerts said last up to a position, under an id that stays the same however often it is
// tried. Without a webhook there is nothing to do, which is no error.
func (d *AlertDelivery) Deliver(ctx context.Context, tenant, stream string, position int64, id string) error {
	settings, err := d.Settings.Current(ctx, tenant)
	if err != nil {
		return err
	}
	to := settings.Webhook
	if to == nil {
		return nil
	}
	body, err := d.body(ctx, tenant, stream, position)
	if err != nil {
		return err
	}
	keys, err := d.Settings.Keys(ctx, *to)
	if err != nil {
		return err
	}
	return d.Send(ctx, webhook.Message{URL: to.URL, ID: id, Body: body, Keys: keys})
}

// body is the same bytes whenever it is made: it follows from events alone.
func (d *AlertDelivery) body(ctx context.Context, tenant, stream string, position int64) ([]byte, error) {
	events, err := d.LoadUntil(ctx, tenant, stream, position)
	if err != nil {
		return nil, err
	}
	var message alertMessage
	for i := range events {
		payload, err := d.Settings.Handler.Codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return nil, fmt.Errorf("read an alert: %w", err)
		}
		message = message.after(tenant, payload, events[i].Time())
	}
	body, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("write an alert: %w", err)
	}
	return body, nil
}

func (m alertMessage) after(tenant string, event domain.Event, at time.Time) alertMessage {
	m.Timestamp = at
	switch e := event.(type) {
	case alerts.Raised:
		m.Type = "alert.raised"
		m.Data = alertData{
			Tenant: tenant, AlertID: e.AlertID, Kind: e.Kind, Subject: e.Subject, Message: e.Message, Details: e.Details,
			Status: "open", RaisedAt: at, Path: alertsPath + "?status=open",
		}
		if m.Data.Details == nil {
			m.Data.Details = map[string]any{}
		}
	case alerts.Resolved:
		m.Type = "alert.resolved"
		m.Data.Status, m.Data.ResolvedAt, m.Data.Resolution, m.Data.Path = "resolved", &at, &e.Resolution, alertsPath+"?status=resolved"
	}
	return m
}
