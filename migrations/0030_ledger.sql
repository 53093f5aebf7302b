-- +goose Up
-- The ledger: a row for each call that consumed something or succeeded, and what the calls of each day come to. Built by
-- projections/ledger.go from usage.recorded events.
--
-- The primary key names the position of the event, so that a row is an event, whatever the call's id is.
create table token_ledger (
  tenant_id          text collate "C" not null,
  started_at         timestamptz not null,
  recorded_position  bigint      not null,
  id                 uuid        not null,
  kind               text        not null,
  outcome            text        not null,
  execution_id       text,
  agent_id           text,
  provider_id        uuid,
  provider_type      text        not null,
  model              text collate "C" not null,
  key_id             uuid,
  user_id            text        not null,
  department_id      text,
  prompt_tokens      bigint      not null,
  completion_tokens  bigint      not null,
  total_tokens       bigint      not null,
  cached_tokens      bigint      not null,
  cache_write_tokens bigint      not null,
  reasoning_tokens   bigint      not null,
  priced             boolean     not null,
  price              jsonb,
  cost_usd           numeric(20, 10),
  given_up           jsonb,
  occurred_at        timestamptz not null,
  created_at         timestamptz not null,
  constraint token_ledger_pkey primary key (tenant_id, started_at, recorded_position),
  constraint token_ledger_priced check (not priced or cost_usd is not null),
  constraint token_ledger_total  check (total_tokens = prompt_tokens + completion_tokens)
) partition by range (started_at);
comment on column token_ledger.id is 'The call''s id.';
comment on column token_ledger.started_at is 'When the call began, which decides on its day and on its price.';
comment on column token_ledger.recorded_position is 'Position of the event: what was known at a time are the rows up to the position that was the head then.';
comment on column token_ledger.prompt_tokens is 'Everything that went in; cached_tokens (read from a cache) and cache_write_tokens (written to one) are disjoint parts of it.';
comment on column token_ledger.completion_tokens is 'Everything that came out; reasoning_tokens are a part of it.';
comment on column token_ledger.provider_id is 'Who answered, or was tried last; provider_type and model likewise.';
comment on column token_ledger.cost_usd is 'What all attempts have cost, as far as that is known; null where nothing is, which is not 0.';
comment on column token_ledger.priced is 'Whether what every attempt has cost is known.';
comment on column token_ledger.price is 'The price that was used for the attempt that answered.';
comment on column token_ledger.given_up is 'What attempts consumed and cost that ended without an answer, a list with the fields of this table; null in nearly all rows. Tokens and cost of the row hold it.';
comment on column token_ledger.created_at is 'When the call was recorded, like occurred_at.';

-- A row on its way to the table, which it shares its names with; price_no counts from 1 in a list beside the rows.
create type ledger_row as (
  started_at         timestamptz,
  recorded_position  bigint,
  id                 uuid,
  kind               text,
  outcome            text,
  execution_id       text,
  agent_id           text,
  provider_id        uuid,
  provider_type      text,
  model              text,
  key_id             uuid,
  user_id            text,
  department_id      text,
  prompt_tokens      bigint,
  completion_tokens  bigint,
  cached_tokens      bigint,
  cache_write_tokens bigint,
  reasoning_tokens   bigint,
  price_no           bigint,
  priced             boolean,
  cost_usd           numeric,
  given_up           text,
  recorded_at        timestamptz
);

alter table token_ledger enable row level security;
alter table token_ledger force  row level security;
create policy tenant_isolation on token_ledger using (tenant_id = current_setting('app.tenant_id', true));
grant select on token_ledger to archon_app, archon_reader;
grant select, insert, update, delete on token_ledger to archon_worker;

-- Rows of months without a partition of their own: nothing is ever refused for its date.
create table token_ledger_other partition of token_ledger default;
alter table token_ledger_other enable row level security;
alter table token_ledger_other force  row level security;
create policy tenant_isolation on token_ledger_other using (tenant_id = current_setting('app.tenant_id', true));

