package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/config"
)

func (p Process) auditCommand() *cobra.Command {
	var tenant string
	var offline offlineFlags
	verify := &cobra.Command{
		Use: "verify [--tenant T | --file EXPORT --key KEY [--since CHECKPOINT]...]", Short: "Check every hash of the log, or of an export",
		Long: "Re-reads every row of the log, of all tenants or of one, and checks positions, hashes, links and heads. Names the first\nposition whose row is missing, changed or misplaced. The format is in docs/audit-format.md.\n\n" +
			"With --file it checks an export instead, offline and without a database: also versions, the tree, the signature, and that older\ncheckpoints which you have kept are its beginning. It lists what it does not prove.\n\n" +
			"Exit codes: 0 sound; 1 tampered with, or not readable; 2 incomplete, or not sealed by a checkpoint; 3 usage.",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{annotationVerdicts: ""},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if offline.given(cmd) {
				return p.verifyFile(offline, tenant)
			}
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			return p.withLog(cmd.Context(), cfg, func(ctx context.Context, store *eventstore.Store) error {
				return p.verify(ctx, store, tenant)
			})
		},
	}
	verify.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	offline.define(verify)
	return group("audit", "The audit trail", verify, p.exportCommand(), p.checkpointCommand(), p.auditKeyCommand(), p.incarnateCommand())
}

// withLog runs a command over the log of all tenants: as the superuser where the database is embedded, who alone also
// sees rows of tenants without a head, else as the worker.
func (p Process) withLog(ctx context.Context, cfg config.Config, run func(ctx context.Context, store *eventstore.Store) error) error {
	return p.withReadingPool(ctx, cfg, func(ctx context.Context, pool *pgxpool.Pool) error {
		return run(ctx, eventstore.New(pool, eventstore.Config{Log: p.quiet(cfg)}))
	})
}

// withReadingPool runs a command that reads log and tables of all tenants.
func (p Process) withReadingPool(ctx context.Context, cfg config.Config, run func(ctx context.Context, pool *pgxpool.Pool) error) error {
	db, err := openDatabase(ctx, cfg, p.quiet(cfg))
	if err != nil {
		return err
	}
	defer func() { _ = db.release(context.WithoutCancel(ctx)) }()
	pool, err := db.readingPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	return run(ctx, pool)
}

// readingPool is for commands that read across tenants.
func (d *database) readingPool(ctx context.Context) (*pgxpool.Pool, error) {
	const conns = 8
	if d.cluster == nil {
		return openPool(ctx, d.worker, roleWorker, conns)
	}
	pool, err := pgxpool.New(ctx, d.owner)
	if err != nil {
		return nil, fmt.Errorf("open a connection pool: %w", err)
	}
	return pool, nil
}

func (p Process) verify(ctx context.Context, store *eventstore.Store, tenant string) error {
	bad, failed, tenants := 0, false, 0
	each := func(tenant string, report eventstore.Report, err error) {
		tenants++
		switch {
		case errors.Is(err, eventstore.ErrVerifying):
			failed = true
			fmt.Fprintf(p.Stderr, "archon: %s: %v; try again when it is done\n", tenant, err)
		case err != nil:
			failed = true
			fmt.Fprintf(p.Stderr, "archon: %s: %v\n", tenant, err)
		case report.OK:
			fmt.Fprintf(p.Stdout, "%s: ok, %d events, head %d %s\n", tenant, report.Checked, report.Head.Position, hex.EncodeToString(report.Head.Hash))
		default:
			bad++
			fmt.Fprintf(p.Stdout, "%s: TAMPERED, first bad position %d: %s\n", tenant, report.FirstBadPosition, report.Reason)
		}
	}
	if tenant != "" {
		report, err := store.VerifyParallel(ctx, tenant, runtime.GOMAXPROCS(0), eventstore.VerifyOptions{Progress: p.progress(tenant)})
		each(tenant, report, err)
	} else if err := store.VerifyAll(ctx, runtime.GOMAXPROCS(0), each); err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	if bad > 0 || failed {
		return errQuiet
	}
	if tenants == 0 {
		fmt.Fprintln(p.Stdout, "no tenant has events yet")
	}
	return nil
}
