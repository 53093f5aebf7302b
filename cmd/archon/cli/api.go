package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/openai"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/netguard"
	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/tickets"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
	"github.com/archonhq/archon/subscriptions"
)

// handlers is every operation of the document.
type handlers struct {
	writeHandlers
	readHandlers
}

type writeHandlers struct {
	*commands.Providers
	*commands.Keys
	*commands.Prices
	*commands.Departments
	*commands.CostSettings
	*commands.Repricings
	*commands.Budgets
	*commands.Routing
	*commands.Routes
	*commands.Operations
	*commands.Tickets
}

type readHandlers struct {
	*readapi.Providers
	*readapi.Keys
	*readapi.Prices
	*readapi.Budgets
	*readapi.Routing
	*readapi.Alerts
	*readapi.Costs
	*readapi.Departments
	*readapi.CostSettings
	*readapi.Audit
	*readapi.Transparency
	*readapi.Operations
	*readapi.Events
	readapi.Me
}

var _ api.StrictServerInterface = handlers{}

// newAPI wires the HTTP layer of a node.
func (n *node) newAPI(ctx context.Context) (*echo.Echo, error) {
	key, err := privacy.FingerprintKey(ctx, n.secrets)
	if err != nil {
		return nil, fmt.Errorf("read the key of fingerprints: %w", err)
	}
	issued, err := tickets.New(key, n.cache.Client(), n.log, nil)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	providers := n.providers()
	handler, costs := providers.Handler, n.costReads()
	e, err := httpx.New(httpx.Config{
		Handlers: handlers{
			writeHandlers{
				Providers: providers, Keys: &commands.Keys{Handler: handler, Reads: providers.Reads},
				Routing:     &commands.Routing{Handler: handler, Reads: providers.Reads},
				Routes:      &commands.Routes{Plane: dataPlane{n.plane}, Reads: providers.Reads},
				Prices:      n.prices(handler),
				Departments: &commands.Departments{Handler: handler, Reads: providers.Reads}, CostSettings: n.costSettings(handler),
				Repricings: n.repricings(handler),
				Budgets:    &commands.Budgets{Handler: handler, Reads: providers.Reads, Show: n.budgetReads().Show},
				Operations: &commands.Operations{Handler: handler, Control: control{n}, Reads: providers.Reads},
				Tickets:    &commands.Tickets{Log: n.store, Issuer: issued},
			},
			readHandlers{
				Providers: n.providerReads(), Keys: &readapi.Keys{Database: readapi.Database{Pool: n.appPool}, Now: time.Now},
				Prices:       n.priceReads(),
				Routing:      &readapi.Routing{Database: readapi.Database{Pool: n.appPool}, History: history{n.store, n.codec}},
				Alerts:       n.alertReads(),
				Costs:        costs,
				Departments:  &readapi.Departments{Database: readapi.Database{Pool: n.appPool}, History: history{n.store, n.codec}},
				CostSettings: &readapi.CostSettings{History: history{n.store, n.codec}},
				Audit:        &readapi.Audit{Database: readapi.Database{Pool: n.appPool}, Log: n.store, Clients: clients{n.keeper}},
				Operations:   &readapi.Operations{Overview: control{n}},
				Budgets:      n.budgetReads(),
				Transparency: &readapi.Transparency{Signer: n.signer, Exports: n.store},
				Events:       &readapi.Events{Log: history{n.store, n.codec}},
			},
		},
		Streams:  map[string]echo.HandlerFunc{"exportCosts": costs.ExportCosts},
		Verifier: n.verifier,
		Writes: &commands.Writes{
			Repeats: &commands.Repeats{Log: n.store, Key: key}, Refusals: &commands.Refusals{Handler: handler}, Reads: providers.Reads,
		},
		Waiter: waiter{n.runner}, Health: n.health(), Metrics: n.metrics, Logger: n.log, Tracer: otel.GetTracerProvider(),
		TrustedProxies: n.cfg.TrustedProxies, WaitBound: n.waitBound(),
	})
	if err != nil {
		return nil, fmt.Errorf("assemble the HTTP layer: %w", err)
	}
	sockets, err := subscriptions.New(subscriptions.Config{
		Log: n.store, Verifier: n.verifier, Tickets: issued, Origins: n.cfg.AllowedOrigins, PerNode: int(n.cfg.MaxSockets), PerTenant: int(n.cfg.MaxTenantSockets),
		Logger: n.log, Metrics: n.metrics,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	sockets.Mount(e)
	n.sockets.Store(sockets)
	calls := &openai.Handler{Plane: n.plane, Verifier: n.verifier, Unauthenticated: n.plane.Metrics.Unauthenticated.Inc}
	calls.Mount(e)
	if n.issuer != nil {
		e.Any(issuerPath+"/*", echo.WrapHandler(n.issuer.Handler()))
	}
	return e, nil
}

// waitBound is how long reads wait: 0 in the configuration means not at all, which httpx spells with a negative bound.
func (n *node) waitBound() time.Duration {
	if n.cfg.ReadYourWritesTimeout == 0 {
		return -1
	}
	return n.cfg.ReadYourWritesTimeout
}

// providers are the use cases of model providers.
func (n *node) providers() *commands.Providers {
	policy := netguard.Policy{Allowed: n.cfg.ProviderAllowedCIDRs}
	client := netguard.NewClient(policy, netguard.Options{})
	use := &commands.Providers{
		Handler:   &commands.Handler{Log: n.store, Codec: n.codec, Sealer: clients{n.keeper}, Now: time.Now, Logger: n.log, Changed: n.changed},
		HealthLog: n.store, Secrets: n.secrets,
		Wire:    wire{tester: gateway.NewTester(client, gateway.TesterOptions{UserAgent: "archon/" + n.version}), policy: policy},
		Current: n.providerReads().Current,
		Reads:   commands.ReadYourWrites{Waiter: n.runner, Bound: n.cfg.ReadYourWritesTimeout},
	}
	if n.breakers != nil {
		use.Breakers = n.breakers
	}
	return use
}

// changed makes this node look again at what it has in memory of a tenant, after a command of its own.
func (n *node) changed(tenant string) {
	n.directory.Changed(tenant)
	n.zones.Forget(tenant)
}

// guard says where tenants may have Archon call.
func (n *node) guard() netguard.Policy {
	return netguard.Policy{Allowed: n.cfg.ProviderAllowedCIDRs}
}

// costSettings are the use cases of the settings of costs.
func (n *node) costSettings(handler *commands.Handler) *commands.CostSettings {
	return &commands.CostSettings{
		Handler: handler, Secrets: n.secrets, Reads: commands.ReadYourWrites{Waiter: n.runner, Bound: n.cfg.ReadYourWritesTimeout},
		CheckURL: func(url string) string {
			if _, err := n.guard().CheckURL(url); err != nil {
				return reasonOf(err)
			}
			return ""
		},
	}
}

// prices are the use cases of price books.
func (n *node) prices(handler *commands.Handler) *commands.Prices {
	reads := commands.ReadYourWrites{Waiter: n.runner, Bound: n.cfg.ReadYourWritesTimeout}
	return &commands.Prices{Handler: handler, Reads: reads, Show: readapi.PriceOf}
}

func (n *node) alertReads() *readapi.Alerts {
	return &readapi.Alerts{Database: readapi.Database{Pool: n.appPool}}
}

func (n *node) costReads() *readapi.Costs {
	return &readapi.Costs{Database: readapi.Database{Pool: n.appPool}, History: history{n.store, n.codec}, Budgets: n.budgetReads(), Now: time.Now}
}

func (n *node) providerReads() *readapi.Providers {
	return &readapi.Providers{
		Database: readapi.Database{Pool: n.appPool}, History: history{n.store, n.codec}, Schemas: credentialSchemas(), Now: time.Now,
	}
}

func (n *node) priceReads() *readapi.Prices {
	return &readapi.Prices{Database: readapi.Database{Pool: n.appPool}, Now: time.Now}
}

// history is what the log says of the past, decoded.
type history struct {
	*eventstore.Store
	*eventstore.Codec
}

// credentialSchemas is the gateway's schemas in the API's types.
func credentialSchemas() api.CredentialSchemas {
	schemas := api.CredentialSchemas{}
	for kind, schema := range gateway.CredentialSchemas() {
		fields := []api.CredentialField{}
		for _, field := range schema.Fields {
			converted := api.CredentialField{Name: field.Name, Type: api.CredentialFieldType(field.Type), Required: field.Required, Options: field.Options}
			if field.Default != "" {
				converted.Default = &field.Default
			}
			fields = append(fields, converted)
		}
		schemas[string(kind)] = api.CredentialSchema{Fields: fields}
	}
	return schemas
}

// clients seals and opens the client's address and user agent.
type clients struct{ keeper *privacy.Keeper }

// SealClient implements commands.Sealer.
func (c clients) SealClient(ctx context.Context, tenant, subject, ip, userAgent string) (json.RawMessage, error) {
	envelope, err := c.keeper.SealClient(ctx, tenant, subject, privacy.Client{IP: ip, UserAgent: userAgent})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	return json.Marshal(envelope) //nolint:wrapcheck // an envelope is always JSON
}

// OpenClient implements readapi.ClientOpener. An envelope that was erased or tampered with reads as unknown; that it was
// tampered with is for verification to say.
func (c clients) OpenClient(ctx context.Context, tenant string, sealed json.RawMessage) (ip, userAgent string, ok bool, err error) {
	envelope, err := privacy.ParseEnvelope(sealed)
	if err != nil {
		return "", "", false, nil //nolint:nilerr // see above
	}
	client, err := c.keeper.OpenClient(ctx, tenant, envelope)
	switch {
	case errors.Is(err, privacy.ErrErased), errors.Is(err, privacy.ErrTampered), errors.Is(err, privacy.ErrMalformed):
		return "", "", false, nil
	case err != nil:
		return "", "", false, err //nolint:wrapcheck // says what it did
	}
	return client.IP, client.UserAgent, true, nil
}

// waiter waits for the read tables that an operation reads.
type waiter struct{ runner commands.Waiter }

// Wait implements httpx.Waiter.
func (w waiter) Wait(ctx context.Context, tenant, operation string, position int64) error {
	tables := readapi.TablesOf(operation)
	if len(tables) == 0 {
		return nil
	}
	err := w.runner.Wait(ctx, tenant, position, tables...)
	if errors.Is(err, projections.ErrHalted) {
		// Waiting is in vain until an operator has acted: the same as a wait that has lasted too long, only at once.
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err //nolint:wrapcheck // says what it waited for
}

// registered tells whether a provider has ever been registered, for the sweeper.
func (n *node) registered(ctx context.Context, tenant, providerID string) (bool, error) {
	events, err := n.store.Load(ctx, tenant, "provider-"+providerID, 0)
	return len(events) > 0, err //nolint:wrapcheck // says what it read
}

// newCorrelationID is for work that no request caused.
func newCorrelationID() string { return uuid.NewString() }
