package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/httpx"
)

// dataPlane lets the routes of the contract use the data plane.
type dataPlane struct{ plane *plane.Plane }

var _ commands.DataPlane = dataPlane{}

// chatOf makes the chat completion that a request amounts to.
func chatOf(request commands.RouteRequest) (*dialect.Chat, error) {
	body, err := json.Marshal(map[string]any{"model": request.Model, "messages": request.Messages})
	if err != nil {
		return nil, err //nolint:wrapcheck // what was JSON becomes JSON
	}
	chat, err := dialect.ParseChat(body)
	if malformed, ok := errors.AsType[*dialect.RequestError](err); ok {
		return nil, httpx.Invalid(map[string]any{malformed.Param: malformed.Message})
	}
	return chat, err //nolint:wrapcheck // a RequestError, or nil
}

// nano is an amount in 10⁻⁹ USD, rounded down: it is a bound.
func nano(amount *domain.Amount) *int64 {
	if amount == nil {
		return nil
	}
	whole := int64(*amount / domain.NanoUSD)
	return &whole
}

// Try implements commands.DataPlane.
func (d dataPlane) Try(ctx context.Context, tenant string, request commands.RouteRequest) (api.RouteDecision, error) {
	chat, err := chatOf(request)
	if err != nil {
		return api.RouteDecision{}, err
	}
	tried, problem := d.plane.Try(ctx, tenant, routing.Request{
		Model: request.Model, Needs: request.Needs, DepartmentID: request.DepartmentID, PromptTokens: chat.EstimatedPromptTokens(),
		MaxCostPer1k: nano(request.MaxCostPer1k), MaxLatencyMS: request.MaxLatencyMS,
	})
	if problem != nil {
		return api.RouteDecision{}, failureOf(problem, nil)
	}
	return decisionOf(tried), nil
}

func decisionOf(tried *plane.Tried) api.RouteDecision {
	decision := tried.Decision
	shown := api.RouteDecision{FallbackUsed: decision.FallbackUsed, Alternatives: []api.RouteAlternative{}, Trace: []api.RouteTrace{}}
	if choice, ok := decision.Chosen(); ok {
		provider := routeProvider(tried.Snapshot, choice.ProviderID)
		shown.SelectedProvider, shown.SelectedModel = &provider, &choice.Model
	}
	if tried.Estimate != nil {
		estimate := tried.Estimate.Number()
		shown.EstimatedCostUsd = &estimate
	}
	if rule := decision.MatchedRule; rule != nil {
		shown.MatchedRule = &api.RouteRule{ID: rule.ID, Name: rule.Name}
	}
	for _, other := range decision.NotChosen {
		shown.Alternatives = append(shown.Alternatives, api.RouteAlternative{
			Provider: routeProvider(tried.Snapshot, other.ProviderID), Model: optional(other.Model), ReasonNotChosen: string(other.Reason),
		})
	}
	for _, rule := range decision.Trace {
		shown.Trace = append(shown.Trace, api.RouteTrace{
			RuleID: rule.RuleID, Name: rule.Name, Matched: rule.Matched, FailedCondition: optional(rule.FailedCondition),
		})
	}
	return shown
}

// routeProvider names a provider; one that a rule names and that is gone has its id alone.
func routeProvider(snapshot *plane.Snapshot, id string) api.RouteProvider {
	provider := snapshot.Provider(id)
	if provider == nil {
		return api.RouteProvider{ID: id}
	}
	return api.RouteProvider{ID: id, Name: provider.Config.Name, Type: api.ProviderType(provider.Config.Type)}
}

// Route implements commands.DataPlane.
func (d dataPlane) Route(ctx context.Context, caller commands.Caller, request commands.RouteRequest, before func(api.Routed)) (api.Routed, int64, error) {
	chat, err := chatOf(request)
	if err != nil {
		return api.Routed{}, 0, err
	}
	var failed usage.Recorded
	result, problem := d.plane.Chat(ctx, plane.ChatCall{
		Caller: plane.Caller{
			Tenant: caller.Tenant, Actor: caller.Actor, Roles: caller.Roles, Method: caller.Method, Path: caller.Path,
			CorrelationID: caller.CorrelationID, IP: caller.IP, UserAgent: caller.UserAgent, UserID: caller.Actor.ID,
			DepartmentID: request.ClaimedDepartment, NamedDepartment: request.DepartmentID,
		},
		Chat: chat, MaxCostPer1k: nano(request.MaxCostPer1k), MaxLatencyMS: request.MaxLatencyMS, Needs: needsOf(request.Needs),
		Before: func(result *plane.Result) { before(routedOf(result)) },
		Failed: func(recorded usage.Recorded) { failed = recorded },
	})
	if problem != nil {
		return api.Routed{}, 0, failureOf(problem, failed.Attempts)
	}
	return routedOf(result), result.Position, nil
}

func needsOf(names []string) dialect.Needs {
	has := func(name string) bool { return slices.Contains(names, name) }
	return dialect.Needs{Vision: has("vision"), FunctionCalling: has("function_calling"), JSONMode: has("json_mode"), Streaming: has("streaming")}
}

func routedOf(result *plane.Result) api.Routed {
	recorded := &result.Recorded
	content := result.Content
	shown := api.Routed{
		Content: &content, Model: recorded.Model, LatencyMs: milliseconds(recorded.LatencyUS), Attempts: attemptsOf(recorded.Attempts),
		Provider: api.RouteProvider{ID: result.Provider.ID, Name: result.Provider.Config.Name, Type: api.ProviderType(result.Provider.Config.Type)},
		Usage: api.CallUsage{
			PromptTokens: recorded.Tokens.Prompt(), CompletionTokens: recorded.Tokens.Completion(), TotalTokens: recorded.Tokens.Total(),
			CachedTokens: recorded.Tokens.CacheRead, ReasoningTokens: recorded.Tokens.Reasoning,
		},
	}
	if cost, err := domain.ParseAmount(recorded.CostUSD, domain.AmountPlaces); err == nil && recorded.CostUSD != "" {
		number := cost.Number()
		shown.CostUsd = &number
	}
	return shown
}

func attemptsOf(attempts []usage.Attempt) []api.RouteAttempt {
	shown := make([]api.RouteAttempt, len(attempts))
	for i, attempt := range attempts {
		shown[i] = api.RouteAttempt{
			ProviderID: attempt.ProviderID, Outcome: attempt.Outcome, LatencyMs: milliseconds(attempt.LatencyUS), Error: optional(attempt.Error),
		}
	}
	return shown
}

func milliseconds(us int64) float64 { return float64(us) / float64(time.Millisecond/time.Microsecond) }

// failureOf is a problem of the data plane as the API's routes answer it.
func failureOf(problem *plane.Problem, attempts []usage.Attempt) *httpx.Error {
	failure := &httpx.Error{Status: problem.Status, Code: problem.Code, Message: problem.Message}
	if problem.RetryAfter > 0 {
		failure = failure.WithRetryAfter(problem.RetryAfter)
	}
	if len(attempts) > 0 {
		failure.Details = map[string]any{"attempts": attemptsOf(attempts)}
	}
	if problem.Budget != nil {
		failure.Details = map[string]any{"budget": problem.Budget}
	}
	return failure
}
