-- +goose Up
-- API keys of the data plane. Built by projections/keys.go. The key itself is not here: secret_hash is the SHA-256 of its
-- secret, which has 256 random bits.
create table api_keys (
  tenant_id       text collate "C" not null,
  id              uuid        not null,
  name            text        not null,
  department_id   text,
  models          jsonb       not null,
  rate_limit_rpm  bigint      check (rate_limit_rpm > 0),
  budget_nano_usd bigint      check (budget_nano_usd >= 0),
  expires_at      timestamptz,
  secret_hash     bytea       not null check (octet_length(secret_hash) = 32),
  hint            text        not null,
  created_by      text        not null,
  version         bigint      not null,
  created_at      timestamptz not null,
  revoked_at      timestamptz,
  constraint api_keys_pkey primary key (tenant_id, id)
);
comment on column api_keys.models is 'Exact names, and prefixes with a trailing *; an empty list stands for every model.';
comment on column api_keys.budget_nano_usd is 'In 10⁻⁹ USD.';
comment on column api_keys.version is 'Version of stream key-<id>, which is the ETag.';
create index api_keys_by_age on api_keys (tenant_id, created_at desc, id desc);

alter table api_keys enable row level security;
alter table api_keys force  row level security;
create policy tenant_isolation on api_keys using (tenant_id = current_setting('app.tenant_id', true));
grant select on api_keys to archon_app;
-- Dashboards have no use for hashes.
grant select (tenant_id, id, name, department_id, models, rate_limit_rpm, budget_nano_usd, expires_at, hint, created_by, version,
  created_at, revoked_at) on api_keys to archon_reader;
grant select, insert, update, delete on api_keys to archon_worker;

-- +goose Down
drop table api_keys;
