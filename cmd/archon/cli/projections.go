package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

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
			return p.withRunner(cmd.Context(), func(ctx context.Context, runner *projections.Runner) error {
				states, err := statesOf(ctx, runner, tenant)
				if err != nil {
					return err
				}
				return p.printStates(states, asJSON)
			})
		},
	}
	list.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	list.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	retry := &cobra.Command{
		Use: "retry NAME [--tenant T]", Short: "Let a stalled projection go on",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withRunner(cmd.Context(), func(ctx context.Context, runner *projections.Runner) error {
				count, err := runner.Retry(ctx, args[0], tenant)
				if err != nil {
					return err //nolint:wrapcheck // says what it did
				}
				_, err = fmt.Fprintf(p.Stdout, "%s goes on for %d tenants\n", args[0], count)
				return err //nolint:wrapcheck // writing to stdout
			})
		},
	}
	retry.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	return group("projections", "The read tables and how far they are", list, retry)
}

func statesOf(ctx context.Context, runner *projections.Runner, tenant string) ([]projections.State, error) {
	if tenant == "" {
		return runner.States(ctx) //nolint:wrapcheck // says what it did
	}
	return runner.StatesOf(ctx, tenant) //nolint:wrapcheck // says what it did
}

// withRunner runs a command on the projections without running them.
func (p Process) withRunner(ctx context.Context, run func(ctx context.Context, runner *projections.Runner) error) error {
	cfg, err := p.settings(true)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, p.quiet(cfg))
	if err != nil {
		return err
	}
	defer func() { _ = db.release(context.WithoutCancel(ctx)) }()
	const conns = 4
	pool, err := openPool(ctx, db.worker, roleWorker, conns)
	if err != nil {
		return err
	}
	defer pool.Close()
	runner, err := projections.NewRunner(pool, eventcodec.New(), projections.Config{Log: p.quiet(cfg)}, projectors()...)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	return run(ctx, runner)
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
	fmt.Fprintln(table, "NAME\tVERSION\tSTATUS\tPOSITION\tHEAD\tBEHIND\tLAG MS\tEVENTS/S\tERROR")
	for i := range states {
		s := &states[i]
		fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%.1f\t%s\n", s.Name, s.Version, s.Status, s.Position, s.Head, s.LagEvents, s.LagMS, s.EventsPerSecond, s.Error)
	}
	return table.Flush() //nolint:wrapcheck // writing to stdout
}
