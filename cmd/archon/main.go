// Archon is the control plane in front of every model provider that an enterprise uses. This is its one binary.
package main

import (
	"context"
	"os"

	"github.com/archonhq/archon/cmd/archon/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Run(context.Background(), cli.Process{
		Version: version, Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}
