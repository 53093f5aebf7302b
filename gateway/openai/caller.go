package openai

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
)

// Verifier judges the tokens of users; *auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// keyPrefix is how an API key of Archon's begins; everything else is taken for an OIDC token.
const keyPrefix = "ak_"

// headerAzureKey is where OpenAI's clients for Azure put the key.
const headerAzureKey = "Api-Key"

// caller settles who calls: an API key, or a user who may run things.
func (h *Handler) caller(r *http.Request, path string) (plane.Caller, *plane.Problem) {
	request := httpx.From(r.Context())
	caller := plane.Caller{
		Method: r.Method, Path: path, CorrelationID: request.CorrelationID, IP: request.IP, UserAgent: request.UserAgent,
		NamedDepartment: r.Header.Get(plane.HeaderDepartment),
	}
	token, problem := bearer(r)
	if problem != nil {
		return caller, problem
	}
	if strings.HasPrefix(token, keyPrefix) {
		key, problem := h.Plane.Authenticate(r.Context(), token)
		if problem != nil {
			return caller, problem
		}
		caller.Tenant, caller.Key = key.Tenant, &key.Key
		request.Principal.Tenant = key.Tenant // for the log's lines
		if key.DepartmentID != nil {
			caller.DepartmentID = *key.DepartmentID
		}
		caller.Actor = domain.Actor{ID: key.ID, Type: domain.Service}
		return caller, nil
	}
	principal, err := h.Verifier.Verify(r.Context(), token)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		return caller, &plane.Problem{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "unavailable", Message: "Tokens can't be verified at the moment.", RetryAfter: defaultRetryAfter}
	case err != nil:
		return caller, invalidKey()
	case !principal.Allows(auth.RequireOperator):
		return caller, &plane.Problem{Status: http.StatusForbidden, Type: "permission_error", Code: "forbidden", Message: "Calling models takes an API key, or the role operator."}
	}
	caller.Tenant, caller.UserID, caller.DepartmentID = principal.Tenant, principal.UserID, principal.Department
	request.Principal = principal
	caller.Actor = domain.Actor{ID: principal.UserID, Type: domain.User}
	for _, role := range principal.Roles {
		caller.Roles = append(caller.Roles, string(role))
	}
	return caller, nil
}

// bearer is the key or token of a request.
func bearer(r *http.Request) (string, *plane.Problem) {
	if keys := r.Header.Values(headerAzureKey); len(keys) == 1 && r.Header.Get("Authorization") == "" {
		return keys[0], nil
	}
	token, err := auth.BearerToken(r)
	if err != nil {
		return "", &plane.Problem{
			Status: http.StatusUnauthorized, Type: "invalid_request_error",
			Message: "No API key was provided. Send it as `Authorization: Bearer ak_…`.",
		}
	}
	return token, nil
}

func invalidKey() *plane.Problem {
	return &plane.Problem{
		Status: http.StatusUnauthorized, Type: "invalid_request_error", Code: "invalid_api_key",
		Message: "The API key or token is not valid: it is unknown, revoked or expired.",
	}
}
