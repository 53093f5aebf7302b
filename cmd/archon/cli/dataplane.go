package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/config"
	"github.com/archonhq/archon/internal/netguard"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/readapi"
)

// idleConnsPerProvider is how many unused connections to a provider are kept: as many calls can be under way at once
// without connecting anew.
const idleConnsPerProvider = 256

// openCalls makes the node's data plane.
func (n *node) openCalls(context.Context) error {
	n.directory = plane.NewDirectory(source{n}, n.log, time.Now)
	n.zones = readapi.NewTimeZones(history{n.store, n.codec}, time.Now)
	use := n.providers()
	n.alerts = &commands.Alerts{Handler: use.Handler}
	metrics, err := plane.NewMetrics(n.metrics)
	if err != nil {
		return err //nolint:wrapcheck // says what it did
	}
	client := netguard.NewClient(netguard.Policy{Allowed: n.cfg.ProviderAllowedCIDRs}, netguard.Options{
		DialTimeout: n.cfg.ConnectTimeout, TLSHandshakeTimeout: n.cfg.ConnectTimeout,
		// The dialect's clock is to run out first: it knows what it was waiting for, and what kind of failure that is.
		ResponseHeaderTimeout: n.cfg.FirstByteTimeout + n.cfg.CallTimeout,
		MaxIdleConns:          idleConnsPerProvider * 4, MaxIdleConnsPerHost: idleConnsPerProvider,
	})
	n.samples = &plane.Samples{Record: use.RecordSample, Now: time.Now, Log: n.log}
	n.breakers = breaker.New(n.cache.Client(), breaker.Config{Log: n.log, OnTransition: n.transitions.add})
	n.budgets = budget.New(n.cache.Client(), n.log)
	n.plane = plane.New(plane.Config{
		Directory: n.directory, Targets: &targets{secret: use.Secret},
		Dialect: dialect.NewClient(client, "archon/"+n.version, dialect.Timeouts{
			FirstByte: n.cfg.FirstByteTimeout, Idle: n.cfg.IdleTimeout, Total: n.cfg.CallTimeout,
		}),
		Breakers: n.breakers, Limiter: limits.New(n.cache.Client(), limits.Config{Log: n.log}), Budgets: n.budgets,
		Spend: n.keySpend, PeriodSpend: n.periodSpend, Raise: n.raise,
		Recorder: recorder{&commands.Usage{Handler: use.Handler, Refusals: &commands.Refusals{Handler: use.Handler}}}, Samples: n.samples,
		Unpriced: n.unpriced, Async: n.cfg.UsageRecording == config.UsageAsync, DefaultMaxTokens: n.cfg.DefaultMaxTokens, Metrics: metrics, Log: n.log,
	})
	return nil
}

// targets finds what it takes to call a provider. Versions of secrets never change, so what was read once is kept.
type targets struct {
	secret func(ctx context.Context, named providers.Secret) (commands.ProviderSecret, error)

	mu    sync.Mutex
	known map[providers.Secret]commands.ProviderSecret
}

// maxKnownSecrets bounds what is kept; past it all are forgotten, and read again.
const maxKnownSecrets = 10_000

var _ plane.Targets = (*targets)(nil)

// Target implements plane.Targets.
func (t *targets) Target(ctx context.Context, _ string, provider *plane.Provider) (gateway.Target, error) {
	t.mu.Lock()
	secret, found := t.known[provider.Secret]
	t.mu.Unlock()
	if !found {
		var err error
		if secret, err = t.secret(ctx, provider.Secret); err != nil {
			return gateway.Target{}, err
		}
		t.mu.Lock()
		if t.known == nil || len(t.known) >= maxKnownSecrets {
			t.known = map[providers.Secret]commands.ProviderSecret{}
		}
		t.known[provider.Secret] = secret
		t.mu.Unlock()
	}
	return gateway.Target{
		Type: gateway.ProviderType(provider.Config.Type), BaseURL: provider.Config.BaseURL,
		Credentials: secret.Credentials, CustomHeaders: secret.Headers,
	}, nil
}

// recorder records calls as commands do.
type recorder struct{ use *commands.Usage }

var _ plane.Recorder = recorder{}

// Record implements plane.Recorder. Where the secret store is away and the caller's key for personal data is not known, the
// call is recorded without address and user agent: it has been made and has cost what it has cost.
func (r recorder) Record(ctx context.Context, caller plane.Caller, recorded usage.Recorded) (int64, error) {
	by := callerOf(caller, recorded.Status)
	position, err := r.use.Record(ctx, by, recorded)
	if errors.Is(err, secrets.ErrUnavailable) {
		by.IP, by.UserAgent = "", ""
		position, err = r.use.Record(ctx, by, recorded)
	}
	return position, err //nolint:wrapcheck // says what it did
}

// Refuse implements plane.Recorder.
func (r recorder) Refuse(ctx context.Context, caller plane.Caller, recorded usage.Recorded) error {
	return r.use.Refuse(ctx, callerOf(caller, recorded.Status), recorded) //nolint:wrapcheck // says what it did
}

func callerOf(caller plane.Caller, status int) commands.Caller {
	return commands.Caller{
		Tenant: caller.Tenant, Actor: caller.Actor, Roles: caller.Roles, Method: caller.Method, Path: caller.Path, Status: status,
		CorrelationID: caller.CorrelationID, IP: caller.IP, UserAgent: caller.UserAgent,
	}
}

// unpriced raises the alert of a model without a price.
func (n *node) unpriced(ctx context.Context, tenant, providerType, model string) {
	n.raise(ctx, tenant, alerts.Unpriced(providerType, model))
}
