package projections

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
)

// ProvidersName is the name of the projection of model providers.
const ProvidersName = "providers"

// Providers builds model_providers, provider_health, provider_health_history and provider_health_slots. It folds a batch
// in memory, so that a catch-up writes a row a provider and batch, not a row an event.
type Providers struct{}

var (
	_ Folder      = Providers{}
	_ Rebuildable = Providers{}
)

// Name implements Projector.
func (Providers) Name() string { return ProvidersName }

// Version implements Projector.
func (Providers) Version() int { return 1 }

// Tables implements Rebuildable.
func (Providers) Tables() []string {
	return []string{"model_providers", "provider_health", "provider_health_history", "provider_health_slots"}
}

// Handles implements Projector. What there is most of comes first, since PostgreSQL compares in this order.
func (Providers) Handles() []string {
	return []string{
		providers.Sampled{}.EventType(), providers.Probed{}.EventType(),
		providers.Registered{}.EventType(), providers.Updated{}.EventType(), providers.CredentialsRotated{}.EventType(),
		providers.Deleted{}.EventType(), providers.SecretRemoved{}.EventType(),
	}
}

// Project implements Projector.
func (p Providers) Project(events []Event, out *Statements) error {
	fold := p.Fold()
	for i := range events {
		event := events[i]
		event.Payload = pointer(event.Payload)
		if err := fold.Add(&event); err != nil {
			return err //nolint:wrapcheck // it is our own
		}
	}
	fold.Write(out)
	return nil
}

// pointer is a payload as a fold takes it.
func pointer(payload eventstore.Typed) eventstore.Typed {
	copied := reflect.New(reflect.TypeOf(payload))
	copied.Elem().Set(reflect.ValueOf(payload))
	return copied.Interface().(eventstore.Typed) //nolint:errcheck,forcetypeassert // a pointer has its value's methods
}

// Fold implements Folder.
func (Providers) Fold() Fold {
	return &providersFold{configuration: newProviderBatch(), health: newHealthBatch()}
}

type providersFold struct {
	configuration *providerBatch
	health        *healthBatch
}

// Add implements Fold.
func (f *providersFold) Add(event *Event) error {
	var err error
	switch payload := event.Payload.(type) {
	case *providers.Sampled:
		err = f.health.sampled(event, payload)
	case *providers.Probed:
		err = f.health.probed(event, payload)
	case *providers.Registered:
		err = f.configuration.configured(event, payload.ProviderID, payload.Config, payload.Secret)
	case *providers.Updated:
		err = f.configuration.configured(event, payload.ProviderID, payload.Config, payload.Secret)
	case *providers.CredentialsRotated:
		err = f.configuration.rotated(event, payload.ProviderID, payload.Secret)
	case *providers.Deleted:
		err = f.configuration.deleted(event, payload.ProviderID)
	case *providers.SecretRemoved:
		_, err = f.configuration.touch(event, payload.ProviderID)
	}
	if err != nil {
		return fmt.Errorf("project position %d: %w", event.Position, err)
	}
	return nil
}

// Bytes implements Fold.
func (f *providersFold) Bytes() int {
	const changeBytes = 2048
	return len(f.configuration.order)*changeBytes + f.health.bytes()
}

// Part implements Fold.
func (f *providersFold) Part(out *Statements) { f.health.part(out) }

// Write implements Fold.
func (f *providersFold) Write(out *Statements) {
	f.configuration.write(out)
	f.health.write(out)
}

// providerBatch is what a batch of events does to model_providers, by provider, in the order of first mention.
type providerBatch struct {
	changes map[string]*providerChange
	order   []*providerChange
}

type providerChange struct {
	tenant  string
	id      uuid.UUID
	config  *providers.Config
	secret  *providers.Secret
	version int64
	at      time.Time // of the last event
	first   time.Time // of the first one, which is created_at where that is the registration
	deleted *time.Time
}

func newProviderBatch() *providerBatch {
	return &providerBatch{changes: map[string]*providerChange{}}
}

func (b *providerBatch) touch(event *Event, providerID string) (*providerChange, error) {
	change, found := b.changes[providerID]
	if !found {
		id, err := uuid.Parse(providerID)
		if err != nil {
			return nil, fmt.Errorf("provider id: %w", err)
		}
		change = &providerChange{tenant: event.Tenant, id: id, first: event.Time()}
		b.changes[providerID] = change
		b.order = append(b.order, change)
	}
	change.version, change.at = event.Version, event.Time()
	return change, nil
}

func (b *providerBatch) configured(event *Event, id string, config providers.Config, secret providers.Secret) error {
	change, err := b.touch(event, id)
	if err == nil {
		change.config, change.secret = &config, &secret
	}
	return err
}

func (b *providerBatch) rotated(event *Event, id string, secret providers.Secret) error {
	change, err := b.touch(event, id)
	if err == nil {
		change.secret = &secret
	}
	return err
}