-- ledger_months makes the partitions that are missing between two days, a month (UTC) each, and returns how many it made.
-- It is the owner's, since the runtime roles make no tables; the worker may call it, and does so for the months to come.
-- A month of which token_ledger_other has rows already stays there, which is slower and no less right.
-- +goose StatementBegin
create function ledger_months(first date, last date) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
  month date := date_trunc('month', first::timestamp);
  name  text;
  made  integer := 0;
begin
  if last > first + 3660 then
    raise exception 'ledger_months makes ten years of partitions at most';
  end if;
  perform pg_advisory_xact_lock(hashtext('ledger_months'));
  while month <= last loop
    name := 'token_ledger_' || to_char(month, 'YYYY_MM');
    if to_regclass(name) is null then
      begin
        execute format('create table %I partition of token_ledger for values from (%L) to (%L)', name,
          month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy tenant_isolation on %I using (tenant_id = current_setting(''app.tenant_id'', true))', name);
        made := made + 1;
      exception when check_violation then
        null;
      end;
    end if;
    month := (month + interval '1 month')::date;
  end loop;
  return made;
end $$;
-- +goose StatementEnd
revoke all on function ledger_months(date, date) from public;
grant execute on function ledger_months(date, date) to archon_worker;
select ledger_months('2025-01-01', '2027-12-31');

-- What the calls that began on a day (UTC) come to, by one dimension at a time: total (one row with an empty key),
-- provider, model, department, agent, user and key; the key is empty where a call has no such thing. A call is counted once in
-- every dimension, where it was answered. What it consumed and cost is split between the providers and models of its
-- attempts, so that their rows can be held against invoices. So each dimension adds up to the total, and a dashboard reads
-- some hundred rows, not a million.
create table cost_daily (
  tenant_id         text collate "C" not null,
  dimension         text collate "C" not null,
  day               date        not null,
  key               text collate "C" not null,
  spend_usd         numeric(24, 10) not null,
  prompt_tokens     bigint      not null,
  completion_tokens bigint      not null,
  requests          bigint      not null,
  unpriced          bigint      not null,
  executions        bigint      not null default 0,
  first_position    bigint      not null,
  last_position     bigint      not null,
  created_at        timestamptz not null,
  constraint cost_daily_pkey primary key (tenant_id, dimension, day, key),
  constraint cost_daily_dimension check (dimension in ('total', 'provider', 'model', 'department', 'agent', 'user', 'key'))
) with (fillfactor = 70);
comment on column cost_daily.unpriced is 'Attempts that consumed something and whose model had no price; spend_usd lacks them.';
comment on column cost_daily.first_position is 'Position of the first event that is in the row, last_position that of the last one: a row is what was known at a position from its last_position on.';
comment on column cost_daily.executions is 'Executions of the agent whose first recorded call began on that day; other dimensions have none.';

alter table cost_daily enable row level security;
alter table cost_daily force  row level security;
create policy tenant_isolation on cost_daily using (tenant_id = current_setting('app.tenant_id', true));
grant select on cost_daily to archon_app, archon_reader;
grant select, insert, update, delete on cost_daily to archon_worker;

-- The executions of agents that have called, by which cost_daily counts each of them once.
create table cost_executions (
  tenant_id      text collate "C" not null,
  agent_id       text collate "C" not null,
  execution_id   text collate "C" not null,
  day            date        not null,
  first_position bigint      not null,
  created_at     timestamptz not null,
  constraint cost_executions_pkey primary key (tenant_id, agent_id, execution_id)
);
-- What was known at a position counts the executions of the day in which that lies.
create index cost_executions_day on cost_executions (tenant_id, day);
comment on column cost_executions.first_position is 'Position of the execution''s first recorded call; day is when that began.';

alter table cost_executions enable row level security;
alter table cost_executions force  row level security;
create policy tenant_isolation on cost_executions using (tenant_id = current_setting('app.tenant_id', true));
grant select on cost_executions to archon_app, archon_reader;
grant select, insert, update, delete on cost_executions to archon_worker;

-- +goose Down
drop table cost_executions;
drop table cost_daily;
drop function ledger_months(date, date);
drop table token_ledger;
drop type ledger_row;
