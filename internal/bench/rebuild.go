package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

// rebuildParallel is how many projections are rebuilt at once.
const rebuildParallel = 2

// Rebuild measures rebuilds of projections that serve, with the log of Project, beside a binary COPY of the log: of all
// projections together, and of the two that most of the log concerns.
func Rebuild(ctx context.Context, config Config, projectors []projections.Projector) (err error) {
	config = config.withDefaults()
	scratch, err := OpenScratch(ctx, config.OwnerDSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close(ctx)) }()
	environment, err := scratch.environment(ctx)
	if err != nil {
		return err
	}
	environment.Rounds, environment.Events, environment.PoolSize = config.Rounds, config.Events, projectConns
	worker, owner, err := config.providersLog(ctx, scratch)
	if err != nil {
		return err
	}
	var all []string
	for _, projector := range projectors {
		if _, is := projector.(projections.Rebuildable); is {
			all = append(all, projector.Name())
		}
	}
	runner, err := projections.NewRunner(worker, eventcodec.New(), projections.Config{}, projectors...)
	if err != nil {
		return fmt.Errorf("make a runner: %w", err)
	}
	if err := runner.Wait(ctx, benchTenant, int64(config.Events), all...); err != nil {
		return fmt.Errorf("project the log: %w", err)
	}
	rebuilds := func(names ...string) func(context.Context) (measurement, error) {
		return timed(func(ctx context.Context) (int64, error) {
			return int64(config.Events), rebuildAll(ctx, worker, projectors, names)
		})
	}
	results, err := config.interleave(ctx, "rebuild", scratch, []variant{
		{name: "all", measure: rebuilds(all...)},
		{name: projections.ProvidersName, measure: rebuilds(projections.ProvidersName)},
		{name: projections.AuditIndexName, measure: rebuilds(projections.AuditIndexName)},
		{name: "copy", measure: timed(func(ctx context.Context) (int64, error) { return copyOut(ctx, owner) })},
	})
	if err != nil {
		return err
	}
	return config.write(environment, results)
}

// rebuildAll rebuilds projections to their ends.
func rebuildAll(ctx context.Context, worker *pgxpool.Pool, projectors []projections.Projector, names []string) error {
	runner, err := projections.NewRunner(worker, eventcodec.New(), projections.Config{}, projectors...)
	if err != nil {
		return fmt.Errorf("make a runner: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(rebuildParallel)
	for _, name := range names {
		group.Go(func() error {
			tenants, err := runner.RequestRebuild(ctx, name, "", false)
			if err != nil {
				return err //nolint:wrapcheck // says what it did
			}
			return runner.Rebuild(ctx, name, tenants, 1) //nolint:wrapcheck // says what it did
		})
	}
	return group.Wait() //nolint:wrapcheck // says what it did
}
