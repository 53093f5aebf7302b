package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/internal/webhook"
	"github.com/archonhq/archon/projections"
)

// DeliverAlertTopic is the topic of jobs that send alerts to their tenant's webhook.
const DeliverAlertTopic = "alerts.deliver"

// DeliveriesAtOnce is how many alerts a node sends at a time: a receiver may take ten seconds to answer, and others must not
// wait for it.
const DeliveriesAtOnce = 4

// deliveryPauses are the pauses after each failed attempt: 12 attempts in a day and three quarters. Then it is an operator's
// turn. A receiver that restarts misses a second, one that is down over a weekend finds its alerts with GET /alerts.
func deliveryPauses() []time.Duration {
	return []time.Duration{
		time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 10 * time.Hour, 24 * time.Hour,
	}
}

// AlertDelivery asks for each alert that is raised or resolved to be sent to its tenant's webhook. Whether there is one is for
// the job to see: it is that of the moment.
type AlertDelivery struct{}

var _ projections.Projector = AlertDelivery{}

// Name implements projections.Projector.
func (AlertDelivery) Name() string { return "alert_delivery" }

// Version implements projections.Projector.
func (AlertDelivery) Version() int { return 1 }

// Handles implements projections.Projector.
func (AlertDelivery) Handles() []string {
	return []string{alerts.Raised{}.EventType(), alerts.Resolved{}.EventType()}
}

type deliverAlert struct {
	// Stream is that of the alert, Position the event's.
	Stream   string `json:"stream"`
	Position int64  `json:"position"`
}

// Project implements projections.Projector.
func (AlertDelivery) Project(events []projections.Event, out *projections.Statements) error {
	for i := range events {
		event := &events[i]
		job, err := NewJob(event, DeliverAlertTopic, deliverAlert{Stream: event.Stream, Position: event.Position})
		if err != nil {
			return err
		}
		if err := job.Enqueue(out); err != nil {
			return err
		}
	}
	return nil
}

// DeliverAlerts does the jobs of AlertDelivery with the use case that it is given, whose id is the message's: the job's, the
// same in every attempt.
func DeliverAlerts(deliver func(ctx context.Context, tenant, stream string, position int64, id string) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload deliverAlert
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return &Final{Cause: fmt.Errorf("read the job: %w", err)}
		}
		err := deliver(ctx, job.Tenant, payload.Stream, payload.Position, job.ID.String())
		pauses := deliveryPauses()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, webhook.ErrGone) || job.Attempt > len(pauses):
			return &Final{Cause: err}
		}
		return &Later{After: pauses[max(job.Attempt, 1)-1], Cause: err}
	}
}
