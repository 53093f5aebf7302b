package cli

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/oidcdev"
)

// devTokenTTL is how long the token in the banner of `archon dev` is valid.
const devTokenTTL = 12 * time.Hour

func (p Process) devCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dev", Short: "Run Archon on this machine with everything embedded",
		Long: "Runs the API, the projectors and the workers with a private PostgreSQL, Redis, an encrypted secret store and an OIDC issuer\nof its own in ARCHON_DATA_DIR. Needs PostgreSQL's programs on the machine. Providers on loopback addresses are allowed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			cfg.LogFormat = devFormat(cfg.LogFormat)
			cfg.ProviderAllowedCIDRs = append(cfg.ProviderAllowedCIDRs, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
			return p.run(cmd.Context(), cfg, []string{serveAPI, serveProjector, serveWorker}, p.banner)
		},
	}
}

func devFormat(chosen config.LogFormat) config.LogFormat {
	if chosen == config.LogFormatUnset {
		return config.LogFormatText
	}
	return chosen
}

// banner tells a new user where everything is and what to type next.
func (p Process) banner(n *node, addr net.Addr) error {
	base := "http://" + asConfigured(n.cfg.HTTPAddr, addr)
	_, err := fmt.Fprintf(p.Stdout, "\nArchon %s is ready at %s\n  documentation  %s/docs\n  health         %s/health\n  data           %s\n", n.version, base, base, base, n.cfg.DataDir)
	if err != nil || n.issuer == nil {
		return err //nolint:wrapcheck // writing to stdout
	}
	token, err := n.issuer.Token(oidcdev.Claims{Tenant: "demo", User: "admin", Name: "Admin", Roles: []auth.Role{auth.RoleAdmin}, TTL: devTokenTTL})
	if err != nil {
		return fmt.Errorf("sign the first token: %w", err)
	}
	_, err = fmt.Fprintf(p.Stdout, "\nTry it (a token for tenant demo, valid for 12 h; more with `archon token`):\n\n  curl -s %s/api/v1/router/providers -H 'Authorization: Bearer %s'\n\nStop with Ctrl-C.\n", base, token)
	return err //nolint:wrapcheck // writing to stdout
}

// asConfigured is the address that was taken, with the host that the user knows it by.
func asConfigured(configured string, taken net.Addr) string {
	host, _, err := net.SplitHostPort(configured)
	_, port, failed := net.SplitHostPort(taken.String())
	if err != nil || failed != nil {
		return reachable(taken.String())
	}
	return reachable(net.JoinHostPort(host, port))
}
