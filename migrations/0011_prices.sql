-- +goose Up
-- What a tenant pays for models from a date on, where that differs from the list that comes with the program. Built by
-- projections/prices.go. Rates are in 10⁻¹⁰ USD per million tokens.
create table price_overrides (
  tenant_id      text collate "C" not null,
  provider_type  text        not null,
  model          text collate "C" not null,
  effective_from timestamptz not null,
  input          bigint      not null check (input >= 0),
  cache_read     bigint      not null check (cache_read >= 0),
  cache_write    bigint      not null check (cache_write >= 0),
  output         bigint      not null check (output >= 0),
  reasoning      bigint      not null check (reasoning >= 0),
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  constraint price_overrides_pkey primary key (tenant_id, provider_type, model, effective_from)
);
comment on table price_overrides is 'Of two overrides of the same model and moment the later one is here; updated_at is when it was made.';

alter table price_overrides enable row level security;
alter table price_overrides force  row level security;
create policy tenant_isolation on price_overrides using (tenant_id = current_setting('app.tenant_id', true));
grant select on price_overrides to archon_app, archon_reader;
grant select, insert, update, delete on price_overrides to archon_worker;

-- +goose Down
drop table price_overrides;
