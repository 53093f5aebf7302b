package providers

import (
	"slices"
	"strings"

	"github.com/archonhq/archon/domain"
)

// MaxNameRunes bounds a provider's name.
const MaxNameRunes = 200

// Type is which wire format a provider speaks.
type Type string

// Types lists the provider types in the order in which they are shown.
func Types() []Type {
	return []Type{"openai", "anthropic", "google", "mistral", "cohere", "azure_openai", "ollama", "vllm", "custom"}
}

// Capabilities lists what a provider may be able to do.
func Capabilities() []string {
	return []string{"vision", "function_calling", "json_mode", "streaming", "embeddings"}
}

// Config is what an administrator decides about a provider, without its secrets.
type Config struct {
	Name    string `json:"name"`
	Type    Type   `json:"type"`
	BaseURL string `json:"base_url"`
	// IsEnabled is whether calls may be routed to it.
	IsEnabled bool `json:"is_enabled"`
	// RateLimitRPM and RateLimitTPM are requests and tokens a minute; nil is no limit.
	RateLimitRPM    *int64   `json:"rate_limit_rpm"`
	RateLimitTPM    *int64   `json:"rate_limit_tpm"`
	SupportedModels []string `json:"supported_models"`
	Capabilities    []string `json:"capabilities"`
	// CustomHeaders are the names of headers whose values are part of the secret.
	CustomHeaders []string `json:"custom_headers"`
}

// Secret is where a provider's credentials and header values are, never what they are.
type Secret struct {
	VaultPath     string `json:"vault_path"`
	SecretVersion int    `json:"secret_version"`
}

// TrimName is the form in which names are stored and compared.
func TrimName(name string) string { return strings.TrimSpace(name) }

// normalised is the form in which a configuration is stored: no space around names, lists that are never null.
func (c Config) normalised() Config {
	c.Name = TrimName(c.Name)
	c.SupportedModels = append([]string{}, c.SupportedModels...)
	c.Capabilities = append([]string{}, c.Capabilities...)
	c.CustomHeaders = append([]string{}, c.CustomHeaders...)
	slices.Sort(c.CustomHeaders)
	return c
}

// Problem refuses a configuration that makes no sense, with the first thing that is wrong with each field, or is nil.
func (c Config) Problem() error {
	details := map[string]any{}
	if reason := domain.NameProblem(c.Name, MaxNameRunes); reason != "" {
		details["name"] = reason
	}
	if !slices.Contains(Types(), c.Type) {
		details["type"] = "is not a known provider type"
	}
	if c.BaseURL == "" {
		details["base_url"] = "must not be empty"
	}
	for _, limit := range []struct {
		field string
		value *int64
	}{{"rate_limit_rpm", c.RateLimitRPM}, {"rate_limit_tpm", c.RateLimitTPM}} {
		if limit.value != nil && *limit.value < 1 {
			details[limit.field] = "must be at least 1, or null for no limit"
		}
	}
	if reason := listProblem(c.SupportedModels); reason != "" {
		details["supported_models"] = reason
	}
	if reason := listProblem(c.Capabilities); reason != "" {
		details["capabilities"] = reason
	}
	for _, capability := range c.Capabilities {
		if !slices.Contains(Capabilities(), capability) {
			details["capabilities"] = "must be among: " + strings.Join(Capabilities(), ", ")
		}
	}
	return domain.InvalidFields("The provider's configuration is not valid.", details)
}

func listProblem(list []string) string {
	seen := map[string]bool{}
	for _, item := range list {
		if strings.TrimSpace(item) == "" {
			return "must not contain empty entries"
		}
		if seen[item] {
			return "must not contain the same entry twice"
		}
		seen[item] = true
	}
	return ""
}

// changes names the fields in which two configurations differ, as the API spells them.
func (c Config) changes(other Config) []string {
	var changed []string
	note := func(field string, differs bool) {
		if differs {
			changed = append(changed, field)
		}
	}
	note("name", c.Name != other.Name)
	note("type", c.Type != other.Type)
	note("base_url", c.BaseURL != other.BaseURL)
	note("is_enabled", c.IsEnabled != other.IsEnabled)
	note("rate_limit_rpm", !equal(c.RateLimitRPM, other.RateLimitRPM))
	note("rate_limit_tpm", !equal(c.RateLimitTPM, other.RateLimitTPM))
	note("supported_models", !slices.Equal(c.SupportedModels, other.SupportedModels))
	note("capabilities", !slices.Equal(c.Capabilities, other.Capabilities))
	note("custom_headers", !slices.Equal(c.CustomHeaders, other.CustomHeaders))
	return changed
}

func equal(a, b *int64) bool {
	return a == b || (a != nil && b != nil && *a == *b)
}
