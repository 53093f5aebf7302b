package reactions

import (
	"context"

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
	return enqueueEach(events, out, RepriceTopic, func(payload costs.RepricingRequested) any { return repriceCalls{RepricingID: payload.RepricingID} })
}

// RepriceCalls does the jobs of Repricing with the use case that it is given.
func RepriceCalls(reprice func(ctx context.Context, job Job, repricingID string) error) func(context.Context, Job) error {
	return reading(func(ctx context.Context, job Job, payload repriceCalls) error {
		return reprice(ctx, job, payload.RepricingID)
	})
}
