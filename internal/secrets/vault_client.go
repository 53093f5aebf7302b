package secrets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// vaultRetries is how often a request is sent again that Vault has surely not acted on. Callers retry too; more
	// here would only make a dead Vault slower to report.
	vaultRetries   = 1
	vaultRetryWait = 50 * time.Millisecond

	vaultIdleConns    = 32
	vaultIdleTimeout  = 90 * time.Second
	vaultKeepAlive    = 30 * time.Second
	dialShareOfCall   = 2 // a dial may use half of a call's time, so that there is time for a second one
	maxAnswerHeadSize = 64 << 10
)

// newHTTPClient returns the connections that all clients of one store share.
func newHTTPClient(cfg VaultConfig) (*http.Client, error) {
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}

	dialer := &net.Dialer{Timeout: cfg.Timeout / dialShareOfCall, KeepAlive: vaultKeepAlive}

	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        tlsConfig,
			TLSHandshakeTimeout:    cfg.Timeout / dialShareOfCall,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    vaultIdleConns,
			IdleConnTimeout:        vaultIdleTimeout,
			MaxResponseHeaderBytes: maxAnswerHeadSize,
		},
		// The api client follows the one redirect that a standby node answers with; see api.DefaultConfig.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// newAPIClient returns a client that sends token and namespace, either of which may be "". It sets all that
// api.NewClient would take from the environment.
func newAPIClient(cfg VaultConfig, connections *http.Client, namespace, token string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:      cfg.Address,
		HttpClient:   connections,
		Timeout:      cfg.Timeout,
		MaxRetries:   vaultRetries,
		MinRetryWait: vaultRetryWait,
		MaxRetryWait: vaultRetryWait,
		CheckRetry:   mayRetry,
		Backoff:      retryPause,
	})
	if err != nil {
		return nil, fmt.Errorf("make vault client: %w", err)
	}

	client.SetToken(token)
	client.SetWrappingLookupFunc(func(string, string) string { return "" })

	if namespace == "" {
		client.ClearNamespace()
	} else {
		client.SetNamespace(namespace)
	}

	return client, nil
}

// mayRetry tells whether a request may be sent again. A write whose answer was lost may have happened: sent again, a
// check-and-set would meet its own effect and call it somebody else's.
func mayRetry(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}

	if err != nil {
		var requestErr *url.Error
		if !errors.As(err, &requestErr) {
			return false, nil
		}

		var dialErr *net.OpError
		if errors.As(err, &dialErr) && dialErr.Op == "dial" {
			return true, nil
		}

		return requestErr.Op == "Get" || requestErr.Op == "Delete", nil
	}

	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusPreconditionFailed:
		return true, nil // refused before anything was done
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		method := response.Request.Method

		return method == http.MethodGet || method == http.MethodDelete, nil
	default:
		return false, nil
	}
}

// retryPause ignores Retry-After, which would use up a call's time with waiting: the caller is told instead.
func retryPause(shortest, _ time.Duration, _ int, _ *http.Response) time.Duration {
	return shortest + rand.N(shortest) //nolint:gosec // jitter is no secret
}
