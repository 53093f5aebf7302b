package cli

import (
	"context"
	"errors"
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

var (
	errNoProjection = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such projection."}
	errNeverRebuilt = &domain.Refusal{
		Kind: domain.Conflict, Code: "never_rebuilt",
		Message: "It is a reaction, whose work in the outside world must not be done again; only projections are rebuilt.",
	}
	errNewerVersion = &domain.Refusal{
		Kind: domain.Conflict, Code: "newer_version",
		Message: "A newer version of the projection has been built or is being built; ask a node that runs the newer Archon.",
	}
)

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
	return c.steer(ctx, tenant, name, c.node.runner.Retry)
}

// RebuildProjection implements commands.Control.
func (c control) RebuildProjection(ctx context.Context, tenant, name string) (api.Projection, error) {
	return c.steer(ctx, tenant, name, func(ctx context.Context, name, tenant string) ([]string, error) {
		return c.node.runner.RequestRebuild(ctx, name, tenant, false)
	})
}

// PauseProjection implements commands.Control.
func (c control) PauseProjection(ctx context.Context, tenant, name string) (api.Projection, error) {
	return c.steer(ctx, tenant, name, c.node.runner.Pause)
}

// ResumeProjection implements commands.Control.
func (c control) ResumeProjection(ctx context.Context, tenant, name string) (api.Projection, error) {
	return c.steer(ctx, tenant, name, c.node.runner.Resume)
}

// steer does something to a projection and shows it.
func (c control) steer(ctx context.Context, tenant, name string, deed func(ctx context.Context, name, tenant string) ([]string, error)) (api.Projection, error) {
	_, err := deed(ctx, name, tenant)
	switch {
	case errors.Is(err, projections.ErrUnknownProjection):
		return api.Projection{}, errNoProjection
	case errors.Is(err, projections.ErrNeverRebuilt):
		return api.Projection{}, errNeverRebuilt
	case errors.Is(err, projections.ErrNewerVersion):
		return api.Projection{}, errNewerVersion
	case err != nil:
		return api.Projection{}, err
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
	if rebuild := state.Rebuild; rebuild != nil {
		projection.Rebuild = &api.ProjectionRebuild{
			Position: rebuild.Position, Head: rebuild.Head, EventsPerSecond: rebuild.EventsPerSecond, SecondsLeft: rebuild.SecondsLeft,
			Error: optional(rebuild.Error),
		}
	}
	return projection
}
