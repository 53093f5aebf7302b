package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

func (p Process) projectionsCommand() *cobra.Command {
	var tenant string
	var asJSON bool
	list := &cobra.Command{
		Use: "list [--tenant T]", Short: "Show how far each projection is",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withRunner(cmd.Context(), fewConns, func(ctx context.Context, o *operator) error {
				states, err := statesOf(ctx, o.runner, tenant)
				if err != nil {
					return err
				}
				return p.printStates(states, asJSON)
			})
		},
	}
	list.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	list.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	retry := p.steerCommand("retry", "Let a stalled projection, or a rebuild of it, go on", "goes on", (*projections.Runner).Retry,
		func(name string) domain.Event { return operations.ProjectionRetried{Name: name} })
	pause := p.steerCommand("pause", "Stop a projection until it is resumed", "is paused", (*projections.Runner).Pause,
		func(name string) domain.Event { return operations.ProjectionPaused{Name: name} })
	resume := p.steerCommand("resume", "Let a paused projection go on", "goes on", (*projections.Runner).Resume,
		func(name string) domain.Event { return operations.ProjectionResumed{Name: name} })
	return group("projections", "The read tables and how far they are", list, p.rebuildCommand(), p.diffCommand(), retry, pause, resume)
}

// steerCommand is a command that does something to a projection and tells for how many tenants it did.
func (p Process) steerCommand(verb, short, done string, deed func(r *projections.Runner, ctx context.Context, name, tenant string) ([]string, error),
	event func(name string) domain.Event,
) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: verb + " NAME [--tenant T]", Short: short,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withRunner(cmd.Context(), fewConns, func(ctx context.Context, o *operator) error {
				tenants, err := deed(o.runner, ctx, args[0], tenant)
				if err != nil {
					return err
				}
				if err := o.record(ctx, tenants, args[0], event(args[0])); err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.Stdout, "%s %s for %d tenants\n", args[0], done, len(tenants))
				return err //nolint:wrapcheck // writing to stdout
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	return cmd
}

func statesOf(ctx context.Context, runner *projections.Runner, tenant string) ([]projections.State, error) {
	if tenant == "" {
		return runner.States(ctx) //nolint:wrapcheck // says what it did
	}
	return runner.StatesOf(ctx, tenant) //nolint:wrapcheck // says what it did
}

// fewConns are enough for a command that only looks or sets a status.
const fewConns = 4

// operator is somebody at the command line.
type operator struct {
	runner  *projections.Runner
	actions *commands.Operations
}

// record enters what was done to a projection into the logs of the tenants that it concerned.
func (o *operator) record(ctx context.Context, tenants []string, name string, event domain.Event) error {
	for _, tenant := range tenants {
		if err := o.actions.Record(ctx, tenant, domain.To{Stream: operations.ProjectionStream(name), Event: event}); err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	return nil
}

// withRunner runs a command on the projections without running them.
func (p Process) withRunner(ctx context.Context, conns int32, run func(ctx context.Context, o *operator) error) error {
	cfg, err := p.settings(true)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, p.quiet(cfg))
	if err != nil {
		return err
	}
	defer func() { _ = db.release(context.WithoutCancel(ctx)) }()
	pool, err := openPool(ctx, db.worker, roleWorker, conns)
	if err != nil {
		return err
	}
	defer pool.Close()
	appPool, err := openPool(ctx, db.app, roleApp, fewConns)
	if err != nil {
		return err
	}
	defer appPool.Close()
	codec := eventcodec.New()
	runner, err := projections.NewRunner(pool, codec, projections.Config{Log: p.quiet(cfg)}, projectors()...)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	store := eventstore.New(appPool, eventstore.Config{Log: p.quiet(cfg)})
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }()
	return run(ctx, &operator{runner: runner, actions: &commands.Operations{Handler: &commands.Handler{Log: store, Codec: codec}}})
}

func (p Process) printStates(states []projections.State, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(p.Stdout)
		for i := range states {
			if err := encoder.Encode(states[i]); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
		return nil
	}
	const padding = 2
	table := tabwriter.NewWriter(p.Stdout, 0, 0, padding, ' ', 0)
	fmt.Fprintln(table, "NAME\tVERSION\tSTATUS\tPOSITION\tHEAD\tBEHIND\tLAG MS\tEVENTS/S\tREBUILD\tERROR")
	for i := range states {
		s := &states[i]
		fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%.1f\t%s\t%s\n",
			s.Name, s.Version, s.Status, s.Position, s.Head, s.LagEvents, s.LagMS, s.EventsPerSecond, rebuildColumn(s.Rebuild), s.Error)
	}
	return table.Flush() //nolint:wrapcheck // writing to stdout
}

func rebuildColumn(rebuild *projections.RebuildState) string {
	switch {
	case rebuild == nil:
		return "-"
	case rebuild.Error != "":
		return "stopped at " + rebuild.Error
	}
	return fmt.Sprintf("%d of %d", rebuild.Position, rebuild.Head)
}
