package gatewaytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/archonhq/archon/gateway"
)

// listPath is where the provider documents its list of models. It is written
// down here again, independently of package gateway, which is under test.
func (s *Server) listPath() string {
	switch s.kind {
	case gateway.Google:
		return "/v1beta/models"
	case gateway.AzureOpenAI:
		return "/openai/models"
	case gateway.Ollama:
		return "/api/tags"
	case gateway.Custom:
		return cmp.Or(s.options.ModelsPath, "/v1/models")
	case gateway.OpenAI, gateway.Anthropic, gateway.Mistral, gateway.Cohere, gateway.VLLM:
	}

	return "/v1/models"
}

// credential is the header that carries the key, and what stands before it.
func (s *Server) credential() (header, prefix string) {
	switch s.kind {
	case gateway.Anthropic:
		return "x-api-key", ""
	case gateway.Google:
		return "x-goog-api-key", ""
	case gateway.AzureOpenAI:
		return "api-key", ""
	case gateway.Custom:
		if !s.options.NoPrefix {
			prefix = cmp.Or(s.options.Prefix, "Bearer") + " "
		}

		return cmp.Or(s.options.Header, "Authorization"), prefix
	case gateway.OpenAI, gateway.Mistral, gateway.Cohere, gateway.Ollama, gateway.VLLM:
	}

	return "Authorization", "Bearer "
}

func (s *Server) sentKey(r *http.Request) string {
	header, prefix := s.credential()
	key, _ := strings.CutPrefix(r.Header.Get(header), prefix)

	return key
}

// objection is what the provider has against a request for its models: status and body of its error, 0 if nothing.
func (s *Server) objection(r *http.Request) (status int, body string) {
	if r.Method != http.MethodGet || r.URL.Path != s.listPath() {
		return http.StatusNotFound, notFound(s.kind)
	}

	return s.credentialObjection(r)
}

// credentialObjection is what it has against a request wherever it goes.
func (s *Server) credentialObjection(r *http.Request) (status int, body string) {
	header, prefix := s.credential()

	switch {
	case r.URL.Query().Has("key"):
		return http.StatusBadRequest, openAIError("the key must not stand in the URL", "invalid_request_error", "")
	case s.kind == gateway.Anthropic && r.Header.Get("Anthropic-Version") == "":
		return http.StatusBadRequest, anthropicError("invalid_request_error", "anthropic-version: header is required")
	case s.kind == gateway.AzureOpenAI && r.URL.Query().Get("api-version") == "":
		return http.StatusNotFound, notFound(s.kind)
	case s.options.APIKey != "" && s.kind != gateway.Ollama && r.Header.Get(header) != prefix+s.options.APIKey:
		return unauthorized(s.kind, s.sentKey(r))
	default:
		return 0, ""
	}
}

func exampleModels(t gateway.ProviderType) []string {
	switch t {
	case gateway.Anthropic:
		return []string{"claude-sonnet-4-20250514", "claude-3-5-haiku-20241022"}
	case gateway.Google:
		return []string{"gemini-2.5-pro", "gemini-2.5-flash"}
	case gateway.Mistral:
		return []string{"mistral-large-latest", "mistral-small-latest"}
	case gateway.Cohere:
		return []string{"command-a-03-2025", "embed-v4.0"}
	case gateway.Ollama:
		return []string{"llama3.2:latest", "qwen3:8b"}
	case gateway.VLLM, gateway.Custom:
		return []string{"meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B"}
	case gateway.OpenAI, gateway.AzureOpenAI:
	}

	return []string{"gpt-4o", "gpt-4o-mini"}
}

type object = map[string]any

// modelList is the documented answer to a list request.
func modelList(t gateway.ProviderType, names []string) string {
	entries := make([]object, 0, len(names))
	for _, name := range names {
		entries = append(entries, modelEntry(t, name))
	}

	switch t {
	case gateway.Anthropic:
		return encode(object{"data": entries, "has_more": false, "first_id": first(names), "last_id": last(names)})
	case gateway.Google, gateway.Cohere, gateway.Ollama:
		return encode(object{"models": entries})
	case gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI, gateway.VLLM, gateway.Custom:
	}

	return encode(object{"object": "list", "data": entries})
}

