-- +goose Up
-- What somebody should look at, a row each time that it was raised. Built by projections/alerts.go.
create table alerts (
  tenant_id   text collate "C" not null,
  id          uuid        not null,
  kind        text collate "C" not null,
  subject     text        not null,
  message     text        not null,
  details     jsonb       not null,
  created_at  timestamptz not null,
  resolved_at timestamptz,
  resolution  text,
  constraint alerts_pkey primary key (tenant_id, id),
  constraint alerts_resolved check ((resolved_at is null) = (resolution is null))
);
comment on column alerts.resolved_at is 'Null while the alert is open.';
create index alerts_by_age on alerts (tenant_id, created_at desc, id desc);
create index alerts_open   on alerts (tenant_id, created_at desc, id desc) where resolved_at is null;

alter table alerts enable row level security;
alter table alerts force  row level security;
create policy tenant_isolation on alerts using (tenant_id = current_setting('app.tenant_id', true));
grant select on alerts to archon_app, archon_reader;
grant select, insert, update, delete on alerts to archon_worker;

-- +goose Down
drop table alerts;
