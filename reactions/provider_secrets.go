package reactions

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/projections"
)

// RemoveSecretTopic is the topic of jobs that destroy a deleted provider's secret.
const RemoveSecretTopic = "providers.remove_secret"

// SecretRemoval asks for the removal of a provider's secret when the provider is deleted. The deletion itself does not
// wait for it, and a crash between the two can't leave the secret behind.
type SecretRemoval struct{}

var _ projections.Projector = SecretRemoval{}

// Name implements projections.Projector.
func (SecretRemoval) Name() string { return "secret_removal" }

// Version implements projections.Projector.
func (SecretRemoval) Version() int { return 1 }

// Handles implements projections.Projector.
func (SecretRemoval) Handles() []string { return []string{providers.Deleted{}.EventType()} }

type removeSecret struct {
	ProviderID string `json:"provider_id"`
}

// Project implements projections.Projector.
func (SecretRemoval) Project(events []projections.Event, out *projections.Statements) error {
	return enqueueEach(events, out, RemoveSecretTopic, func(payload providers.Deleted) any { return removeSecret{ProviderID: payload.ProviderID} })
}

// RemoveSecrets does the jobs of SecretRemoval with the use case that it is given.
func RemoveSecrets(remove func(ctx context.Context, job Job, providerID string) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload removeSecret
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return remove(ctx, job, payload.ProviderID)
	}
}
