package commands

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// RouteRequest is what a client wants to have routed.
type RouteRequest struct {
	// Messages is a JSON list in OpenAI's format.
	Messages json.RawMessage
	Model    string
	// Needs are names of capabilities.
	Needs []string
	// DepartmentID is the department that the request names, ClaimedDepartment that of the caller's token, which comes first.
	DepartmentID, ClaimedDepartment string
	// MaxCostPer1k is the most that 1,000 input tokens may cost, MaxLatencyMS the longest median time to the first token;
	// nil is no bound.
	MaxCostPer1k *domain.Amount
	MaxLatencyMS *int64
}

// DataPlane decides where calls go, and makes them. What it refuses is an *httpx.Error.
type DataPlane interface {
	// Try decides and does nothing.
	Try(ctx context.Context, tenant string, request RouteRequest) (api.RouteDecision, error)
	// Route calls a model. It hands the answer to before when it is known and the call not yet recorded, and returns it
	// with the position of the record.
	Route(ctx context.Context, caller Caller, request RouteRequest, before func(api.Routed)) (api.Routed, int64, error)
}

// Routes are the routes of the data plane that are Archon's own.
type Routes struct {
	Plane DataPlane
	Reads ReadYourWrites
}

// TryRoute implements api.StrictServerInterface.
func (r *Routes) TryRoute(ctx context.Context, request api.TryRouteRequestObject) (api.TryRouteResponseObject, error) {
	wanted, err := routeRequest(&request.Body.Prompt, nil, request.Body.Requirements, request.Body.DepartmentID)
	if err != nil {
		return nil, err
	}
	if wanted.DepartmentID == "" { // a dry run may ask for anybody's sake
		wanted.DepartmentID = httpx.From(ctx).Principal.Department
	}
	decision, err := r.Plane.Try(ctx, httpx.From(ctx).Principal.Tenant, wanted)
	if err != nil {
		return nil, err //nolint:wrapcheck // an httpx.Error is the answer
	}
	return httpx.NewAnswer(ctx, http.StatusOK, decision) //nolint:wrapcheck // says what it did
}

// Route implements api.StrictServerInterface.
func (r *Routes) Route(ctx context.Context, request api.RouteRequestObject) (api.RouteResponseObject, error) {
	wanted, err := routeRequest(request.Body.Prompt, request.Body.Messages, request.Body.Requirements, request.Body.DepartmentID)
	if err != nil {
		return nil, err
	}
	wanted.ClaimedDepartment = httpx.From(ctx).Principal.Department
	caller := callerOf(ctx)
	var known api.Routed
	answered := withAnswer(ctx, func(events []eventstore.Recorded) ([]byte, error) {
		repeated := known
		repeated.Content = nil // answers of models are kept nowhere
		answer, err := response{status: http.StatusOK, data: repeated}.answer(ctx, events[0].Position)
		if err != nil {
			return nil, err
		}
		return encodeAnswer(answer)
	})
	routed, position, err := r.Plane.Route(answered, caller, wanted, func(routed api.Routed) { known = routed })
	if err != nil {
		return nil, err //nolint:wrapcheck // an httpx.Error is the answer
	}
	answer, err := response{status: http.StatusOK, data: routed}.answer(ctx, position)
	if err != nil {
		return nil, err
	}
	return r.Reads.settle(ctx, outcome{Answer: answer, position: position}, caller.Tenant, "audit_index"), nil
}

// costPlaces is how finely a client may bound costs.
const costPlaces = 9

// routeRequest reads what both routes share.
func routeRequest(prompt *string, messages []api.OpenAIObject, sent *api.RouteRequirements, department *string) (RouteRequest, error) {
	wanted := RouteRequest{DepartmentID: orZero(department)}
	if err := wanted.setMessages(prompt, messages); err != nil {
		return wanted, err
	}
	if sent == nil {
		return wanted, nil
	}
	wanted.Model, wanted.MaxLatencyMS = orZero(sent.Model), sent.MaxLatencyMs
	for _, need := range []struct {
		wanted *bool
		name   string
	}{
		{sent.Vision, "vision"},
		{sent.FunctionCalling, "function_calling"},
		{sent.JSONMode, "json_mode"},
		{sent.Streaming, "streaming"},
	} {
		if orZero(need.wanted) {
			wanted.Needs = append(wanted.Needs, need.name)
		}
	}
	if sent.MaxCostPer1K != nil {
		bound, err := domain.ParseAmount(sent.MaxCostPer1K.String(), costPlaces)
		if err != nil {
			return wanted, httpx.Invalid(map[string]any{"requirements.max_cost_per_1k": err.Error()})
		}
		wanted.MaxCostPer1k = &bound
	}
	return wanted, nil
}

var errNoMessage = errors.New("either messages or prompt must be given, and not be empty")

func (r *RouteRequest) setMessages(prompt *string, messages []api.OpenAIObject) (err error) {
	var list any = messages
	if len(messages) == 0 {
		if orZero(prompt) == "" {
			return httpx.Invalid(map[string]any{"messages": errNoMessage.Error()})
		}
		list = []map[string]string{{"role": "user", "content": *prompt}}
	}
	r.Messages, err = json.Marshal(list)
	return err //nolint:wrapcheck // what was JSON becomes JSON
}
