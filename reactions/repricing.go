package reactions

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/projections"
)

// RepriceTopic is the topic of jobs that price calls again.
const RepriceTopic = "costs.reprice"

// Repricing asks for the calls to be priced again that somebody wants to be.
type Repricing struct{}

var _ projections.Projector = Repricing{}

// Name implements projections.Projector.
func (Repricing) Name() string { return "repricing" }

// Version implements projections.Projector.
func (Repricing) Version() int { return 1 }

// Handles implements projections.Projector.
func (Repricing) Handles() []string { return []string{costs.RepricingRequested{}.EventType()} }

type repriceCalls struct {
	RepricingID string `json:"repricing_id"`
}

// Project implements projections.Projector.
func (Repricing) Project(events []projections.Event, out *projections.Statements) error {
	for i := range events {
		requested, ok := events[i].Payload.(costs.RepricingRequested)
		if !ok {
			continue
		}
		job, err := NewJob(&events[i], RepriceTopic, repriceCalls{RepricingID: requested.RepricingID})
		if err != nil {
			return err
		}
		if err := job.Enqueue(out); err != nil {
			return err
		}
	}
	return nil
}

// RepriceCalls does the jobs of Repricing with the use case that it is given.
func RepriceCalls(reprice func(ctx context.Context, job Job, repricingID string) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload repriceCalls
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return reprice(ctx, job, payload.RepricingID)
	}
}
