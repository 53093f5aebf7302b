package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/transparency"
)

// signedCommand is a command about the signed log of one tenant.
func (p Process) signedCommand(cmd *cobra.Command, run func(ctx context.Context, store *eventstore.Store, signer *transparency.Signer, tenant string) error) *cobra.Command {
	var tenant string
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if tenant == "" {
			return usageError{errors.New("--tenant is needed")}
		}
		cfg, err := p.settings(true)
		if err != nil {
			return err
		}
		return p.withSigner(cmd.Context(), cfg, func(ctx context.Context, store *eventstore.Store, signer *transparency.Signer) error {
			return run(ctx, store, signer, tenant)
		})
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose log")
	return cmd
}

// withSigner is withLog for commands that also sign.
func (p Process) withSigner(ctx context.Context, cfg config.Config, run func(ctx context.Context, store *eventstore.Store, signer *transparency.Signer) error) error {
	vault, err := openSecretStore(ctx, cfg, p.quiet(cfg))
	if err != nil {
		return err
	}
	defer func() { _ = vault.Close() }()
	return p.withLog(ctx, cfg, func(ctx context.Context, store *eventstore.Store) error {
		return run(ctx, store, &transparency.Signer{Log: store, Secrets: vault, Deployment: cfg.Deployment, Logger: p.quiet(cfg)})
	})
}

func (p Process) checkpointCommand() *cobra.Command {
	return p.signedCommand(&cobra.Command{
		Use: "checkpoint --tenant T", Short: "Sign the log as it is now, and print the checkpoint",
		Long: "Prints a signed note (C2SP). Keep it where nobody who can change the database can change it: `archon audit verify --since` holds\na later export against it.",
	}, func(ctx context.Context, _ *eventstore.Store, signer *transparency.Signer, tenant string) error {
		signed, err := signer.Checkpoint(ctx, tenant)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		_, err = io.WriteString(p.Stdout, signed.Note)
		return err //nolint:wrapcheck // writing to stdout
	})
}

func (p Process) auditKeyCommand() *cobra.Command {
	return p.signedCommand(&cobra.Command{
		Use: "key --tenant T", Short: "Print the key that the log's checkpoints are verified with",
	}, func(ctx context.Context, _ *eventstore.Store, signer *transparency.Signer, tenant string) error {
		_, key, err := signer.Key(ctx, tenant)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		_, err = fmt.Fprintln(p.Stdout, key)
		return err //nolint:wrapcheck // writing to stdout
	})
}

func (p Process) exportCommand() *cobra.Command {
	var from, to int64
	var output string
	cmd := p.signedCommand(&cobra.Command{
		Use: "export --tenant T [--from N] [--to N] [-o FILE]", Short: "Export the log with everything that an outsider needs to verify it",
		Long: "Writes NDJSON, a line an event, and a signed checkpoint as the last line. The format is in docs/audit-format.md; `archon audit verify\n--file` checks it.",
	}, func(ctx context.Context, store *eventstore.Store, signer *transparency.Signer, tenant string) error {
		if from < 0 || to < 0 {
			return usageError{errors.New("--from and --to are positions, from 1")}
		}
		signed, err := signer.Checkpoint(ctx, tenant)
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		export, err := store.PrepareExport(ctx, eventstore.Export{Tree: signed.Tree, From: from, To: to, Note: signed.Note})
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		if output == "" || output == "-" {
			return export.Write(ctx, p.Stdout) //nolint:wrapcheck // says what it did
		}
		return writeFile(output, func(file io.Writer) error { return export.Write(ctx, file) }) //nolint:wrapcheck // says what it did
	})
	cmd.Flags().Int64Var(&from, "from", 0, "first position; default: the beginning")
	cmd.Flags().Int64Var(&to, "to", 0, "last position; default: the end")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; default: standard output")
	return cmd
}

// writeFile makes a file that is whole where nothing failed.
func writeFile(path string, write func(io.Writer) error) error {
	const private = 0o600
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private)
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return nil
}
