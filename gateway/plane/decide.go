package plane

import (
	"encoding/json"
	"time"

	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
)

// decide settles where the call goes, and keeps the decision with everything that it rested on.
func (r *run) decide(request routing.Request) {
	in := r.input(r.snapshot, request)
	r.decision = routing.Decide(in, pricesAt(r.snapshot.Prices, r.started))
	record, err := json.Marshal(routing.NewRecord(in, r.decision))
	if err != nil { // numbers and text
		record = nil
	}
	r.recorded.Decision = record
}

// pricesAt looks prices up as of a time.
func pricesAt(book prices.Book, at time.Time) routing.Prices {
	return func(providerType, model string) (input, output int64, ok bool) {
		price, found := book.At(providerType, model, at)
		return int64(price.Input), int64(price.Output), found
	}
}

// input is what a decision for the tenant rests on now.
func (p *Plane) input(snapshot *Snapshot, request routing.Request) routing.Input {
	candidates := make([]routing.Candidate, len(snapshot.Providers))
	for i := range snapshot.Providers {
		provider := &snapshot.Providers[i]
		status, known := snapshot.Health[provider.ID]
		if !known {
			status = providers.Unknown
		}
		view := p.Breakers.Peek(snapshot.Tenant, provider.ID)
		state := string(view.State)
		if view.Blocked != "" {
			state = string(view.Blocked)
		}
		candidates[i] = routing.Candidate{
			ProviderID: provider.ID, Version: provider.Version, Name: provider.Config.Name, Type: string(provider.Config.Type),
			Enabled: provider.Config.IsEnabled, Models: provider.Config.SupportedModels, Capabilities: provider.Config.Capabilities,
			Health: string(status), Breaker: state, LatencyMS: p.firstTokens.median(snapshot.Tenant, provider.ID),
		}
	}
	return routing.Input{
		Rules: snapshot.Rules, RulesVersion: snapshot.RulesVersion, Fallback: snapshot.Fallback, FallbackVersion: snapshot.FallbackVersion,
		Candidates: candidates, Request: request, Draw: p.Draw(),
	}
}
