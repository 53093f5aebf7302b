package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/telemetry"
)

// Roles of a node.
const (
	serveAPI       = "api"
	serveProjector = "projector"
	serveWorker    = "worker"
)

func (p Process) serveCommand() *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use: "serve [--roles api,projector,worker]", Short: "Run Archon in production",
		Long: "Runs the parts of Archon named by --roles: api answers requests, projector keeps the read tables, worker runs jobs and\nprobes. PostgreSQL, Redis, Vault and the OIDC issuer are those of the ARCHON_* settings (see `archon help config`); what\nhas no setting is embedded in ARCHON_DATA_DIR, with a warning.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRoles(roles); err != nil {
				return usageError{err}
			}
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			log := p.logger(cfg, config.LogFormatJSON)
			for _, part := range []struct {
				missing  bool
				variable string
			}{
				{!cfg.DatabaseURL.IsSet(), "ARCHON_DATABASE_URL"},
				{!cfg.RedisURL.IsSet(), "ARCHON_REDIS_URL"},
				{cfg.VaultAddr == "", "ARCHON_VAULT_ADDR"},
				{cfg.OIDCIssuer == "", "ARCHON_OIDC_ISSUER"},
			} {
				if part.missing {
					log.WarnContext(cmd.Context(), "an embedded part is in use, which is not for production", "set", part.variable)
				}
			}
			return p.run(cmd.Context(), cfg, roles, func(n *node, addr net.Addr) error {
				n.log.InfoContext(cmd.Context(), "archon is ready", "address", addr.String(), "roles", strings.Join(roles, ","), "version", p.Version)
				return nil
			})
		},
	}
	cmd.Flags().StringSliceVar(&roles, "roles", []string{serveAPI, serveProjector, serveWorker}, "what this node does")
	return cmd
}

func checkRoles(roles []string) error {
	if len(roles) == 0 {
		return errors.New("--roles needs at least one of api, projector, worker")
	}
	for _, role := range roles {
		if !slices.Contains([]string{serveAPI, serveProjector, serveWorker}, role) {
			return fmt.Errorf("--roles: %q is none of api, projector, worker", role)
		}
	}
	return nil
}

// run runs a node with roles until ctx ends, then drains it. ready is called once it answers.
func (p Process) run(ctx context.Context, cfg config.Config, roles []string, ready func(n *node, addr net.Addr) error) error {
	format := config.LogFormatJSON
	log := p.logger(cfg, format)
	stopTracing, err := telemetry.Start(ctx, telemetry.Config{Endpoint: cfg.OTELEndpoint, Service: "archon", Version: p.Version, Node: cfg.NodeName})
	if err != nil {
		return fmt.Errorf("set up traces: %w", err)
	}
	n, err := openNode(ctx, cfg, log, p.Version)
	if err != nil {
		return err
	}
	failed := n.serve(ctx, roles, ready)
	closing, cancel := n.drain(ctx)
	defer cancel()
	return errors.Join(failed, n.close(closing), stopTracing(closing))
}
