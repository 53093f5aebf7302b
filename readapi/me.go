package readapi

import (
	"context"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

// Me answers who the caller is.
type Me struct{}

// GetMe implements api.StrictServerInterface.
func (Me) GetMe(ctx context.Context, _ api.GetMeRequestObject) (api.GetMeResponseObject, error) {
	principal := httpx.From(ctx).Principal
	roles := make([]api.Role, len(principal.Roles))
	for i, role := range principal.Roles {
		roles[i] = api.Role(role)
	}
	return api.GetMe200JSONResponse{
		Data: api.Me{TenantID: principal.Tenant, UserID: principal.UserID, Name: principal.Name, Roles: roles},
		Meta: httpx.Meta(ctx),
	}, nil
}
