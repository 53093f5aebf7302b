package gateway

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	anthropicVersionHeader = "Anthropic-Version"
	anthropicVersion       = "2023-06-01"
	azureAPIVersion        = "2024-02-01"

	// pageSize is the most that the paged APIs list at once. It is more than any
	// of them offers today, so one page is the whole list.
	pageSize = "1000"

	// noModelsPath as a custom provider's models_path says that it has none.
	noModelsPath = "none"
)

// versionSegment matches what may or may not end a base URL: v1, v1beta, v2alpha1.
var versionSegment = regexp.MustCompile(`^v\d+(?:(?:alpha|beta)\d*)?$`)

// listURL is where target lists its models, given its parsed base URL.
func listURL(target Target, base *url.URL) *url.URL {
	prefix, version := splitBase(target.Type, base)

	switch target.Type {
	case Anthropic:
		return at(base, url.Values{"limit": {pageSize}}, prefix, cmp.Or(version, "v1"), "models")
	case Google:
		return at(base, url.Values{"pageSize": {pageSize}}, prefix, cmp.Or(version, "v1beta"), "models")
	case Cohere:
		// Chat is v2, but the list exists in v1 only.
		return at(base, url.Values{"page_size": {pageSize}}, prefix, "v1", "models")
	case AzureOpenAI:
		return at(base, azureQuery(target), prefix, "openai", "models")
	case Ollama:
		return at(base, nil, prefix, "api", "tags")
	case Custom:
		return customListURL(target, base, prefix, version)
	case OpenAI, Mistral, VLLM:
	}

	return at(base, nil, prefix, cmp.Or(version, "v1"), "models")
}

// customListURL follows models_path below the base URL. Without one it is the
// usual OpenAI path; where there is none at all, the base URL itself, which
// then only shows whether the provider can be reached.
func customListURL(target Target, base *url.URL, prefix, version string) *url.URL {
	if !listsModels(target) {
		return base
	}

	path, given := target.Credentials[fieldModelsPath]
	if !given {
		return at(base, nil, prefix, cmp.Or(version, "v1"), "models")
	}

	path = strings.TrimPrefix(path, "/")
	if version != "" && strings.HasPrefix(path, version+"/") {
		version = "" // …/v1 and /v1/models name the same segment
	}

	return at(base, nil, prefix, version, path)
}

// listsModels reports whether target has a list of models: all have, but a
// custom one whose models_path is explicitly empty or "none".
func listsModels(target Target) bool {
	path, given := target.Credentials[fieldModelsPath]

	return target.Type != Custom || !given || path != "" && path != noModelsPath
}

// splitBase cuts a base URL's path into what comes before the API's own path
// (a proxy's prefix, usually nothing) and the version segment, if it has one.
func splitBase(t ProviderType, base *url.URL) (prefix, version string) {
	segments := strings.FieldsFunc(base.EscapedPath(), func(r rune) bool { return r == '/' })

	if at := slices.Index(segments, "openai"); t == AzureOpenAI && at >= 0 && isAzurePath(segments[at+1:]) {
		segments = segments[:at]
	}

	if last := len(segments) - 1; last >= 0 && versionSegment.MatchString(segments[last]) {
		segments, version = segments[:last], segments[last]
	}

	if last := len(segments) - 1; t == Ollama && last >= 0 && segments[last] == "api" {
		segments = segments[:last]
	}

	return strings.Join(segments, "/"), version
}

// isAzurePath tells the API's own path after /openai from a proxy's folder of that name.
func isAzurePath(rest []string) bool {
	return len(rest) == 0 || rest[0] == "deployments" || len(rest) == 1 && versionSegment.MatchString(rest[0])
}

func at(base *url.URL, query url.Values, segments ...string) *url.URL {
	root := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/", RawQuery: query.Encode()}

	return root.JoinPath(slices.DeleteFunc(segments, func(s string) bool { return s == "" })...)
}

// authHeaderName is the header that carries a type's key, or "".
func authHeaderName(t ProviderType, credentials map[string]string) string {
	switch t {
	case Anthropic:
		return "X-Api-Key"
	case Google:
		return "X-Goog-Api-Key" // never ?key=, which ends up in logs
	case AzureOpenAI:
		return "Api-Key"
	case Ollama:
		return ""
	case Custom:
		return http.CanonicalHeaderKey(cmp.Or(credentials[fieldHeader], defaultAuthHeader))
	case OpenAI, Mistral, Cohere, VLLM:
	}

	return defaultAuthHeader
}

// setAuth adds the key, where there is one, and what else a type insists on.
func setAuth(header http.Header, target Target) {
	if target.Type == Anthropic {
		header.Set(anthropicVersionHeader, anthropicVersion)
	}

	name, key := authHeaderName(target.Type, target.Credentials), target.Credentials[fieldAPIKey]
	if name != "" && key != "" {
		header.Set(name, authValue(target, key))
	}
}

func authValue(target Target, key string) string {
	switch target.Type {
	case Anthropic, Google, AzureOpenAI:
		return key
	case Custom:
		if prefix, given := target.Credentials[fieldPrefix]; given {
			return strings.TrimSpace(prefix + " " + key)
		}
	case OpenAI, Mistral, Cohere, VLLM, Ollama:
	}

	return defaultAuthPrefix + " " + key
}
