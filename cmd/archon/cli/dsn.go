package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (p Process) dsnCommand() *cobra.Command {
	var owner bool
	cmd := &cobra.Command{
		Use: "dsn", Short: "Print the connection string of the embedded PostgreSQL",
		Long: "Prints the connection string of the embedded PostgreSQL as the last line of stdout. The server is started where it is not\nrunning, and is left running: the next Archon on the same data folder adopts it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			if cfg.DatabaseURL.IsSet() {
				return errors.New("ARCHON_DATABASE_URL names the database already; `archon dsn` is for the embedded one")
			}
			db, err := openDatabase(cmd.Context(), cfg, p.quiet(cfg))
			if err != nil {
				return err
			}
			if !db.cluster.Adopted() {
				fmt.Fprintln(p.Stderr, "archon: PostgreSQL was not running; it is now, and is left running for the next Archon on this data folder to adopt")
			}
			if err := db.cluster.Leave(); err != nil {
				return fmt.Errorf("leave the server running: %w", err)
			}
			dsn := db.app
			if owner {
				dsn = db.owner
			}
			_, err = fmt.Fprintln(p.Stdout, dsn)
			return err //nolint:wrapcheck // writing to stdout
		},
	}
	cmd.Flags().BoolVar(&owner, "owner", false, "the superuser instead of the runtime role")
	return cmd
}
