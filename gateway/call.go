package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

const (
	maxCorrelationID = 128

	correlationHeader = "X-Correlation-ID"
	agentHeader       = "User-Agent"
)

var (
	errNoBaseURL = errors.New("no base URL is configured")
	errBaseURL   = errors.New("the base URL is not valid")
	errPath      = errors.New("the model's name can't stand in a URL")
)

// Endpoint is where below a provider's base URL a call goes.
type Endpoint struct {
	// Version is the API's version segment, such as v1; "" means that the API has none, and one in the base URL is left out.
	Version string
	// VersionFixed says that Version counts even where the base URL names another one.
	VersionFixed bool
	// Path are the segments after the version, unescaped: a slash in a model's name stays a part of its segment.
	Path []string
	// Query are parameters, nil for none. A key never travels here: URLs end up in logs.
	Query url.Values
}

// ChatEndpoint is where the types that speak OpenAI's format take chat completions for model.
func (t Target) ChatEndpoint(model string) Endpoint {
	return t.openAIEndpoint(model, "chat", "completions")
}

// EmbeddingsEndpoint is where the types that speak OpenAI's format take embeddings for model.
func (t Target) EmbeddingsEndpoint(model string) Endpoint {
	return t.openAIEndpoint(model, "embeddings")
}

func (t Target) openAIEndpoint(model string, path ...string) Endpoint {
	if t.Type != AzureOpenAI {
		return Endpoint{Version: "v1", Path: path}
	}

	deployment := cmp.Or(t.Credentials[fieldDeploymentName], model)

	return Endpoint{Path: append([]string{"openai", "deployments", deployment}, path...), Query: azureQuery(t)}
}

// AzureVersion is the api-version of a target of type azure_openai.
func (t Target) AzureVersion() string { return cmp.Or(t.Credentials[fieldAPIVersion], azureAPIVersion) }

func azureQuery(t Target) url.Values { return url.Values{"api-version": {t.AzureVersion()}} }

// NewRequest makes a POST of body, a JSON document, to endpoint, with the target's credential and custom headers.
// correlationID travels upstream as X-Correlation-ID where it is printable. Its errors are ours and safe to show: the
// target's configuration is at fault, or the model's name.
func (t Target) NewRequest(ctx context.Context, endpoint Endpoint, body []byte, correlationID string) (*http.Request, error) {
	base, err := parseBase(t.baseURL())
	if err != nil {
		return nil, err
	}

	address, err := endpoint.below(t.Type, base)
	if err != nil {
		return nil, err
	}

	request, err := t.request(ctx, http.MethodPost, address, bytes.NewReader(body), correlationID)
	if err != nil {
		return nil, err
	}

	request.Header.Set("Content-Type", "application/json")

	return request, nil
}

// Redact makes text from this provider safe to show; see [Redact].
func (t Target) Redact(text string) string { return Redact(text, t.secrets()...) }

// FailureText says in words that may be shown why the provider refused: its own ones where there are any, else the
// status's. What it quotes of the request is still in it.
func (t Target) FailureText(status int, header http.Header, body []byte) string {
	return t.Redact(failureReason(status, header, body))
}

// below is the endpoint's URL given the parsed base URL.
func (e Endpoint) below(t ProviderType, base *url.URL) (*url.URL, error) {
	prefix, version := splitBase(t, base)
	if e.VersionFixed || e.Version == "" || version == "" {
		version = e.Version
	}

	segments := append(make([]string, 0, len(e.Path)+2), prefix, version)

	for _, segment := range e.Path {
		if slices.Contains([]string{"", ".", ".."}, segment) { // would name another endpoint
			return nil, errPath
		}

		segments = append(segments, url.PathEscape(segment))
	}

	return at(base, e.Query, segments...), nil
}

// request makes a request with everything that all calls of a target carry.
func (t Target) request(
	ctx context.Context, method string, address *url.URL, body io.Reader, correlationID string,
) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return nil, errBaseURL // the cause quotes the URL
	}

	for name, value := range t.CustomHeaders {
		if err := validateCustomHeader(t.Type, t.Credentials, name, value); err != nil {
			return nil, fmt.Errorf("a custom header can't be sent: %w", err)
		}

		request.Header.Set(name, value)
	}

	request.Header.Set("Accept", "application/json")
	setAuth(request.Header, t)

	if correlationID != "" && len(correlationID) <= maxCorrelationID && isPrintableASCII(correlationID) {
		request.Header.Set(correlationHeader, correlationID)
	}

	return request, nil
}

func parseBase(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errNoBaseURL
	}

	base, err := url.Parse(raw)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil {
		return nil, errBaseURL
	}

	return base, nil
}
