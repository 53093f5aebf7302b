-- +goose Up
-- Departments, and what each of them was called from which position on. Built by projections/departments.go.
create table departments (
  tenant_id  text collate "C" not null,
  id         text collate "C" not null,
  name       text collate "C" not null,
  version    bigint      not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint departments_pkey primary key (tenant_id, id)
);
comment on column departments.version is 'Version of stream department-<id>, which is the ETag.';
create index departments_by_name on departments (tenant_id, name, id);

alter table departments enable row level security;
alter table departments force  row level security;
create policy tenant_isolation on departments using (tenant_id = current_setting('app.tenant_id', true));
grant select on departments to archon_app, archon_reader;
grant select, insert, update, delete on departments to archon_worker;

create table department_names (
  tenant_id         text collate "C" not null,
  department_id     text collate "C" not null,
  version           bigint      not null,
  name              text collate "C" not null,
  recorded_position bigint      not null,
  created_at        timestamptz not null,
  constraint department_names_pkey primary key (tenant_id, department_id, version)
);
comment on column department_names.recorded_position is 'Position of the event: what a department was called at a time is its last name up to the position that was the head then.';

alter table department_names enable row level security;
alter table department_names force  row level security;
create policy tenant_isolation on department_names using (tenant_id = current_setting('app.tenant_id', true));
grant select on department_names to archon_app, archon_reader;
grant select, insert, update, delete on department_names to archon_worker;

-- +goose Down
drop table department_names;
drop table departments;
