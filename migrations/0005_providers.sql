-- +goose Up
create table model_providers (
  tenant_id        text collate "C" not null,
  id               uuid        not null,
  name             text collate "C" not null,
  type             text        not null,
  base_url         text        not null,
  vault_path       text        not null,
  secret_version   integer     not null,
  is_enabled       boolean     not null,
  rate_limit_rpm   bigint,
  rate_limit_tpm   bigint,
  supported_models jsonb       not null,
  capabilities     jsonb       not null,
  custom_headers   jsonb       not null,
  health_status    text        not null default 'unknown' check (health_status in ('healthy', 'degraded', 'unhealthy', 'unknown')),
  version          bigint      not null,
  deleted_at       timestamptz,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  constraint model_providers_pkey primary key (tenant_id, id)
) with (fillfactor = 50);
comment on column model_providers.custom_headers is 'Names only: the values are in the secret store.';
comment on column model_providers.version is 'Version of stream provider-<id>, which is the ETag.';
create index model_providers_by_name on model_providers (tenant_id, name, id) where deleted_at is null;

-- What the probes of a provider have come to.
create table provider_health (
  tenant_id     text collate "C" not null,
  provider_id   uuid        not null,
  ok            boolean     not null,
  failures      integer     not null,
  latency_ms    bigint      not null,
  models_found  integer     not null,
  error         text        not null,
  last_check_at timestamptz not null,
  created_at    timestamptz not null,
  constraint provider_health_pkey primary key (tenant_id, provider_id)
) with (fillfactor = 50);

-- A probe each, and the calls of a minute each. The last three columns are what minutes add up by.
create table provider_health_history (
  tenant_id      text collate "C" not null,
  id             uuid        not null,
  provider_id    uuid        not null,
  latency_ms     double precision,
  error_rate_pct double precision,
  requests_count bigint      not null,
  status         text        not null check (status in ('healthy', 'degraded', 'unhealthy', 'unknown')),
  recorded_at    timestamptz not null,
  created_at     timestamptz not null,
  errors_count   bigint      not null default 0,
  timed_count    bigint      not null default 0,
  timed_total_ms bigint      not null default 0,
  constraint provider_health_history_pkey primary key (tenant_id, provider_id, recorded_at, id)
) with (fillfactor = 90);
comment on table provider_health_history is 'A row a recorded probe (requests_count 0), at its time, and a row for the calls of each minute, at its start; latency_ms is their mean.';

-- Calls in slots of 10 s for an hour, 1 min for a day, 10 min for a week. A row is a block of six slots side by side, so
-- that there are few rows. A slot's latency is its histogram as one number (domain/providers/calls.go): numbers of this
-- kind add up bucket by bucket, with + and sum().
create table provider_health_slots (
  tenant_id   text collate "C" not null,
  provider_id uuid        not null,
  seconds     integer     not null check (seconds in (10, 60, 600)),
  block_start timestamptz not null,
  requests    bigint[]    not null check (cardinality(requests) = 6),
  errors      bigint[]    not null check (cardinality(errors) = 6),
  latency     numeric[]   not null check (cardinality(latency) = 6),
  created_at  timestamptz not null,
  constraint provider_health_slots_pkey primary key (tenant_id, provider_id, seconds, block_start)
) with (fillfactor = 70);
comment on column provider_health_slots.seconds is 'Width of a slot; the block is six times as wide.';

-- Both are expressions that the planner puts in place of the call.
create function slots_add(a bigint[], b bigint[]) returns bigint[] language sql immutable parallel safe as
  'select array[a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6]]';
create function slots_add(a numeric[], b numeric[]) returns numeric[] language sql immutable parallel safe as
  'select array[a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6]]';

-- +goose StatementBegin
-- The same rule as domain/providers.StatusOf; a test holds the two against each other.
create function provider_health_status(ok boolean, failures integer, requests bigint, errors bigint) returns text
  language sql immutable parallel safe as $$
  select case
    when failures >= 3 then 'unhealthy'
    when requests >= 20 and errors * 100 > requests * 50 then 'unhealthy'
    when requests >= 20 and errors * 100 > requests * 5 then 'degraded'
    when requests >= 20 then 'healthy'
    when ok is null then 'unknown'
    when ok then 'healthy'
    else 'unhealthy'
  end
$$;
-- +goose StatementEnd

-- When each provider is due for a probe. Written by a reaction and by the prober, on whichever node; not a projection: it
-- says what is to be done, not what was.
create table provider_probes (
  tenant_id   text collate "C" not null,
  provider_id uuid        not null,
  due_at      timestamptz not null,
  created_at  timestamptz not null default now(),
  constraint provider_probes_pkey primary key (tenant_id, provider_id)
) with (fillfactor = 50);
create index provider_probes_due on provider_probes (due_at);

-- +goose StatementBegin
do $$
declare t text;
begin
  foreach t in array array['model_providers', 'provider_health', 'provider_health_history', 'provider_health_slots', 'provider_probes'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy tenant_isolation on %I using (tenant_id = current_setting(''app.tenant_id'', true))', t);
    execute format('grant select on %I to archon_app', t);
    execute format('grant select, insert, update, delete on %I to archon_worker', t);
    if t <> 'provider_probes' then
      execute format('grant select on %I to archon_reader', t);
    end if;
  end loop;
end $$;
-- +goose StatementEnd
create policy worker_control on provider_probes to archon_worker using (true) with check (true);

-- +goose Down
drop table provider_probes;
drop table provider_health_slots;
drop table provider_health_history;
drop table provider_health;
drop table model_providers;
drop function provider_health_status;
drop function slots_add(numeric[], numeric[]);
drop function slots_add(bigint[], bigint[]);
