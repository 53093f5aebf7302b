package readapi

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/providers"
)

// DataPlane reads what calls need of a tenant, for the data plane's memory.
type DataPlane struct {
	Providers *Providers
	Prices    *Prices
}

// RegisteredProvider is a provider as calls need it.
type RegisteredProvider struct {
	ID      string
	Version int64
	Config  providers.Config
	Secret  providers.Secret
}

// registeredRow is a row of model_providers with what calls need.
type registeredRow struct {
	ID              uuid.UUID
	Name            string
	Type            string
	BaseURL         string
	VaultPath       string
	SecretVersion   int
	IsEnabled       bool
	RateLimitRPM    *int64 `db:"rate_limit_rpm"`
	RateLimitTPM    *int64 `db:"rate_limit_tpm"`
	SupportedModels []string
	Capabilities    []string
	Version         int64
}

// Registered lists the tenant's providers by name.
func (d *DataPlane) Registered(ctx context.Context, tenant string) ([]RegisteredProvider, error) {
	rows, err := query[registeredRow](ctx, d.Providers.Database, tenant, `select id, name, type, base_url, vault_path, secret_version, is_enabled,
		rate_limit_rpm, rate_limit_tpm, supported_models, capabilities, version
		from model_providers where tenant_id = $1 and deleted_at is null order by name, id`)
	if err != nil {
		return nil, fmt.Errorf("read the providers: %w", err)
	}
	list := make([]RegisteredProvider, len(rows))
	for i := range rows {
		r := &rows[i]
		list[i] = RegisteredProvider{
			ID: r.ID.String(), Version: r.Version, Secret: providers.Secret{VaultPath: r.VaultPath, SecretVersion: r.SecretVersion},
			Config: providers.Config{
				Name: r.Name, Type: providers.Type(r.Type), BaseURL: r.BaseURL, IsEnabled: r.IsEnabled,
				RateLimitRPM: r.RateLimitRPM, RateLimitTPM: r.RateLimitTPM, SupportedModels: r.SupportedModels, Capabilities: r.Capabilities,
			},
		}
	}
	return list, nil
}

// secretKeyRow is a row of api_keys with what it takes to recognise the key.
type secretKeyRow struct {
	ID            uuid.UUID
	Name          string
	DepartmentID  *string
	Models        []string
	RateLimitRPM  *int64 `db:"rate_limit_rpm"`
	BudgetNanoUSD *int64 `db:"budget_nano_usd"`
	ExpiresAt     *time.Time
	SecretHash    []byte
	Revoked       bool
}

// Keys reads the tenant's API keys by id. Those that were revoked are among them, so that they are not looked for again.
func (d *DataPlane) Keys(ctx context.Context, tenant string) (map[string]keys.Key, error) {
	rows, err := query[secretKeyRow](ctx, d.Providers.Database, tenant, `select id, name, department_id, models, rate_limit_rpm, budget_nano_usd, expires_at,
		secret_hash, revoked_at is not null as revoked from api_keys where tenant_id = $1`)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	byID := make(map[string]keys.Key, len(rows))
	for i := range rows {
		r := &rows[i]
		byID[r.ID.String()] = keys.Key{
			ID: r.ID.String(), SecretHash: keys.Digest(r.SecretHash), IsRevoked: r.Revoked,
			Config: keys.Config{
				Name: r.Name, DepartmentID: r.DepartmentID, Models: r.Models, RateLimitRPM: r.RateLimitRPM, BudgetNanoUSD: r.BudgetNanoUSD, ExpiresAt: r.ExpiresAt,
			},
		}
	}
	return byID, nil
}

// Statuses reads the health of the tenant's providers by id.
func (d *DataPlane) Statuses(ctx context.Context, tenant string) (map[string]providers.Status, error) {
	rows, err := query[providerRow](ctx, d.Providers.Database, tenant, selectProviders)
	if err != nil {
		return nil, fmt.Errorf("read the providers' health: %w", err)
	}
	calls, err := d.Providers.recentCalls(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	statuses := make(map[string]providers.Status, len(rows))
	for i := range rows {
		statuses[rows[i].ID.String()] = rows[i].status(calls[rows[i].ID])
	}
	return statuses, nil
}

// spentRow is what a key has spent, and up to where the read table shows that.
type spentRow struct {
	Spent    string
	Position int64
}

// SpentBy is what a key has spent as far as the read table shows, and the position of the log up to which it does.
func (d *DataPlane) SpentBy(ctx context.Context, tenant, keyID string) (spent domain.Amount, position int64, err error) {
	rows, err := query[spentRow](ctx, d.Providers.Database, tenant, `select
		coalesce((select spent_usd from api_key_spend where tenant_id = $1 and key_id = $2), 0)::text as spent,
		coalesce((select max(position) from projection_checkpoints where tenant_id = $1 and projection = 'key_spend' and status in ('live', 'rebuilding')), 0) as position`, keyID)
	if err != nil {
		return 0, 0, fmt.Errorf("read what a key has spent: %w", err)
	}
	if spent, err = domain.ParseAmount(rows[0].Spent, domain.AmountPlaces); err != nil {
		return 0, 0, fmt.Errorf("read what a key has spent: %w", err)
	}
	return spent, rows[0].Position, nil
}

// PeriodSpend is what a subject of budgets has spent in a period as far as the ledger shows, and the position of the log up to which
// it does, both of one moment. What is beyond the largest amount is that.
func (d *DataPlane) PeriodSpend(ctx context.Context, tenant string, subject budgets.Subject, window budgets.Window) (spent domain.Amount, position int64, err error) {
	rows, err := query[spentRow](ctx, d.Providers.Database, tenant, `select
		coalesce((select spent_usd from budget_spend($1, $2, $3, null, $4, $5)), 0)::numeric(30, 10)::text as spent,
		coalesce((select max(position) from projection_checkpoints where tenant_id = $1 and projection = 'ledger' and status in ('live', 'rebuilding')), 0) as position`,
		window.Start, window.End, string(subject.Level), subject.ID)
	if err != nil {
		return 0, 0, fmt.Errorf("read what has been spent in a period: %w", err)
	}
	return usdSum(rows[0].Spent).amount(), rows[0].Position, nil
}
