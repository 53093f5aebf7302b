package commands

import (
	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
)

// view is a provider as the API shows it: the configuration from the state that the command left, the rest as the read
// tables have it.
func view(state providers.State, version int64, current api.Provider) api.Provider {
	config := state.Config
	current.ID, current.Name, current.Type, current.BaseURL = state.ProviderID, config.Name, api.ProviderType(config.Type), config.BaseURL
	current.IsEnabled, current.SupportedModels, current.CustomHeaders = config.IsEnabled, config.SupportedModels, config.CustomHeaders
	current.Capabilities = api.CapabilitiesOf(config.Capabilities)
	current.RateLimitRPM, current.RateLimitTPM = config.RateLimitRPM, config.RateLimitTPM
	current.VaultPath, current.Version = state.Secret.VaultPath, version
	return current
}
