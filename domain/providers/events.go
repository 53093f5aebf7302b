package providers

import (
	"time"

	"github.com/archonhq/archon/domain"
)

// Registered says that a provider is known from now on.
type Registered struct {
	ProviderID string `json:"provider_id"`
	Config
	Secret
}

// Updated says that the configuration is now Config; Changed names the fields that differ from before.
type Updated struct {
	ProviderID string `json:"provider_id"`
	Config
	Secret
	Changed []string `json:"changed"`
}

// CredentialsRotated says that calls use another version of the secret from now on.
type CredentialsRotated struct {
	ProviderID string `json:"provider_id"`
	Secret
}

// Deleted says that the provider takes no more calls; it stays in history.
type Deleted struct {
	ProviderID string `json:"provider_id"`
	Name       string `json:"name"`
	VaultPath  string `json:"vault_path"`
}

// SecretRemoved says that every version of a deleted provider's secret is gone from the secret store.
type SecretRemoved struct {
	ProviderID string `json:"provider_id"`
	VaultPath  string `json:"vault_path"`
}

// NameClaimed says that a name stands for a provider.
type NameClaimed struct {
	ProviderID string `json:"provider_id"`
	Name       string `json:"name"`
}

// NameReleased says that a name is free again.
type NameReleased struct {
	ProviderID string `json:"provider_id"`
	Name       string `json:"name"`
}

// Probed is the result of a connection test of the stored credentials.
type Probed struct {
	ProviderID string `json:"provider_id"`
	OK         bool   `json:"ok"`
	LatencyMS  int64  `json:"latency_ms"`
	// ModelsFound is how many models the provider listed.
	ModelsFound int `json:"models_found"`
	// Error is what went wrong, with key-like parts removed; empty where OK.
	Error string `json:"error,omitempty"`
	// Failures counts the failed probes in a row, this one included.
	Failures  int       `json:"failures"`
	Trigger   Trigger   `json:"trigger"`
	CheckedAt time.Time `json:"checked_at"`
}

// Sampled is what the calls of an interval came to, rolled up by one node.
type Sampled struct {
	ProviderID string    `json:"provider_id"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Requests   int64     `json:"requests"`
	Errors     int64     `json:"errors"`
	// Latency counts the calls by latency.
	Latency Histogram `json:"latency"`
}

// BreakerChanged says that the provider's circuit breaker lets calls pass otherwise than before.
type BreakerChanged struct {
	ProviderID string `json:"provider_id"`
	// From and To are closed, open or half_open, or why calls don't pass whatever the state: rate_limited or dead.
	From string `json:"from"`
	To   string `json:"to"`
	// Failures is how many there were within a minute when it opened, Reason a word for what changed it: the code of the
	// last failure, or what went well.
	Failures int    `json:"failures,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// OpenedAt is set while it is not closed. Until is when the cooldown, the rate limit or the rest of a dead credential
	// ends; a limit that has ended is no event of its own.
	OpenedAt *time.Time `json:"opened_at,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	// Generation grows with each state, across nodes. Local says that a node decided by itself, while Redis was away.
	Generation int64     `json:"generation"`
	Local      bool      `json:"local,omitempty"`
	At         time.Time `json:"at"`
}

// Trigger says why a probe was made.
type Trigger string

// The triggers of a probe.
const (
	OnRegistration Trigger = "registration"
	OnDemand       Trigger = "on_demand"
	OnSchedule     Trigger = "schedule"
)

// EventType implements domain.Event.
func (Registered) EventType() string { return "provider.registered.v1" }

// EventType implements domain.Event.
func (Updated) EventType() string { return "provider.updated.v1" }

// EventType implements domain.Event.
func (CredentialsRotated) EventType() string { return "provider.credentials_rotated.v1" }

// EventType implements domain.Event.
func (Deleted) EventType() string { return "provider.deleted.v1" }

// EventType implements domain.Event.
func (SecretRemoved) EventType() string { return "provider.secret_removed.v1" }

// EventType implements domain.Event.
func (NameClaimed) EventType() string { return "providername.claimed.v1" }

// EventType implements domain.Event.
func (NameReleased) EventType() string { return "providername.released.v1" }

// EventType implements domain.Event.
func (Probed) EventType() string { return "providerhealth.probed.v1" }

// EventType implements domain.Event.
func (Sampled) EventType() string { return "providerhealth.sampled.v1" }

// EventType implements domain.Event.
func (BreakerChanged) EventType() string { return "providerhealth.breaker_changed.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event {
	return []domain.Event{
		Registered{},
		Updated{},
		CredentialsRotated{},
		Deleted{},
		SecretRemoved{},
		NameClaimed{},
		NameReleased{},
		Probed{},
		Sampled{},
		BreakerChanged{},
	}
}
