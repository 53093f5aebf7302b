package commands

import (
	"context"
	"time"

	"github.com/archonhq/archon/domain/providers"
)

// Snapshot is what a provider's answer shows besides its configuration, as the read tables have it: the metrics cover the
// calls of the last five minutes and are nil where there were none.
type Snapshot struct {
	HealthStatus providers.Status
	LatencyMSP50 *float64
	LatencyMSP95 *float64
	ErrorRatePct *float64
	CreatedAt    time.Time
}

// Metrics reads snapshots.
type Metrics interface {
	Snapshot(ctx context.Context, tenant, providerID string) (Snapshot, error)
}

// providerView is a provider as the API shows it.
type providerView struct {
	ID              string           `json:"id"`
	Name            string           `json:"name"`
	Type            providers.Type   `json:"type"`
	BaseURL         string           `json:"base_url"`
	IsEnabled       bool             `json:"is_enabled"`
	HealthStatus    providers.Status `json:"health_status"`
	SupportedModels []string         `json:"supported_models"`
	Capabilities    []string         `json:"capabilities"`
	CustomHeaders   []string         `json:"custom_headers"`
	RateLimitRPM    *int64           `json:"rate_limit_rpm"`
	RateLimitTPM    *int64           `json:"rate_limit_tpm"`
	VaultPath       string           `json:"vault_path"`
	Version         int64            `json:"version"`
	LatencyMSP50    *float64         `json:"latency_ms_p50"`
	LatencyMSP95    *float64         `json:"latency_ms_p95"`
	ErrorRatePct    *float64         `json:"error_rate_pct"`
	CreatedAt       time.Time        `json:"created_at"`
}

type registeredView struct {
	providerView
	ConnectionTest ConnectionTest `json:"connection_test"`
}

func view(state providers.State, version int64, snapshot Snapshot) providerView {
	config := state.Config
	return providerView{
		ID: state.ProviderID, Name: config.Name, Type: config.Type, BaseURL: config.BaseURL, IsEnabled: config.IsEnabled,
		HealthStatus: snapshot.HealthStatus, SupportedModels: config.SupportedModels, Capabilities: config.Capabilities,
		CustomHeaders: config.CustomHeaders, RateLimitRPM: config.RateLimitRPM, RateLimitTPM: config.RateLimitTPM,
		VaultPath: state.Secret.VaultPath, Version: version, LatencyMSP50: snapshot.LatencyMSP50,
		LatencyMSP95: snapshot.LatencyMSP95, ErrorRatePct: snapshot.ErrorRatePct, CreatedAt: snapshot.CreatedAt,
	}
}
