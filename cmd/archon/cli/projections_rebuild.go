package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/projections"
)

// maxParallel bounds --parallel: each tenant takes two connections.
const maxParallel = 64

func (p Process) rebuildCommand() *cobra.Command {
	var tenant string
	var older bool
	parallel := 2
	cmd := &cobra.Command{
		Use: "rebuild NAME [--tenant T] [--parallel N]", Short: "Build a projection anew from the log, beside the rows that serve",
		Long: "Folds the log from position 1 into tables beside those that serve, which are read and kept up to date all the time, and then\n" +
			"swaps them, tenant by tenant. Nodes that run take part. Where it is interrupted, in whatever way, the nodes or the same command go on.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if parallel < 1 || parallel > maxParallel {
				return usageError{fmt.Errorf("--parallel must be between 1 and %d", maxParallel)}
			}
			return p.withRunner(cmd.Context(), int32(2*parallel+2), func(ctx context.Context, o *operator) error {
				tenants, err := o.runner.RequestRebuild(ctx, args[0], tenant, older)
				if errors.Is(err, projections.ErrNewerVersion) {
					return fmt.Errorf("%w; use the newer Archon, or say --older to go back", err)
				}
				if err != nil {
					return err //nolint:wrapcheck // says what it did
				}
				if err := o.record(ctx, tenants, args[0], operations.ProjectionRebuildRequested{Name: args[0]}); err != nil {
					return err
				}
				return p.rebuild(ctx, o.runner, args[0], tenants, parallel)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	cmd.Flags().IntVar(&parallel, "parallel", parallel, "tenants at once")
	cmd.Flags().BoolVar(&older, "older", false, "also where a newer version of the projection serves: to go back to this one")
	return cmd
}

// rebuild does rebuilds that were asked for, and tells how far they are.
func (p Process) rebuild(ctx context.Context, runner *projections.Runner, name string, tenants []string, parallel int) error {
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- runner.Rebuild(ctx, name, tenants, parallel) }()
	meter := newMeter(p.Stderr, name)
	ticker := time.NewTicker(meter.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if progress, err := runner.Progress(ctx, name, tenants); err == nil {
				meter.show(progress, time.Now())
			}
			continue
		case err := <-ended:
			meter.end()
			if ctx.Err() != nil {
				fmt.Fprintln(p.Stderr, "archon: interrupted; nodes that run go on with it, or the same command does")
				return errQuiet
			}
			if err != nil {
				return err //nolint:wrapcheck // says what it did
			}
		}
		break
	}
	progress, err := runner.Progress(ctx, name, tenants)
	if err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	if progress.Tenants > 0 {
		fmt.Fprintf(p.Stdout, "%s has stopped for %d of %d tenants; what served goes on serving\n%s\n", name, progress.Tenants, len(tenants), progress.Error)
		return errQuiet
	}
	_, err = fmt.Fprintf(p.Stdout, "%s rebuilt for %d tenants, %d events in %s\n", name, len(tenants), progress.Head, time.Since(began).Round(time.Millisecond))
	return err //nolint:wrapcheck // writing to stdout
}

// meter shows how far something is: a bar that moves on a terminal, a line now and then elsewhere.
type meter struct {
	out   io.Writer
	name  string
	bar   bool
	every time.Duration
	// first is what was known at the beginning, from which the speed is reckoned.
	first   projections.Progress
	firstAt time.Time
	shown   bool
}

func newMeter(out io.Writer, name string) *meter {
	const often, seldom = 200 * time.Millisecond, 2 * time.Second
	m := &meter{out: out, name: name, every: seldom}
	if file, is := out.(*os.File); is {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			m.bar, m.every = true, often
		}
	}
	return m
}

func (m *meter) show(progress projections.Progress, now time.Time) {
	if m.firstAt.IsZero() {
		m.first, m.firstAt = progress, now
	}
	line := m.line(progress, now)
	if !m.bar {
		fmt.Fprintln(m.out, line)
		return
	}
	const fromTheStart = "\r\x1b[K"
	m.shown = true
	fmt.Fprint(m.out, fromTheStart, line)
}

// end leaves the bar where it is.
func (m *meter) end() {
	if m.shown {
		fmt.Fprintln(m.out)
	}
}

func (m *meter) line(progress projections.Progress, now time.Time) string {
	const width = 24
	share := 0.0
	if progress.Head > 0 {
		share = float64(progress.Position) / float64(progress.Head)
	}
	var line strings.Builder
	line.WriteString(m.name)
	if m.bar {
		full := int(share * width)
		line.WriteString(" [" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]")
	}
	fmt.Fprintf(&line, " %3.0f %%, %d of %d events, %d tenants to go", share*100, progress.Position, progress.Head, progress.Tenants)
	if passed := now.Sub(m.firstAt).Seconds(); passed > 0 && progress.Position > m.first.Position {
		speed := float64(progress.Position-m.first.Position) / passed
		left := time.Duration(float64(progress.Head-progress.Position) / speed * float64(time.Second))
		fmt.Fprintf(&line, ", %.0f events/s, about %s left", speed, left.Round(time.Second))
	}
	return line.String()
}
