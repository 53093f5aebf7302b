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

-- +goose StatementBegin
create or replace function budget_zone(tenant text) returns text language sql stable as $$
  select coalesce((select time_zone from cost_settings where tenant_id = tenant), 'UTC')
$$;
-- +goose StatementEnd

-- Differences of calls that were priced again count in budgets, in the period in which the call began.
-- +goose StatementBegin
create or replace function budget_spend(tenant text, since timestamptz, until timestamptz, upto bigint, of_level text, of_subject text)
returns table (level text, subject_id text, spent_usd numeric)
language sql stable as $$
  with days as (
    select d.first_day, d.last_day,
      case when d.whole then d.first_day::timestamp at time zone 'UTC' else until end as head_until,
      case when d.whole then d.last_day::timestamp at time zone 'UTC' else until end as tail_since
    from (
      select first_day, last_day, upto is null and first_day < last_day as whole
      from (select ((since at time zone 'UTC') + interval '1 day' - interval '1 microsecond')::date as first_day, (until at time zone 'UTC')::date as last_day) e
    ) d
  ), parts as (
    select l.department_id, l.agent_id, l.key_id, l.cost_usd from days, cost_entries l
    where l.tenant_id = tenant and l.started_at >= since and l.started_at < days.head_until and (upto is null or l.recorded_position <= upto)
    union all
    select l.department_id, l.agent_id, l.key_id, l.cost_usd from days, cost_entries l
    where l.tenant_id = tenant and l.started_at >= days.tail_since and l.started_at < until and (upto is null or l.recorded_position <= upto)
  ), sums as (
    select case c.dimension when 'total' then 'tenant' else c.dimension end as level, case c.dimension when 'total' then tenant else c.key end as subject_id, c.spend_usd
    from days, cost_daily c
    where upto is null and c.tenant_id = tenant and c.day >= days.first_day and c.day < days.last_day
      and c.dimension = any (case when of_level is null then array['total', 'department', 'agent', 'key'] when of_level = 'tenant' then array['total'] else array[of_level] end)
      and (of_subject is null or of_level = 'tenant' or c.key = of_subject)
    union all
    select case when grouping(p.department_id) = 0 then 'department' when grouping(p.agent_id) = 0 then 'agent' when grouping(p.key_id) = 0 then 'key' else 'tenant' end,
      case when grouping(p.department_id, p.agent_id, p.key_id) = 7 then tenant else coalesce(p.department_id, p.agent_id, p.key_id::text) end, sum(p.cost_usd)
    from parts p
    group by grouping sets ((), (p.department_id), (p.agent_id), (p.key_id))
  )
  select s.level, s.subject_id, sum(s.spend_usd) from sums s
  where s.subject_id <> '' and s.spend_usd is not null and (of_level is null or s.level = of_level) and (of_subject is null or s.subject_id = of_subject)
  group by s.level, s.subject_id
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function budget_zone(tenant text) returns text language sql stable as $$ select 'UTC' $$;
-- +goose StatementEnd
drop table cost_settings;
