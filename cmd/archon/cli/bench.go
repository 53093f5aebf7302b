package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/internal/bench"
)

func (p Process) benchCommand() *cobra.Command {
	callers := []int{0} // the default
	var seconds int
	var asJSON bool
	flags := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line instead of a table")
		return cmd
	}
	run := func(measurements ...func(context.Context, bench.Config) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			return p.measure(cmd.Context(), bench.Config{Duration: time.Duration(seconds) * time.Second, JSON: asJSON, Out: p.Stdout}, callers, measurements)
		}
	}
	appends := flags(&cobra.Command{
		Use: "append [--callers N] [--seconds S]", Short: "Durable appends beside plain INSERT and COPY on the same server",
		Args: cobra.NoArgs, RunE: run(bench.Append),
	})
	appends.Flags().IntSliceVar(&callers, "callers", []int{64}, "callers at once; several are measured one after the other")
	appends.Flags().IntVar(&seconds, "seconds", 0, "seconds of each of the five rounds of each variant")
	verify := flags(&cobra.Command{Use: "verify", Short: "Verification beside COPY TO STDOUT of the same rows", Args: cobra.NoArgs, RunE: run(bench.Verify)})
	export := flags(&cobra.Command{Use: "export", Short: "Offline verification of an export beside sha256sum of the same file", Args: cobra.NoArgs, RunE: run(bench.Export)})
	project := flags(&cobra.Command{Use: "project", Short: "Catch-up and lag of the provider projections beside COPY", Args: cobra.NoArgs, RunE: run(bench.Project)})
	rebuildAll := func(ctx context.Context, config bench.Config) error { return bench.Rebuild(ctx, config, projectors()) } //nolint:wrapcheck // measure does
	rebuild := flags(&cobra.Command{Use: "rebuild", Short: "Rebuilds of projections that serve beside COPY of the log", Args: cobra.NoArgs, RunE: run(rebuildAll)})
	var rows, events int
	costs := flags(&cobra.Command{
		Use: "costs [--events N] [--rows N] [--seconds S]", Short: "Rebuild of the ledger beside COPY, reading costs, reserving from budgets",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.measure(cmd.Context(), bench.Config{
				Duration: time.Duration(seconds) * time.Second, JSON: asJSON, Out: p.Stdout, Progress: p.Stderr, Events: events, Rows: rows,
			}, []int{0}, []func(context.Context, bench.Config) error{bench.Costs})
		},
	})
	costs.Flags().IntVar(&events, "events", 0, "calls in the log that is rebuilt from (default 200,000)")
	costs.Flags().IntVar(&rows, "rows", 0, "calls of the month that is read (default 1,000,000)")
	costs.Flags().IntVar(&seconds, "seconds", 0, "seconds of each of the five rounds of each read (default 5)")
	var calls bench.GatewayConfig
	var callSeconds float64
	gateway := flags(&cobra.Command{
		Use: "gateway [--seconds S]", Short: "Calls through a child Archon beside calls to the upstream itself",
		Long: "Runs `archon dev` in a temporary data folder and an upstream that answers at once, calls both, and compares. Tells on stderr\nhow far it is.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			calls.Duration = time.Duration(callSeconds * float64(time.Second))
			return p.measureGateway(cmd.Context(), calls, asJSON)
		},
	})
	gateway.Flags().Float64Var(&callSeconds, "seconds", 0, "seconds of each of the rounds of each load (default 5)")
	gateway.Flags().IntVar(&calls.Rounds, "rounds", 0, "rounds (default 5)")
	gateway.Flags().IntVar(&calls.Streams, "streams", 0, "streams open at once (default 1000)")
	var sockets bench.SocketsConfig
	var socketSeconds float64
	socketsCommand := flags(&cobra.Command{
		Use: "sockets [--sockets N] [--rate R] [--seconds S]", Short: "Delivery of events to many sockets of a child Archon, beside that to one",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if sockets.Executable, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			sockets.Environ, sockets.Out, sockets.JSON = p.Environ, p.Stdout, asJSON
			sockets.Duration = time.Duration(socketSeconds * float64(time.Second))
			if err := bench.Sockets(cmd.Context(), sockets); err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			return nil
		},
	})
	socketsCommand.Flags().IntVar(&sockets.Sockets, "sockets", 0, "sockets open at once (default 2000)")
	socketsCommand.Flags().IntVar(&sockets.Rate, "rate", 0, "events a second (default 20)")
	socketsCommand.Flags().Float64Var(&socketSeconds, "seconds", 0, "seconds (default 10)")
	all := flags(&cobra.Command{Use: "all", Short: "All measurements", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if err := run(bench.Append, bench.Verify, bench.Export, bench.Project, rebuildAll, bench.Costs)(cmd, args); err != nil {
			return err
		}
		return p.measureGateway(cmd.Context(), bench.GatewayConfig{}, asJSON)
	}})
	return group("bench", "Measure this machine, with baselines in the same run", appends, verify, export, project, rebuild, costs, gateway, socketsCommand, all)
}

// measureGateway measures a child Archon of this same program.
func (p Process) measureGateway(ctx context.Context, config bench.GatewayConfig, asJSON bool) (err error) {
	if config.Executable, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	config.Environ, config.Out, config.Progress, config.JSON = p.Environ, p.Stdout, p.Stderr, asJSON
	if err := bench.Gateway(ctx, config); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// measure runs measurements as the owner of the database, in tables of their own.
func (p Process) measure(ctx context.Context, config bench.Config, callers []int, measurements []func(context.Context, bench.Config) error) error {
	cfg, err := p.settings(true)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, p.quiet(cfg))
	if err != nil {
		return err
	}
	defer func() { _ = db.release(context.WithoutCancel(ctx)) }()
	config.OwnerDSN = db.owner
	for _, measurement := range measurements {
		for _, config.Callers = range callers {
			if err := measurement(ctx, config); err != nil {
				return fmt.Errorf("bench: %w", err)
			}
		}
	}
	return nil
}
