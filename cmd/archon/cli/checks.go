package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
)

// health is the state of each component. Only the database is critical: without it nothing can be read or written.
func (n *node) health() *httpx.Health {
	return httpx.NewHealth(n.log,
		httpx.Check{Name: "database", Critical: true, Probe: func(ctx context.Context) error {
			if err := n.appPool.Ping(ctx); err != nil {
				return httpx.Reason("the database can't be reached", err)
			}
			return nil
		}},
		httpx.Check{Name: "redis", Probe: func(ctx context.Context) error {
			if err := n.cache.Check(ctx); err != nil {
				return httpx.Reason("Redis can't be reached; wake-ups between nodes fall back to polling, circuit breakers and rate limits are each node's own, and API keys with a budget are refused", err)
			}
			return nil
		}},
		httpx.Check{Name: "secrets", Probe: func(ctx context.Context) error {
			if err := n.secrets.Check(ctx); err != nil {
				return httpx.Reason("the secret store ("+n.secrets.Kind()+") can't be used", err)
			}
			return nil
		}},
		httpx.Check{Name: "oidc", Probe: func(ctx context.Context) error {
			err := n.verifier.Check(ctx)
			if errors.Is(err, auth.ErrUnavailable) {
				return httpx.Reason("the OIDC issuer can't be reached", err)
			}
			return err //nolint:wrapcheck // logged by the health layer
		}},
		httpx.Check{Name: "projections", Probe: n.checkProjections},
		httpx.Check{Name: "audit", Probe: n.checkSigning},
	)
}

// checkSigning reports the logs that contradict what was signed of them.
func (n *node) checkSigning(ctx context.Context) error {
	refused, err := n.acrossTenants().RefusedTrees(ctx)
	if err != nil {
		return httpx.Reason("whether the logs can be signed can't be read", err)
	}
	if refused > 0 {
		return httpx.Reason(fmt.Sprintf("the logs of %d tenants contradict what was signed of them; see `archon audit verify`", refused), nil)
	}
	return nil
}

// checkProjections reports the projections that have stopped.
func (n *node) checkProjections(ctx context.Context) error {
	states, err := n.runner.States(ctx)
	if err != nil {
		return httpx.Reason("the state of the projections can't be read", err)
	}
	stalled := 0
	for i := range states {
		if states[i].Error != "" {
			stalled++
		}
	}
	if stalled > 0 {
		return httpx.Reason(fmt.Sprintf("%d stalled; see `archon projections list`", stalled), nil)
	}
	return nil
}
