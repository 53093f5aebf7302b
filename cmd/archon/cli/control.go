package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
)

// control shows and acts on a node's projections and jobs.
type control struct{ node *node }

var (
	_ commands.Control = control{}
	_ readapi.Overview = control{}
)

var errNoProjection = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such projection."}

// Projections implements readapi.Overview.
func (c control) Projections(ctx context.Context, tenant string) ([]api.Projection, error) {
	states, err := c.node.runner.StatesOf(ctx, tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	list := make([]api.Projection, len(states))
	for i := range states {
		list[i] = projectionOf(&states[i])
	}
	slices.SortFunc(list, func(a, b api.Projection) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// RetryProjection implements commands.Control.
func (c control) RetryProjection(ctx context.Context, tenant, name string) (api.Projection, error) {
	if _, err := c.projection(ctx, tenant, name); err != nil {
		return api.Projection{}, err
	}
	if _, err := c.node.runner.Retry(ctx, name, tenant); err != nil {
		return api.Projection{}, err //nolint:wrapcheck // says what it did
	}
	return c.projection(ctx, tenant, name)
}

func (c control) projection(ctx context.Context, tenant, name string) (api.Projection, error) {
	list, err := c.Projections(ctx, tenant)
	if err != nil {
		return api.Projection{}, err
	}
	for _, projection := range list {
		if projection.Name == name {
			return projection, nil
		}
	}
	return api.Projection{}, errNoProjection
}

func projectionOf(state *projections.State) api.Projection {
	projection := api.Projection{
		Name: state.Name, Version: state.Version, Status: api.ProjectionStatus(state.Status), Position: state.Position, Head: state.Head,
		LagEvents: state.LagEvents, LagMs: state.LagMS, EventsPerSecond: state.EventsPerSecond,
	}
	if state.Error != "" {
		projection.Error = &state.Error
	}
	return projection
}
