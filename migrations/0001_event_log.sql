-- +goose Up
-- The log. meta and data are the exact bytes that were hashed, so they are bytea: jsonb would rewrite them.
-- Collation "C" keeps index comparisons cheap and the order the same on every machine.
create table events (
  tenant_id   text collate "C" not null,
  stream      text collate "C" not null,
  type        text collate "C" not null,
  position    bigint           not null,
  version     bigint           not null,
  event_id    uuid             not null,
  command_id  uuid             not null,
  occurred_at timestamptz      not null,
  meta        bytea            not null,
  data        bytea            not null,
  prev_hash   bytea            not null,
  hash        bytea            not null,
  constraint events_position_key primary key (tenant_id, position),
  constraint events_version_key  unique (tenant_id, stream, version)
);
comment on table events is 'Hash-chained, append-only log. Bytes are specified in docs/audit-format.md.';

-- A head row names the last position of a tenant''s chain and its hash. Every append takes it, which is what makes
-- positions gapless and in commit order. fillfactor leaves room for HOT updates of this one hot row.
create table chain_heads (
  tenant_id   text collate "C" primary key,
  position    bigint      not null check (position >= 0),
  hash        bytea       not null check (octet_length(hash) = 32),
  occurred_at timestamptz not null,
  created_at  timestamptz not null default now()
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Commands that may come twice: the client''s Idempotency-Key, or an id that a job derived. Written with the events.
create table commands (
  tenant_id      text collate "C" not null,
  command_id     uuid        not null,
  first_position bigint      not null,
  last_position  bigint      not null,
  fingerprint    bytea       not null,
  answer         bytea       not null,
  created_at     timestamptz not null default now(),
  expires_at     timestamptz not null,
  constraint commands_pkey primary key (tenant_id, command_id)
);
create index commands_expiry on commands (expires_at);

-- +goose StatementBegin
create function events_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'events is append-only: % is refused', tg_op
    using errcode = 'integrity_constraint_violation',
          hint = 'The log is the audit trail. To correct something, append an event that says so.';
end $$;
-- +goose StatementEnd
create trigger events_append_only before update or delete or truncate on events
  for each statement execute function events_append_only();

-- Row-level security: without app.tenant_id set, a query returns nothing.
alter table events      enable row level security;
alter table events      force  row level security;
alter table chain_heads enable row level security;
alter table chain_heads force  row level security;
alter table commands    enable row level security;
alter table commands    force  row level security;
create policy tenant_isolation on events      using (tenant_id = current_setting('app.tenant_id', true));
create policy tenant_isolation on chain_heads using (tenant_id = current_setting('app.tenant_id', true));
create policy tenant_isolation on commands    using (tenant_id = current_setting('app.tenant_id', true));
-- The worker finds work across tenants by the heads, and sweeps expired commands; neither holds domain data it reads.
create policy worker_control on chain_heads for select to archon_worker using (true);
create policy worker_control on commands    for delete to archon_worker using (expires_at < now());
create policy worker_sweep   on commands    for select to archon_worker using (expires_at < now());

grant select, insert                 on events      to archon_app, archon_worker;
grant select, insert, update         on chain_heads to archon_app, archon_worker;
grant select, insert, update         on commands    to archon_app, archon_worker;
grant delete                         on commands    to archon_worker;
grant select                         on goose_db_version to archon_app, archon_worker, archon_reader;

-- +goose Down
drop table commands;
drop table chain_heads;
drop table events;
drop function events_append_only();
