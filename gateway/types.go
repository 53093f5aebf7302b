package gateway

import (
	"cmp"
	"slices"
)

// ProviderType is the protocol a provider speaks. The texts are part of the
// HTTP contract and of stored events.
type ProviderType string

// The provider types.
const (
	OpenAI      ProviderType = "openai"
	Anthropic   ProviderType = "anthropic"
	Google      ProviderType = "google" // the Gemini API, not Vertex AI
	Mistral     ProviderType = "mistral"
	Cohere      ProviderType = "cohere"
	AzureOpenAI ProviderType = "azure_openai"
	Ollama      ProviderType = "ollama"
	VLLM        ProviderType = "vllm"
	Custom      ProviderType = "custom" // anything OpenAI-compatible
)

// ProviderTypes lists all types in the order in which they are documented.
func ProviderTypes() []ProviderType {
	return []ProviderType{OpenAI, Anthropic, Google, Mistral, Cohere, AzureOpenAI, Ollama, VLLM, Custom}
}

// Valid reports whether t is one of [ProviderTypes].
func (t ProviderType) Valid() bool { return slices.Contains(ProviderTypes(), t) }

// DefaultBaseURL is the base URL of a type's public service, or "" for types
// that every user hosts elsewhere.
func DefaultBaseURL(t ProviderType) string {
	switch t {
	case OpenAI:
		return "https://api.openai.com"
	case Anthropic:
		return "https://api.anthropic.com"
	case Google:
		return "https://generativelanguage.googleapis.com/v1beta"
	case Mistral:
		return "https://api.mistral.ai"
	case Cohere:
		return "https://api.cohere.com"
	case Ollama:
		return "http://localhost:11434"
	case AzureOpenAI, VLLM, Custom:
	}

	return ""
}

// Target is one provider with everything needed to call it. It holds secrets:
// never log it, never put it into an error.
type Target struct {
	Type ProviderType
	// BaseURL is accepted with or without its version segment and trailing
	// slashes. Where it is empty, the URL among the credentials counts
	// (endpoint of azure_openai, base_url of ollama), then [DefaultBaseURL].
	BaseURL string
	// Credentials are fields of [CredentialSchemas], as [ValidateCredentials] returns them.
	Credentials map[string]string
	// CustomHeaders go out with every call; see [ValidateHeaders].
	CustomHeaders map[string]string
}

// baseURL is the base URL that counts, or "".
func (t Target) baseURL() string {
	return cmp.Or(t.BaseURL, t.Credentials[urlField(t.Type)], DefaultBaseURL(t.Type))
}

// secrets are the values that must never be seen: every password field, and the
// custom headers' values but the tiny ones, which are flags and not secrets.
func (t Target) secrets() []string {
	const shortestHeaderSecret = 4

	var secrets []string

	for _, field := range CredentialSchemas()[t.Type].Fields {
		if field.Type == FieldPassword {
			secrets = append(secrets, t.Credentials[field.Name])
		}
	}

	for _, value := range t.CustomHeaders {
		if len(value) >= shortestHeaderSecret {
			secrets = append(secrets, value)
		}
	}

	return secrets
}
