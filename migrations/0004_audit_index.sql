-- +goose Up
-- What the audit list is searched by. The entries themselves are read from events, so that filters don't scan the log and
-- appends don't carry these indexes. Built by projections/audit.go.
create table audit_index (
  tenant_id      text collate "C" not null,
  position       bigint      not null,
  event_id       uuid        not null,
  occurred_at    timestamptz not null,
  actor          text        not null,
  actor_type     text        not null,
  action         text        not null,
  event_type     text collate "C" not null,
  stream         text collate "C" not null,
  resource_type  text,
  resource_id    text,
  correlation_id text,
  causation_id   text,
  outcome        text        not null check (outcome in ('succeeded', 'rejected')),
  status_code    integer,
  telemetry      boolean     not null,
  search         text        not null,
  created_at     timestamptz not null,
  constraint audit_index_pkey primary key (tenant_id, position)
);
comment on column audit_index.action is 'METHOD path-template of the request, or the event''s type where no request caused it.';
comment on column audit_index.search is 'Lower-cased type, action, stream, actor and strings of the data, at most 4 KiB.';
-- Lists leave telemetry out unless it is asked for, and it is most of a busy tenant's log: so it is only in the indexes
-- by position and by resource, which telemetry is asked for by.
create index audit_index_listed      on audit_index (tenant_id, position desc) where not telemetry;
create index audit_index_actor       on audit_index (tenant_id, actor, position desc) where not telemetry;
create index audit_index_action      on audit_index (tenant_id, action, position desc) where not telemetry;
create index audit_index_type        on audit_index (tenant_id, event_type, position desc) where not telemetry;
create index audit_index_noun        on audit_index (tenant_id, resource_type, position desc) where not telemetry;
create index audit_index_resource    on audit_index (tenant_id, resource_id, position desc) where resource_id is not null;
create index audit_index_correlation on audit_index (tenant_id, correlation_id, position desc) where correlation_id is not null and not telemetry;
create index audit_index_outcome     on audit_index (tenant_id, outcome, position desc) where not telemetry;
create index audit_index_occurred    on audit_index (tenant_id, occurred_at desc, position desc) where not telemetry;

alter table audit_index enable row level security;
alter table audit_index force  row level security;
create policy tenant_isolation on audit_index using (tenant_id = current_setting('app.tenant_id', true));
grant select on audit_index to archon_app, archon_reader;
grant select, insert, update, delete on audit_index to archon_worker;

-- +goose Down
drop table audit_index;
