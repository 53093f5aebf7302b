package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/migrations"
)

func (p Process) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database schema up to date",
		Long: "Creates the database roles and applies the migrations that are missing, as the owner: ARCHON_MIGRATE_DATABASE_URL, else\nARCHON_DATABASE_URL, else the embedded PostgreSQL.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			if !cfg.DatabaseURL.IsSet() && cfg.MigrateDatabaseURL.IsSet() {
				cfg.DatabaseURL = cfg.MigrateDatabaseURL
			}
			db, err := openDatabase(cmd.Context(), cfg, p.quiet(cfg))
			if err != nil {
				return err
			}
			defer func() { _ = db.release(context.WithoutCancel(cmd.Context())) }()
			version, err := migrations.Up(cmd.Context(), db.owner)
			if err != nil {
				return err //nolint:wrapcheck // says what it did
			}
			_, err = fmt.Fprintf(p.Stdout, "schema version %d\n", version)
			return err //nolint:wrapcheck // writing to stdout
		},
	}
}
