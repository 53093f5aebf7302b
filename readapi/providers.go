package readapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/httpx"
)

// Providers answers what is known of model providers.
type Providers struct {
	Database Database
	History  History
	Schemas  api.CredentialSchemas
	Now      func() time.Time
}

// providerRow is a row of model_providers with what the probes came to.
type providerRow struct {
	ID              uuid.UUID
	Name            string
	Type            string
	BaseURL         string
	VaultPath       string
	IsEnabled       bool
	RateLimitRPM    *int64 `db:"rate_limit_rpm"`
	RateLimitTPM    *int64 `db:"rate_limit_tpm"`
	SupportedModels []string
	Capabilities    []api.Capability
	CustomHeaders   []string
	Version         int64
	CreatedAt       time.Time
	OK              *bool
	Failures        *int
	LastCheckAt     *time.Time
}

const selectProviders = `select p.id, p.name, p.type, p.base_url, p.vault_path, p.is_enabled, p.rate_limit_rpm, p.rate_limit_tpm,
	p.supported_models, p.capabilities, p.custom_headers, p.version, p.created_at, h.ok, h.failures, h.last_check_at
	from model_providers p left join provider_health h on h.tenant_id = p.tenant_id and h.provider_id = p.id
	where p.tenant_id = $1 and p.deleted_at is null `

// providerCursor is where a page of the list by name ended. A client can make one up, which must not reach the database
// as anything but a name and an id.
type providerCursor struct {
	Name string    `json:"n"`
	ID   uuid.UUID `json:"i"`
}

// ListProviders implements api.StrictServerInterface.
func (p *Providers) ListProviders(ctx context.Context, request api.ListProvidersRequestObject) (api.ListProvidersResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	if request.Params.AsOf != nil {
		return p.listAsOf(ctx, tenant, request)
	}
	rows, page, err := p.page(ctx, tenant, request.Params.Limit, request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	calls, err := p.recentCalls(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	list := make([]api.Provider, 0, len(rows))
	for i := range rows {
		list = append(list, rows[i].provider(calls[rows[i].ID]))
	}
	return api.ListProviders200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

// page reads one page of providers by name.
func (p *Providers) page(ctx context.Context, tenant string, limit *int, cursor *string) ([]providerRow, page, error) {
	var after providerCursor
	page, err := pageOf("providers", limit, cursor, &after)
	if err != nil {
		return nil, page, err
	}
	rows, err := query[providerRow](ctx, p.Database, tenant, selectProviders+`
		and ($2 = '' or (p.name, p.id) > ($2, $3::uuid)) order by p.name, p.id limit $4`, after.Name, after.ID, page.limit+1)
	if err != nil {
		return nil, page, err
	}
	rows, err = cut(&page, rows, func(last providerRow) any { return providerCursor{Name: last.Name, ID: last.ID} })
	return rows, page, err
}

// GetProvider implements api.StrictServerInterface.
func (p *Providers) GetProvider(ctx context.Context, request api.GetProviderRequestObject) (api.GetProviderResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	var provider api.Provider
	var err error
	if request.Params.AsOf != nil {
		provider, err = p.providerAsOf(ctx, tenant, request.ID, *request.Params.AsOf)
	} else {
		provider, err = p.provider(ctx, tenant, request.ID)
	}
	if err != nil {
		return nil, err
	}
	etag := httpx.ETag(provider.Version)
	return api.GetProvider200JSONResponse{
		Body:    api.ProviderEnvelope{Data: provider, Meta: httpx.Meta(ctx)},
		Headers: api.GetProvider200ResponseHeaders{ETag: &etag},
	}, nil
}

func (p *Providers) provider(ctx context.Context, tenant, id string) (api.Provider, error) {
	row, err := p.row(ctx, tenant, id)
	if err != nil {
		return api.Provider{}, err
	}
	calls, err := p.recentCalls(ctx, tenant, []providerRow{row})
	if err != nil {
		return api.Provider{}, err
	}
	return row.provider(calls[row.ID]), nil
}

func (p *Providers) row(ctx context.Context, tenant, id string) (providerRow, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return providerRow{}, providers.ErrNotFound
	}
	rows, err := query[providerRow](ctx, p.Database, tenant, selectProviders+`and p.id = $2`, parsed)
	if err != nil {
		return providerRow{}, err
	}
	if len(rows) == 0 {
		return providerRow{}, providers.ErrNotFound
	}
	return rows[0], nil
}

// Current is a provider as the read tables have it now, for answers to commands, which show its metrics.
func (p *Providers) Current(ctx context.Context, tenant, id string) (api.Provider, error) {
	return p.provider(ctx, tenant, id)
}

// GetProvidersHealth implements api.StrictServerInterface.
func (p *Providers) GetProvidersHealth(ctx context.Context, _ api.GetProvidersHealthRequestObject) (api.GetProvidersHealthResponseObject, error) {
	tenant := httpx.From(ctx).Principal.Tenant
	rows, err := query[providerRow](ctx, p.Database, tenant, selectProviders)
	if err != nil {
		return nil, err
	}
	calls, err := p.recentCalls(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	counts := map[providers.Status]int{}
	for i := range rows {
		counts[rows[i].status(calls[rows[i].ID])]++
	}
	return api.GetProvidersHealth200JSONResponse{
		Data: api.ProvidersHealth{
			Total: len(rows), Healthy: counts[providers.Healthy], Degraded: counts[providers.Degraded],
			Unhealthy: counts[providers.Unhealthy], Unknown: counts[providers.Unknown],
		},
		Meta: httpx.Meta(ctx),
	}, nil
}

// GetCredentialSchemas implements api.StrictServerInterface.
func (p *Providers) GetCredentialSchemas(ctx context.Context, _ api.GetCredentialSchemasRequestObject) (api.GetCredentialSchemasResponseObject, error) {
	return api.GetCredentialSchemas200JSONResponse{Data: p.Schemas, Meta: httpx.Meta(ctx)}, nil
}

func (r *providerRow) probes() providers.Health {
	if r.OK == nil {
		return providers.Health{}
	}
	return providers.Health{Tested: true, OK: *r.OK, Failures: *r.Failures}
}

func (r *providerRow) status(calls callCounts) providers.Status {
	return providers.StatusOf(r.probes(), calls.requests, calls.errors)
}

func (r *providerRow) provider(calls callCounts) api.Provider {
	return api.Provider{
		ID: r.ID.String(), Name: r.Name, Type: api.ProviderType(r.Type), BaseURL: r.BaseURL, IsEnabled: r.IsEnabled,
		HealthStatus: api.HealthStatus(r.status(calls)), SupportedModels: r.SupportedModels, Capabilities: r.Capabilities,
		CustomHeaders: r.CustomHeaders, RateLimitRPM: r.RateLimitRPM, RateLimitTPM: r.RateLimitTPM, VaultPath: r.VaultPath,
		Version: r.Version, LatencyMsP50: calls.percentile(median), LatencyMsP95: calls.percentile(p95),
		ErrorRatePct: calls.errorRate(), CreatedAt: r.CreatedAt.UTC(),
	}
}
