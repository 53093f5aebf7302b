package cli

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/costcheck"
)

func (p Process) costsCommand() *cobra.Command {
	var tenant string
	check := &cobra.Command{
		Use: "check [--tenant T]", Short: "Hold the ledger and the sums of days against the log; exit code 1 where they differ",
		Long: "Folds the calls of the log anew, of all tenants or of one, and compares every row of the ledger, every sum of a day and every\nexecution with it. Prints each difference. What the ledger has not reached yet is no difference. See docs/costs.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			return p.withReadingPool(cmd.Context(), cfg, func(ctx context.Context, pool *pgxpool.Pool) error {
				log := eventstore.New(pool, eventstore.Config{Log: p.quiet(cfg)})
				return p.checkCosts(ctx, &costcheck.Checker{Pool: pool, Log: log}, tenant)
			})
		},
	}
	check.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	return group("costs", "What calls have cost", check)
}

// checkCosts checks one tenant, or all of them where none is named.
func (p Process) checkCosts(ctx context.Context, checker *costcheck.Checker, tenant string) error {
	tenants := []string{tenant}
	if tenant == "" {
		var err error
		if tenants, err = checker.Log.Tenants(ctx); err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	good := true
	for _, one := range tenants {
		report, err := checker.Check(ctx, one, func(difference string) { fmt.Fprintf(p.Stdout, "%s: %s\n", one, difference) })
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		verdict := "ok"
		if report.Differences > 0 {
			good, verdict = false, fmt.Sprintf("%d DIFFERENCES", report.Differences)
		}
		adjusted := ""
		if report.Adjustments > 0 {
			adjusted = fmt.Sprintf(", %s USD of it by pricing calls again %d times", report.Adjusted, report.Adjustments)
		}
		fmt.Fprintf(p.Stdout, "%s: %s, %d calls, %s USD%s, %d without a price, up to position %d of %d\n",
			one, verdict, report.Calls, report.Spend, adjusted, report.Unpriced, report.Position, report.Head)
	}
	if !good {
		return errQuiet
	}
	if len(tenants) == 0 {
		fmt.Fprintln(p.Stdout, "no tenant has events yet")
	}
	return nil
}