func modelEntry(t gateway.ProviderType, name string) object {
	switch t {
	case gateway.Anthropic:
		return object{"type": "model", "id": name, "display_name": name, "created_at": "2025-02-19T00:00:00Z"}
	case gateway.Google:
		return object{
			"name": "models/" + name, "version": "001", "displayName": name,
			"inputTokenLimit": 1048576, "outputTokenLimit": 65536,
		}
	case gateway.Cohere:
		return object{"name": name, "finetuned": false, "context_length": 128000}
	case gateway.Ollama:
		return object{
			"name": name, "model": name, "modified_at": "2025-02-19T08:00:00.123456789+01:00", "size": 2019393189,
			"details": object{"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
		}
	case gateway.AzureOpenAI:
		return object{
			"id": name, "object": "model", "status": "succeeded", "created_at": 1646126127,
			"lifecycle_status": "generally-available",
		}
	case gateway.OpenAI, gateway.Mistral, gateway.VLLM, gateway.Custom:
	}

	return object{"id": name, "object": "model", "created": 1686935002, "owned_by": "system"}
}

// unauthorized is the documented answer to a wrong key. OpenAI echoes parts of it.
func unauthorized(t gateway.ProviderType, key string) (status int, body string) {
	status = http.StatusUnauthorized

	switch t {
	case gateway.Anthropic:
		return status, anthropicError("authentication_error", "invalid x-api-key")
	case gateway.Google:
		const text = "API key not valid. Please pass a valid API key."

		return http.StatusBadRequest, encode(object{"error": object{
			"code": http.StatusBadRequest, "message": text, "status": "INVALID_ARGUMENT",
			"details": []object{{
				"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com",
			}},
		}})
	case gateway.Mistral:
		return status, encode(object{"detail": "Unauthorized"})
	case gateway.Cohere:
		return status, encode(object{"id": "e9f0c6f5-7d0e-4d9b-b7c4-6a0b0f5a1a11", "message": "invalid api token"})
	case gateway.AzureOpenAI:
		return status, encode(object{"error": object{"code": "401", "message": "Access denied due to invalid subscription key " +
			"or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional " +
			"API endpoint for your resource."}})
	case gateway.VLLM:
		return status, encode(object{"error": "Unauthorized"})
	case gateway.Ollama:
		return status, encode(object{"error": "unauthorized"})
	case gateway.OpenAI, gateway.Custom:
	}

	return status, openAIError(fmt.Sprintf("Incorrect API key provided: %s. You can find your API key at "+
		"https://platform.openai.com/account/api-keys.", masked(key)), "invalid_request_error", "invalid_api_key")
}

// masked is a key as OpenAI echoes it: eight characters, stars, four characters;
// short ones in full.
func masked(key string) string {
	const head, tail = 8, 4
	if len(key) <= head+tail {
		return key
	}

	return key[:head] + strings.Repeat("*", len(key)-head-tail) + key[len(key)-tail:]
}

func notFound(t gateway.ProviderType) string {
	switch t {
	case gateway.Anthropic:
		return anthropicError("not_found_error", "Not found")
	case gateway.Google:
		return encode(object{"error": object{"code": http.StatusNotFound, "message": "Not found.", "status": "NOT_FOUND"}})
	case gateway.AzureOpenAI:
		return encode(object{"error": object{"code": "404", "message": "Resource not found"}})
	case gateway.Mistral:
		return encode(object{"message": "no Route matched with those values"})
	case gateway.Cohere:
		return encode(object{"message": "404 page not found"})
	case gateway.VLLM:
		return encode(object{"detail": "Not Found"})
	case gateway.Ollama:
		return encode(object{"error": "404 page not found"})
	case gateway.OpenAI, gateway.Custom:
	}

	return openAIError("Invalid URL", "invalid_request_error", "")
}

func openAIError(message, kind, code string) string {
	return encode(object{"error": object{"message": message, "type": kind, "param": nil, "code": code}})
}

func anthropicError(kind, message string) string {
	return encode(object{
		"type": "error", "error": object{"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
	})
}

func first(names []string) any {
	if len(names) == 0 {
		return nil
	}

	return names[0]
}

func last(names []string) any {
	if len(names) == 0 {
		return nil
	}

	return names[len(names)-1]
}

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // the maps above always encode
	}

	return string(text)
}
