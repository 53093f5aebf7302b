package cli

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (p Process) healthCommand() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use: "health", Short: "Ask a running Archon for its health; exit code 1 where it is not well",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.settings(false)
			if err != nil {
				return err
			}
			if url == "" {
				url = "http://" + reachable(cfg.HTTPAddr) + "/health"
			}
			const patience = 5 * time.Second
			client := &http.Client{Timeout: patience}
			request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, http.NoBody)
			if err != nil {
				return usageError{fmt.Errorf("--url: %w", err)}
			}
			response, err := client.Do(request)
			if err != nil {
				return fmt.Errorf("ask for the health: %w", err)
			}
			defer func() { _ = response.Body.Close() }()
			const enough = 64 << 10
			if _, err := io.Copy(p.Stdout, io.LimitReader(response.Body, enough)); err != nil {
				return fmt.Errorf("read the health: %w", err)
			}
			if response.StatusCode != http.StatusOK {
				return errQuiet
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "address of /health; default: this configuration's")
	return cmd
}
