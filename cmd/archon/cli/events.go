package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/eventstore"
)

const (
	// tailEvery is how often `events tail` looks for more.
	tailEvery = 200 * time.Millisecond
	tailBatch = 500
)

func (p Process) eventsCommand() *cobra.Command {
	var tenant, server, token, streams, types string
	after := int64(-1)
	follow := true
	tail := &cobra.Command{
		Use: "tail [--tenant T | --server URL --token T] [--after N]", Short: "Print events as they are appended",
		Long: "Prints events as NDJSON in the export format (docs/audit-format.md), from position N+1 on and then as they are appended,\nuntil it is interrupted. Without --after it begins with the next event. With several tenants there is no order between them.\n\nIt reads the database, or, with --server, the events of the token's tenant through a running Archon; then it connects again\nwhere it left off, and --streams and --types choose what is printed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("after") && after < 0 {
				return usageError{errors.New("--after must be a position, 0 for the beginning")}
			}
			if server != "" || token != "" || streams != "" || types != "" {
				if server == "" || token == "" || tenant != "" {
					return usageError{errors.New("--server and --token go together, and without --tenant: the token names it; --streams and --types need them")}
				}
				f := follower{process: p, streams: streams, types: types, after: after}
				return f.run(cmd.Context(), server, token, follow)
			}
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			return p.withLog(cmd.Context(), cfg, func(ctx context.Context, store *eventstore.Store) error {
				t := tailer{process: p, store: store, tenant: tenant, after: after, follow: follow, positions: map[string]int64{}}
				return t.run(ctx)
			})
		},
	}
	tail.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	tail.Flags().Int64Var(&after, "after", after, "begin after this position; 0 is the beginning")
	tail.Flags().StringVar(&server, "server", "", "URL of a running Archon to follow through")
	tail.Flags().StringVar(&token, "token", "", "token for --server; - reads it from standard input")
	tail.Flags().StringVar(&streams, "streams", "", "with --server, streams by name or prefix: provider-*,key-*")
	tail.Flags().StringVar(&types, "types", "", "with --server, types by name or prefix: provider.*")
	tail.Flags().BoolVar(&follow, "follow", follow, "go on when the end is reached")
	return group("events", "The events of the log", tail)
}

// tailer follows chains; positions are how far it has printed.
type tailer struct {
	process   Process
	store     *eventstore.Store
	tenant    string
	after     int64
	follow    bool
	positions map[string]int64
	started   bool
}

func (t *tailer) run(ctx context.Context) error {
	for {
		err := t.round(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was interrupted, which is how it ends
		}
		if err != nil || !t.follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailEvery):
		}
	}
}

// round prints what every chain has grown by.
func (t *tailer) round(ctx context.Context) error {
	tenants := []string{t.tenant}
	if t.tenant == "" {
		var err error
		if tenants, err = t.store.Tenants(ctx); err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	for _, tenant := range tenants {
		if _, known := t.positions[tenant]; !known {
			if err := t.begin(ctx, tenant); err != nil {
				return err
			}
		}
		if err := t.print(ctx, tenant); err != nil {
			return err
		}
	}
	t.started = true
	return nil
}

// begin decides where a chain is printed from: a tenant that appears later is printed whole.
func (t *tailer) begin(ctx context.Context, tenant string) error {
	switch {
	case t.after >= 0:
		t.positions[tenant] = t.after
	case t.started:
		t.positions[tenant] = 0
	default:
		head, err := t.store.Head(ctx, tenant)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		t.positions[tenant] = head.Position
	}
	return nil
}

func (t *tailer) print(ctx context.Context, tenant string) error {
	for {
		events, err := t.store.Read(ctx, tenant, t.positions[tenant], tailBatch)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		for i := range events {
			line, err := events[i].ExportLine()
			if err != nil {
				return err //nolint:wrapcheck // says what it did
			}
			if _, err := fmt.Fprintf(t.process.Stdout, "%s\n", line); err != nil {
				return fmt.Errorf("print an event: %w", err)
			}
			t.positions[tenant] = events[i].Position
		}
		if len(events) < tailBatch {
			return nil
		}
	}
}
