-- +goose Up
-- The tenant's time zone, for what is asked for in SQL; Archon itself reads it from the log. Built by projections/cost_settings.go.
create table cost_settings (
  tenant_id  text collate "C" not null,
  time_zone  text        not null,
  version    bigint      not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint cost_settings_pkey primary key (tenant_id)
);

alter table cost_settings enable row level security;
alter table cost_settings force  row level security;
create policy tenant_isolation on cost_settings using (tenant_id = current_setting('app.tenant_id', true));
grant select on cost_settings to archon_app, archon_reader;
grant select, insert, update, delete on cost_settings to archon_worker;

-- +goose Down
drop table cost_settings;
