package readapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/httpx"
)

// Keys answers what is known of API keys. Their hashes are read by the data plane alone.
type Keys struct {
	Database Database
	Now      func() time.Time
}

// keyRow is a row of api_keys as far as it is shown.
type keyRow struct {
	ID            uuid.UUID
	Name          string
	DepartmentID  *string
	Models        []string
	RateLimitRPM  *int64 `db:"rate_limit_rpm"`
	BudgetNanoUSD *int64 `db:"budget_nano_usd"`
	ExpiresAt     *time.Time
	Hint          string
	CreatedBy     string
	Version       int64
	CreatedAt     time.Time
	RevokedAt     *time.Time
}

const selectKeys = `select id, name, department_id, models, rate_limit_rpm, budget_nano_usd, expires_at, hint, created_by, version,
	created_at, revoked_at from api_keys where tenant_id = $1 `

// ListKeys implements api.StrictServerInterface.
func (k *Keys) ListKeys(ctx context.Context, request api.ListKeysRequestObject) (api.ListKeysResponseObject, error) {
	var after newestFirst
	page, err := pageOf("keys", request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	rows, err := query[keyRow](ctx, k.Database, httpx.From(ctx).Principal.Tenant, selectKeys+`
		and ($2 or (created_at, id) < ($3::timestamptz, $4::uuid)) order by created_at desc, id desc limit $5`,
		request.Params.Cursor == nil, after.CreatedAt, after.ID, page.limit+1)
	if err != nil {
		return nil, err
	}
	if rows, err = cut(&page, rows, func(last keyRow) any { return newestFirst{last.CreatedAt, last.ID} }); err != nil {
		return nil, err
	}
	list := make([]api.Key, len(rows))
	for i := range rows {
		list[i] = rows[i].key(k.Now())
	}
	return api.ListKeys200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

// GetKey implements api.StrictServerInterface.
func (k *Keys) GetKey(ctx context.Context, request api.GetKeyRequestObject) (api.GetKeyResponseObject, error) {
	id, err := uuid.Parse(request.ID)
	if err != nil {
		return nil, keys.ErrNotFound
	}
	rows, err := query[keyRow](ctx, k.Database, httpx.From(ctx).Principal.Tenant, selectKeys+`and id = $2`, id)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, keys.ErrNotFound
	}
	etag := httpx.ETag(rows[0].Version)
	return api.GetKey200JSONResponse{
		Body:    api.KeyEnvelope{Data: rows[0].key(k.Now()), Meta: httpx.Meta(ctx)},
		Headers: api.GetKey200ResponseHeaders{ETag: &etag},
	}, nil
}

func (r *keyRow) key(now time.Time) api.Key {
	status := keys.Key{IsRevoked: r.RevokedAt != nil, Config: keys.Config{ExpiresAt: r.ExpiresAt}}.Status(now)
	shown := api.Key{
		ID: r.ID.String(), Name: r.Name, DepartmentID: r.DepartmentID, Models: r.Models, RateLimitRPM: r.RateLimitRPM,
		ExpiresAt: utc(r.ExpiresAt), Status: api.KeyStatus(status), Hint: r.Hint, CreatedBy: r.CreatedBy, Version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), RevokedAt: utc(r.RevokedAt),
	}
	if r.BudgetNanoUSD != nil {
		budget := (domain.Amount(*r.BudgetNanoUSD) * domain.NanoUSD).Number()
		shown.BudgetUsd = &budget
	}
	return shown
}
