// Command task runs the targets of Taskfile.yml: it is go-task, with signals that reach the work.
//
// Stock go-task swallows INT, TERM and HUP (it waits for its programs, expecting the terminal to have told them too).
// A script or service manager that stops `go tool task dev` by its process id would therefore wait for ever, with
// Archon still running behind it. The one invariant here: who stops this process stops the programs that it started,
// and its exit code is theirs.
//
// Flags are the everyday subset of go-task's; `task` alone lists the targets.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-task/task/v3"
	"github.com/go-task/task/v3/args"
	taskerrors "github.com/go-task/task/v3/errors"
	"github.com/go-task/task/v3/taskfile/ast"
	"github.com/spf13/cobra"
)

func main() {
	stop := relaySignals()
	err := command().Execute()
	stop()

	os.Exit(exitCode(err))
}

// exitCode is the failed program's own code where a program failed, go-task's where the Taskfile is at fault.
func exitCode(err error) int {
	if failed, ok := errors.AsType[*taskerrors.TaskRunError](err); ok {
		return failed.TaskExitCode()
	}

	if known, ok := errors.AsType[taskerrors.TaskError](err); ok {
		return known.Code()
	}

	if err != nil {
		return taskerrors.CodeUnknown
	}

	return taskerrors.CodeOk
}

type flags struct {
	list, force, dry, silent, verbose, summary, parallel bool
}

func command() *cobra.Command {
	var f flags

	cmd := &cobra.Command{
		Use:           "task [target…] [VAR=value…] [-- arguments for the target]",
		Short:         "Run targets of Taskfile.yml; without a target, list them",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			err := run(cmd.Context(), f, arguments, cmd.ArgsLenAtDash())
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
			}

			return err
		},
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetContext(context.Background())

	cmd.Flags().BoolVarP(&f.list, "list", "l", false, "list the targets")
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "run even when up to date")
	cmd.Flags().BoolVarP(&f.dry, "dry", "n", false, "print the commands without running them")
	cmd.Flags().BoolVarP(&f.silent, "silent", "s", false, "do not echo the commands")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say more")
	cmd.Flags().BoolVar(&f.summary, "summary", false, "show a target's summary")
	cmd.Flags().BoolVarP(&f.parallel, "parallel", "p", false, "run the named targets at the same time")

	return cmd
}

// run executes the targets among arguments; those from position dash on (-1: none) are for the target itself.
func run(ctx context.Context, f flags, arguments []string, dash int) error {
	executor := task.NewExecutor(
		task.WithForce(f.force),
		task.WithDry(f.dry),
		task.WithSilent(f.silent),
		task.WithVerbose(f.verbose),
		task.WithSummary(f.summary),
		task.WithParallel(f.parallel),
		task.WithColor(os.Getenv("NO_COLOR") == "" && isTerminal(os.Stdout)),
		task.WithStdin(os.Stdin),
		task.WithStdout(os.Stdout),
		task.WithStderr(os.Stderr),
		task.WithVersionCheck(true),
	)

	err := executor.Setup()
	if err != nil {
		return fmt.Errorf("read the Taskfile: %w", err)
	}

	var forTarget []string
	if dash >= 0 {
		arguments, forTarget = arguments[:dash], arguments[dash:]
	}

	calls, globals := args.Parse(arguments...)
	if f.list || len(calls) == 0 {
		_, err = executor.ListTasks(task.NewListOptions(true, false, false, false, false))
		if err != nil {
			return fmt.Errorf("list the targets: %w", err)
		}

		return nil
	}

	err = setVariables(executor, globals, forTarget)
	if err != nil {
		return err
	}

	return executor.Run(ctx, calls...) //nolint:wrapcheck // go-task's own sentence names the target and the code already
}

// setVariables gives the Taskfile what the command line said: VAR=value and, as CLI_ARGS, what follows "--".
func setVariables(executor *task.Executor, globals *ast.Vars, forTarget []string) error {
	quoted, err := args.ToQuotedString(forTarget)
	if err != nil {
		return fmt.Errorf("quote the arguments: %w", err)
	}

	special := ast.NewVars()
	special.Set("CLI_ARGS", ast.Var{Value: quoted})
	special.Set("CLI_ARGS_LIST", ast.Var{Value: forTarget})

	executor.Taskfile.Vars.Merge(globals, nil)
	executor.Taskfile.Vars.ReverseMerge(special, nil)

	return nil
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()

	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
