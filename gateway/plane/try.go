package plane

import (
	"context"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
)

// Tried is what a dry run came to.
type Tried struct {
	Snapshot *Snapshot
	Decision routing.Decision
	// Estimate is what the prompt and expectedOutput tokens of the chosen model cost; nil without a choice or a price.
	Estimate *domain.Amount
}

// expectedOutput is how many output tokens the estimate of a dry run assumes.
const expectedOutput = 256

// Try decides where a request would go now, and does nothing.
func (p *Plane) Try(ctx context.Context, tenant string, request routing.Request) (*Tried, *Problem) {
	snapshot, err := p.Directory.Get(ctx, tenant)
	if err != nil {
		return nil, p.fault(ctx, "read the configuration", err)
	}
	now := p.Now()
	tried := &Tried{Snapshot: snapshot, Decision: routing.Decide(p.input(snapshot, request), pricesAt(snapshot.Prices, now))}
	choice, ok := tried.Decision.Chosen()
	if !ok {
		return tried, nil
	}
	price, priced := snapshot.Prices.At(string(snapshot.Provider(choice.ProviderID).Config.Type), choice.Model, now)
	if priced {
		estimate := price.Cost(domain.Tokens{Input: request.PromptTokens, Output: expectedOutput})
		tried.Estimate = &estimate
	}
	return tried, nil
}
