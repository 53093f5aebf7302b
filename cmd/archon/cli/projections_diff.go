package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/projections"
)

func (p Process) diffCommand() *cobra.Command {
	var tenant string
	var asJSON bool
	limit := 100
	cmd := &cobra.Command{
		Use: "diff NAME [--tenant T]", Short: "Compare a projection's rows with what the log says",
		Long: "Folds the log into temporary tables, up to the position at which the projection is, and compares row by row. Changes nothing.\n" +
			"Exit code 1 where a row differs.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withRunner(cmd.Context(), fewConns, func(ctx context.Context, o *operator) error {
				if err := o.runner.CanRebuild(args[0]); err != nil {
					return err //nolint:wrapcheck // says what is wrong
				}
				tenants, err := o.runner.Tenants(ctx, tenant)
				if err != nil {
					return err //nolint:wrapcheck // says what it did
				}
				differ := false
				for _, one := range tenants {
					found, err := p.diff(ctx, o.runner, args[0], one, limit, asJSON)
					if err != nil {
						return err
					}
					differ = differ || found
				}
				if len(tenants) == 0 {
					fmt.Fprintln(p.Stderr, "no tenant has events yet")
				}
				if differ {
					return errQuiet
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "this tenant only")
	cmd.Flags().IntVar(&limit, "limit", limit, "differences that are printed of each tenant")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object a difference, and nothing else")
	return cmd
}

// diff prints where the rows of a tenant differ, and tells whether they do.
func (p Process) diff(ctx context.Context, runner *projections.Runner, name, tenant string, limit int, asJSON bool) (bool, error) {
	printed := 0
	told, err := runner.Diff(ctx, name, tenant, func(one projections.Difference) error {
		printed++
		if printed > limit {
			return nil
		}
		if asJSON {
			return json.NewEncoder(p.Stdout).Encode(one) //nolint:wrapcheck // writing to stdout
		}
		_, err := fmt.Fprintln(p.Stdout, describeDifference(&one))
		return err //nolint:wrapcheck // writing to stdout
	})
	if err != nil {
		return false, err //nolint:wrapcheck // says what it did
	}
	if asJSON {
		return told.Differences > 0, nil
	}
	verdict := fmt.Sprintf("%s agrees with the log, %d rows", name, told.Rows)
	if told.Differences > 0 {
		verdict = fmt.Sprintf("%s DIFFERS from the log in %d rows", name, told.Differences)
	}
	_, err = fmt.Fprintf(p.Stdout, "%s: %s, at position %d\n", tenant, verdict, told.Position)
	return told.Differences > 0, err //nolint:wrapcheck // writing to stdout
}

func describeDifference(one *projections.Difference) string {
	var line strings.Builder
	line.WriteString(one.Tenant + ": " + one.Table)
	for _, key := range one.Key {
		value := key.Live
		if value == nil {
			value = key.Fresh
		}
		line.WriteString(" " + key.Column + "=" + shortened(value))
	}
	switch one.Kind {
	case projections.Missing:
		line.WriteString(": the row is missing")
	case projections.Extra:
		line.WriteString(": the log does not say of this row")
	case projections.Changed:
		for i, column := range one.Columns {
			separator := ":"
			if i > 0 {
				separator = ";"
			}
			line.WriteString(separator + " " + column.Column + " is " + shortened(column.Live) + ", the log says " + shortened(column.Fresh))
		}
	}
	return line.String()
}

// shortened is a value on a line.
func shortened(value *string) string {
	const longest = 80
	if value == nil {
		return "null"
	}
	runes := []rune(*value)
	if len(runes) > longest {
		return fmt.Sprintf("%q…", string(runes[:longest]))
	}
	return fmt.Sprintf("%q", *value)
}
