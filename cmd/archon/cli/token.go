package cli

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/oidcdev"
)

// issuerPath is where the HTTP server has the embedded issuer.
const issuerPath = "/oidc"

// openIssuer opens the embedded issuer of the data folder. Its URL is that of the first start, whatever the address is now.
func openIssuer(cfg config.Config) (*oidcdev.Issuer, error) {
	if err := makeDataDir(cfg.DataDir); err != nil {
		return nil, err
	}
	issuer, err := oidcdev.Open(oidcdev.Config{
		Dir: filepath.Join(cfg.DataDir, "oidc"), URL: "http://" + reachable(cfg.HTTPAddr) + issuerPath,
		TenantClaim: cfg.OIDCTenantClaim, RolesClaim: cfg.OIDCRolesClaim, DepartmentClaim: cfg.OIDCDepartmentClaim, Audience: cfg.OIDCAudience,
	})
	if err != nil {
		return nil, fmt.Errorf("open the embedded OIDC issuer: %w", err)
	}
	return issuer, nil
}

// reachable is an address to type into a client for one that is listened on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func (p Process) tokenCommand() *cobra.Command {
	var tenant, user, department string
	var roles []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "token --tenant T --user U --role viewer|operator|admin|auditor [--department D]", Short: "Print a token of the embedded issuer",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := p.settings(false)
			if err != nil {
				return err
			}
			if cfg.OIDCIssuer != "" {
				return errors.New("tokens come from the OIDC issuer in ARCHON_OIDC_ISSUER; `archon token` serves the embedded one only")
			}
			claims, err := tokenClaims(tenant, user, roles, ttl)
			if err != nil {
				return usageError{err}
			}
			if !auth.ValidDepartment(department) {
				return usageError{errors.New("--department must be at most 200 bytes of text")}
			}
			claims.Department = department
			issuer, err := openIssuer(cfg)
			if err != nil {
				return err
			}
			token, err := issuer.Token(claims)
			if err != nil {
				return fmt.Errorf("sign a token: %w", err)
			}
			_, err = fmt.Fprintln(p.Stdout, token)
			return err //nolint:wrapcheck // writing to stdout
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant id")
	cmd.Flags().StringVar(&user, "user", "", "user id, the token's sub")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "viewer, operator, admin or auditor; may be given several times")
	cmd.Flags().StringVar(&department, "department", "", "id of the department on whose account the user's calls are")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the token is valid")
	return cmd
}

func tokenClaims(tenant, user string, names []string, ttl time.Duration) (oidcdev.Claims, error) {
	claims := oidcdev.Claims{Tenant: tenant, User: user, Name: user, TTL: ttl}
	switch {
	case !auth.ValidTenantID(tenant):
		return claims, errors.New("--tenant must be 1 to 63 characters of a-z, 0-9, _ and -, beginning with a letter or digit")
	case !auth.ValidUserID(user):
		return claims, errors.New("--user must be 1 to 255 characters of text")
	case len(names) == 0:
		return claims, errors.New("--role is missing: viewer, operator, admin or auditor")
	case ttl < time.Second || ttl > oidcdev.MaxTTL:
		return claims, fmt.Errorf("--ttl must be from 1s to %s", oidcdev.MaxTTL)
	}
	for _, name := range names {
		role, known := auth.ParseRole(name)
		if !known {
			return claims, fmt.Errorf("--role %q is none of viewer, operator, admin, auditor", name)
		}
		claims.Roles = append(claims.Roles, role)
	}
	return claims, nil
}
