package bench

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
)

// What the calls of the log are of: so many of each.
const (
	callProviders   = 4
	callModels      = 8
	callDepartments = 20
	callAgents      = 40
	callUsers       = 500
	callKeys        = 60
	// executionCalls is how many calls there are between the beginnings of two executions; every other call belongs to one.
	executionCalls = 10
	// failovers is of how many calls one was given up by another provider first, at a cost.
	failovers = 100
)

// callLog yields usage.recorded events as a data plane writes them: with the decision over all providers, the provider's own
// usage object, and the price.
type callLog struct {
	began     func(i int) time.Time
	providers []string
	models    []string
	prices    []prices.Price
	keys      []string
	decision  []json.RawMessage
}

// callEvents is a log of calls that began at the times that began gives.
func callEvents(began func(i int) time.Time) func(i int) (stream, eventType string, version int64, data []byte) {
	log := &callLog{began: began}
	for i := range callProviders {
		log.providers = append(log.providers, uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "provider %d", i)).String())
	}
	for i := range callKeys {
		log.keys = append(log.keys, uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "key %d", i)).String())
	}
	for i := range callModels {
		model, rate := fmt.Sprintf("gpt-4.%d-mini", i), prices.Rate(i+1)*prices.Rate(domain.USD)
		log.models = append(log.models, model)
		log.prices = append(log.prices, prices.Price{
			ProviderType: "openai", Model: model, Source: prices.FromList, EffectiveFrom: time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC),
			Rates: prices.Rates{Input: rate, CacheRead: rate / 4, CacheWrite: rate, Output: 4 * rate, Reasoning: 4 * rate},
		})
	}
	for i := range callProviders {
		log.decision = append(log.decision, log.decide(i))
	}
	return func(i int) (string, string, int64, []byte) {
		call := log.next(i)
		return usage.Stream(call.CallID), call.EventType(), 1, encoded(call)
	}
}

func encoded(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic("an event that can't be encoded: " + err.Error())
	}
	return data
}

// decide is a decision for a provider, with a rule that matched and the others as its chain.
func (l *callLog) decide(first int) json.RawMessage {
	record := routing.Record{
		Version: 1, RulesVersion: 12, FallbackVersion: 4, Draw: 1 << 60,
		Request: routing.Facts{Model: "gpt-4o", Needs: []string{"streaming"}, DepartmentID: uuid.Nil.String(), PromptTokens: 1200},
		Result: routing.Result{
			MatchedRule: &routing.MatchedRule{ID: uuid.NewSHA1(uuid.Nil, []byte("rule")).String(), Name: "Cheapest first"}, Trace: []int{0, 1, -1},
		},
	}
	for i := range l.providers {
		latency, rate := int64(200_000+1000*i), int64(domain.USD)
		id, model := l.providers[(first+i)%callProviders], l.models[i%callModels]
		record.Candidates = append(record.Candidates, routing.Seen{ProviderID: id, Version: 3, LatencyUS: &latency})
		record.Prices = append(record.Prices, routing.Looked{Type: "openai", Model: model, Input: &rate, Output: &rate})
		record.Result.Plan = append(record.Result.Plan, routing.Choice{ProviderID: id, Model: model, Via: routing.ViaChain})
	}
	return encoded(record)
}

// next is the call at i. Its parts are spread by Knuth's multiplier, so that neighbours have little in common.
func (l *callLog) next(i int) usage.Recorded {
	const spread, half = 2_654_435_761, 1 << 32
	scattered := int(int64(i) * spread % half)
	provider, model, owner := scattered%callProviders, scattered/7%callModels, scattered/11%callUsers
	tokens := domain.Tokens{Input: int64(200 + scattered%3000), CacheRead: int64(scattered % 1024), Output: int64(50 + scattered%700)}
	latency := int64(800_000 + scattered%2_000_000)
	call := usage.Recorded{
		CallID: uuid.Must(uuid.NewV7()).String(), Kind: usage.Chat, Streamed: i%2 == 0, StartedAt: l.began(i).UTC(), KeyID: l.keys[scattered/13%callKeys],
		UserID: fmt.Sprintf("user-%03d@example.com", owner), DepartmentID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, owner%callDepartments)).String(),
		RequestedModel: "gpt-4o", ProviderID: l.providers[provider], ProviderType: "openai", Model: l.models[model], Outcome: usage.Succeeded, Status: 200,
		Decision: l.decision[provider], Tokens: tokens, Source: "provider", Price: encoded(l.prices[model]), LatencyUS: latency, FirstTokenUS: latency / 4,
		RawUsage: fmt.Appendf(nil, `{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}`,
			tokens.Prompt(), tokens.Output, tokens.Total(), tokens.CacheRead),
	}
	if i%2 == 0 {
		call.AgentID = fmt.Sprintf("agent-%02d", owner%callAgents)
		call.ExecutionID = fmt.Sprintf("run-%08d", i/executionCalls)
	}
	cost := l.prices[model].Cost(tokens)
	if i%failovers == 0 {
		given := domain.Tokens{Input: tokens.Prompt()}
		lost := l.prices[0].Cost(given)
		cost += lost
		call.Attempts = append(call.Attempts, usage.Attempt{
			ProviderID: l.providers[(provider+1)%callProviders], Model: l.models[0], Outcome: "timeout", LatencyUS: 1_000_000, Error: "no answer within 10 s",
			Tokens: given, Source: "estimated", CostUSD: lost.String(),
		})
	}
	call.Attempts = append(call.Attempts, usage.Attempt{ProviderID: call.ProviderID, Model: call.Model, Outcome: "succeeded", Status: 200, LatencyUS: latency, FirstByteUS: latency / 4})
	call.CostUSD = cost.String()
	return call
}
