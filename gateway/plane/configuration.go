package plane

import (
	"time"

	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
)

// Provider is a registered provider as calls need it.
type Provider struct {
	ID string
	// Version is that of the provider's stream.
	Version int64
	Config  providers.Config
	Secret  providers.Secret
}

// Budget is a budget as calls need it.
type Budget struct {
	budgets.Config

	// Version is that of the budget's stream.
	Version int64
}

// Configuration is what a tenant has configured. It is shared by calls and never changed.
type Configuration struct {
	// Providers are sorted by name; deleted ones are not in it.
	Providers       []Provider
	Rules           routing.Ruleset
	RulesVersion    int64
	Fallback        routing.Fallback
	FallbackVersion int64
	// Keys are all keys by id, revoked and expired ones too.
	Keys   map[string]keys.Key
	Prices prices.Book
	// Budgets are the budgets that hold. Zone is the calendar's of their periods, nil for UTC, and ZoneVersion that of the stream
	// that says so.
	Budgets     map[budgets.Subject]Budget
	Zone        *time.Location
	ZoneVersion int64
	// Lagging is why the configuration may be older than was asked for; nil where it is not. Keys that were revoked are
	// revoked in it all the same.
	Lagging error
}

// Snapshot is a configuration that was known to be the tenant's at a moment.
type Snapshot struct {
	*Configuration

	Tenant string
	// Position is that of the log up to which the configuration is known to hold, Checked when that was found out.
	Position int64
	Checked  time.Time
	// Health is the status of each provider by id, as of HealthChecked.
	Health        map[string]providers.Status
	HealthChecked time.Time

	byID map[string]*Provider
}

func newSnapshot(tenant string, configuration *Configuration) *Snapshot {
	s := &Snapshot{Configuration: configuration, Tenant: tenant, byID: make(map[string]*Provider, len(configuration.Providers))}
	for i := range configuration.Providers {
		s.byID[configuration.Providers[i].ID] = &configuration.Providers[i]
	}
	return s
}

// Provider is the provider with an id, nil where there is none.
func (s *Snapshot) Provider(id string) *Provider { return s.byID[id] }