func (b *providerBatch) deleted(event *Event, id string) error {
	change, err := b.touch(event, id)
	if err == nil && change.deleted == nil {
		at := event.Time()
		change.deleted = &at
	}
	return err
}

func (b *providerBatch) write(out *Statements) {
	if len(b.order) == 0 {
		return
	}
	b.writeConfigured(out)
	var ids []uuid.UUID
	var versions []int64
	var secretVersions []*int
	var paths []*string
	var updated []time.Time
	var deleted []*time.Time
	for _, change := range b.order {
		ids = append(ids, change.id)
		versions = append(versions, change.version)
		updated = append(updated, change.at)
		var secretVersion *int
		var path *string
		if change.secret != nil {
			secretVersion, path = &change.secret.SecretVersion, &change.secret.VaultPath
		}
		secretVersions, paths = append(secretVersions, secretVersion), append(paths, path)
		deleted = append(deleted, change.deleted)
	}
	out.Exec(`update model_providers p set version = u.version, updated_at = u.updated_at,
			secret_version = coalesce(u.secret_version, p.secret_version), vault_path = coalesce(u.vault_path, p.vault_path),
			deleted_at = coalesce(p.deleted_at, u.deleted_at)
		from unnest($2::uuid[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::timestamptz[], $7::text[])
			as u(id, version, secret_version, updated_at, deleted_at, vault_path)
		where p.tenant_id = $1 and p.id = u.id`,
		b.order[0].tenant, ids, versions, secretVersions, updated, deleted, paths)
}

// providerRow is a configured provider as the statement unpacks it.
type providerRow struct {
	ID              uuid.UUID      `json:"id"`
	Name            string         `json:"name"`
	Type            providers.Type `json:"type"`
	BaseURL         string         `json:"base_url"`
	VaultPath       string         `json:"vault_path"`
	SecretVersion   int            `json:"secret_version"`
	IsEnabled       bool           `json:"is_enabled"`
	RateLimitRPM    *int64         `json:"rate_limit_rpm"`
	RateLimitTPM    *int64         `json:"rate_limit_tpm"`
	SupportedModels []string       `json:"supported_models"`
	Capabilities    []string       `json:"capabilities"`
	CustomHeaders   []string       `json:"custom_headers"`
	Version         int64          `json:"version"`
	CreatedAt       time.Time      `json:"created_at"`
	UpdatedAt       time.Time      `json:"updated_at"`
}

func (b *providerBatch) writeConfigured(out *Statements) {
	var rows []providerRow
	for _, c := range b.order {
		if c.config == nil {
			continue
		}
		rows = append(rows, providerRow{
			ID: c.id, Name: c.config.Name, Type: c.config.Type, BaseURL: c.config.BaseURL, VaultPath: c.secret.VaultPath,
			SecretVersion: c.secret.SecretVersion, IsEnabled: c.config.IsEnabled, RateLimitRPM: c.config.RateLimitRPM,
			RateLimitTPM: c.config.RateLimitTPM, SupportedModels: list(c.config.SupportedModels), Capabilities: list(c.config.Capabilities),
			CustomHeaders: list(c.config.CustomHeaders), Version: c.version, CreatedAt: c.first, UpdatedAt: c.at,
		})
	}
	if len(rows) == 0 {
		return
	}
	encoded, err := json.Marshal(rows)
	if err != nil {
		panic("provider rows that were JSON a moment ago can't be encoded: " + err.Error())
	}
	out.Exec(`insert into model_providers (tenant_id, id, name, type, base_url, vault_path, secret_version, is_enabled, rate_limit_rpm,
			rate_limit_tpm, supported_models, capabilities, custom_headers, version, created_at, updated_at)
		select $1, r.id, r.name, r.type, r.base_url, r.vault_path, r.secret_version, r.is_enabled, r.rate_limit_rpm,
			r.rate_limit_tpm, r.supported_models, r.capabilities, r.custom_headers, r.version, r.created_at, r.updated_at
		from jsonb_to_recordset($2::jsonb) as r(id uuid, name text, type text, base_url text, vault_path text, secret_version integer,
			is_enabled boolean, rate_limit_rpm bigint, rate_limit_tpm bigint, supported_models jsonb, capabilities jsonb,
			custom_headers jsonb, version bigint, created_at timestamptz, updated_at timestamptz)
		on conflict (tenant_id, id) do update set name = excluded.name, type = excluded.type, base_url = excluded.base_url,
			vault_path = excluded.vault_path, secret_version = excluded.secret_version, is_enabled = excluded.is_enabled,
			rate_limit_rpm = excluded.rate_limit_rpm, rate_limit_tpm = excluded.rate_limit_tpm,
			supported_models = excluded.supported_models, capabilities = excluded.capabilities, custom_headers = excluded.custom_headers,
			version = excluded.version, updated_at = excluded.updated_at`, b.order[0].tenant, string(encoded))
}

// list is a list that is not null as JSON.
func list(items []string) []string { return append([]string{}, items...) }
