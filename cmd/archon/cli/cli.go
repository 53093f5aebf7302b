// Package cli is Archon's command line, and the one place that sees every part of Archon and wires it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/archonhq/archon/internal/config"
)

// Exit codes.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Process is what a command gets from the world.
type Process struct {
	Version string
	Args    []string
	Environ []string
	Stdout  io.Writer
	Stderr  io.Writer
}

// usageError is a command line that can't be understood: exit code 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// errQuiet ends a command with exit code 1 that has said what is wrong already.
var errQuiet = errors.New("failed")

// Run runs one command line to its end and returns the exit code: 0 good, 1 failed, 2 usage. SIGINT and SIGTERM end the
// context of a command that is running.
func Run(ctx context.Context, process Process) int {
	logging.Disable() // go-redis writes every refused connection to stderr; /health and our own log say it once
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := process.root()
	root.SetArgs(process.Args)
	root.SetOut(process.Stdout)
	root.SetErr(process.Stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errQuiet):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(process.Stderr, "archon: %v\nRun `archon help` for the commands and `archon help config` for the settings.\n", err)
		return exitUsage
	}
	fmt.Fprintf(process.Stderr, "archon: %v\n", err)
	return exitFailed
}

func (p Process) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "archon",
		Short:         "The control plane in front of every model provider you use",
		Long:          "Archon registers model providers and their keys, routes calls, and keeps an event-sourced, verifiable log of all of it.\nSettings are ARCHON_* environment variables: see `archon help config`.",
		Version:       p.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, //nolint:wrapcheck // writing help
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		p.devCommand(), p.serveCommand(), p.migrateCommand(), p.tokenCommand(), p.projectionsCommand(), p.auditCommand(),
		p.eventsCommand(), p.routingCommand(), p.costsCommand(), p.dsnCommand(), p.benchCommand(), p.healthCommand(), p.versionCommand(),
	)
	root.SetHelpCommand(p.helpCommand(root))
	usageOnBadArguments(root)
	return root
}

// usageOnBadArguments makes superfluous or missing arguments and unknown subcommands usage errors.
func usageOnBadArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		usageOnBadArguments(child)
	}
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return usageError{fmt.Errorf("`%s` needs one of its subcommands; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())}
	}}
	cmd.AddCommand(children...)
	return cmd
}

// helpCommand is cobra's help with one more topic.
func (p Process) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command | config]",
		Short: "Help about a command, or about the settings",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "config" {
				return config.Help(p.Stdout) //nolint:wrapcheck // writing help
			}
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q", strings.Join(args, " "))}
			}
			return cmd.Help() //nolint:wrapcheck // writing help
		},
	}
}

func (p Process) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		_, err := fmt.Fprintln(p.Stdout, p.Version)
		return err //nolint:wrapcheck // writing to stdout
	}}
}

// settings reads the configuration; with warn, warnings go to stderr.
func (p Process) settings(warn bool) (config.Config, error) {
	cfg, warnings, err := config.Load(p.Environ)
	if err != nil {
		return cfg, usageError{fmt.Errorf("the configuration can't be used:\n%w", err)}
	}
	if warn {
		for _, warning := range warnings {
			fmt.Fprintf(p.Stderr, "archon: warning: %s\n", warning)
		}
	}
	return cfg, nil
}

// logger writes to stderr; stdout is for what a command answers.
func (p Process) logger(cfg config.Config, format config.LogFormat) *slog.Logger {
	if cfg.LogFormat != config.LogFormatUnset {
		format = cfg.LogFormat
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if format == config.LogFormatJSON {
		return slog.New(slog.NewJSONHandler(p.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, options))
}

// quiet logs what went wrong and nothing else: for commands that answer on stdout.
func (p Process) quiet(cfg config.Config) *slog.Logger {
	return slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: max(cfg.LogLevel, slog.LevelError)}))
}
