// Configdoc writes docs/configuration.md from the table of settings.
package main

import (
	"fmt"
	"os"

	"github.com/archonhq/archon/internal/config"
)

func main() {
	const readable = 0o644
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: configdoc FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(config.Markdown()), readable); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
