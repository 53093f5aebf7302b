// Command compose checks a compose file against the compose specification: its JSON schema, interpolation, and the
// consistency rules (networks, volumes, depends_on) that `docker compose config` applies, with the same library.
//
// It needs no container engine, and it is a module of its own so that Archon does not depend on compose-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

var errUsage = errors.New("usage: compose docker-compose.yml")

func main() {
	err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) != 1 {
		return errUsage
	}

	options, err := cli.NewProjectOptions(arguments)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}

	project, err := options.LoadProject(ctx)
	if err != nil {
		return fmt.Errorf("load %s: %w", arguments[0], err)
	}

	_, _ = fmt.Fprintf(os.Stdout, "compose: %s is valid, services: %s\n", arguments[0], strings.Join(project.ServiceNames(), ", "))

	return nil
}
