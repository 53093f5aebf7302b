package reactions

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/projections"
)

// DeadCredentialsTopic is the topic of jobs that bring the alert about a provider's credentials in line with its breaker.
const DeadCredentialsTopic = "alerts.dead_credentials"

// CredentialAlerts asks for a look at a provider whenever its credentials may have begun or ceased to be refused.
type CredentialAlerts struct{}

var _ projections.Projector = CredentialAlerts{}

// Name implements projections.Projector.
func (CredentialAlerts) Name() string { return "credential_alerts" }

// Version implements projections.Projector.
func (CredentialAlerts) Version() int { return 1 }

// Handles implements projections.Projector.
func (CredentialAlerts) Handles() []string {
	return []string{providers.BreakerChanged{}.EventType(), providers.Deleted{}.EventType()}
}

type deadCredentials struct {
	ProviderID string `json:"provider_id"`
	// Position is the event's, up to which the tables have to be.
	Position int64 `json:"position"`
}

// dead is what a breaker changes to, or from, when the provider refuses the credentials.
const dead = "dead"

// Project implements projections.Projector.
func (CredentialAlerts) Project(events []projections.Event, out *projections.Statements) error {
	for i := range events {
		event := &events[i]
		id := ""
		switch payload := event.Payload.(type) {
		case providers.BreakerChanged:
			if payload.From == dead || payload.To == dead {
				id = payload.ProviderID
			}
		case providers.Deleted:
			id = payload.ProviderID
		}
		if id == "" {
			continue
		}
		job, err := NewJob(event, DeadCredentialsTopic, deadCredentials{ProviderID: id, Position: event.Position})
		if err != nil {
			return err
		}
		if err := job.Enqueue(out); err != nil {
			return err
		}
	}
	return nil
}

// DeadCredentials does the jobs of CredentialAlerts with the use case that it is given.
func DeadCredentials(settle func(ctx context.Context, job Job, position int64, providerID string) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload deadCredentials
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return settle(ctx, job, payload.Position, payload.ProviderID)
	}
}
