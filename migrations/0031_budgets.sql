-- +goose Up
-- What may be spent in a month or a quarter. Built by projections/budgets.go.
create table budgets (
  tenant_id           text collate "C" not null,
  level               text collate "C" not null,
  subject_id          text collate "C" not null,
  id                  uuid           not null,
  department          text,
  budget_usd          numeric(16, 6) not null,
  period              text           not null,
  warn_threshold_pct  numeric(6, 2)  not null,
  block_threshold_pct numeric(6, 2),
  version             bigint         not null,
  removed_at          timestamptz,
  created_at          timestamptz    not null,
  updated_at          timestamptz    not null,
  constraint budgets_pkey   primary key (tenant_id, level, subject_id),
  constraint budgets_level  check (level in ('tenant', 'department', 'agent', 'key')),
  constraint budgets_period check (period in ('monthly', 'quarterly'))
);
comment on column budgets.subject_id is 'The id of the tenant, department, agent or key whose spending it bounds.';
comment on column budgets.department is 'The name that the department''s budget was set with; null where there was none.';
comment on column budgets.block_threshold_pct is 'Null for a budget that only warns.';
comment on column budgets.removed_at is 'Null while the budget holds.';

alter table budgets enable row level security;
alter table budgets force  row level security;
create policy tenant_isolation on budgets using (tenant_id = current_setting('app.tenant_id', true));
-- The worker finds by it which tenants have budgets to look after.
create policy worker_control on budgets for select to archon_worker using (true);
grant select on budgets to archon_app, archon_reader;
grant select, insert, update, delete on budgets to archon_worker;

-- +goose Down
drop table budgets;
