-- +goose Up
-- budget_spend says, in 10⁻¹⁰ USD and exactly, what the calls that began from one moment until before another have cost: a row for the
-- tenant, and one for each department, agent and key that has any; for one level or subject where they are named. It is the
-- one place that says what counts in a budget. Whole days (UTC) come from cost_daily, and what a zone's periods have besides them from
-- the ledger and the differences that were booked beside it, in the period in which the call began. With a position it is what was recorded
-- up to it, which these alone can tell.
-- +goose StatementBegin
create function budget_spend(tenant text, since timestamptz, until timestamptz, upto bigint, of_level text, of_subject text)
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

-- budget_zone is the time zone whose calendar a tenant's periods are of.
-- +goose StatementBegin
create function budget_zone(tenant text) returns text language sql stable as $$
  select coalesce((select time_zone from cost_settings where tenant_id = tenant), 'UTC')
$$;
-- +goose StatementEnd

-- budget_window is the month or the quarter that a moment is in.
-- +goose StatementBegin
create function budget_window(period text, zone text, at timestamptz, out period_start timestamptz, out period_end timestamptz)
language sql stable as $$
  select first, (first at time zone zone + case period when 'quarterly' then interval '3 months' else interval '1 month' end) at time zone zone
  from (select date_trunc(case period when 'quarterly' then 'quarter' else 'month' end, at, zone) as first) f
$$;
-- +goose StatementEnd

-- What the contract has for others to read: every budget that holds, with its present period and what has been spent in it.
create view department_budgets with (security_invoker = true) as
  select b.tenant_id, b.id, b.level, b.subject_id, case b.level when 'department' then b.subject_id end as department_id, b.department, b.budget_usd, b.period,
    b.warn_threshold_pct, b.block_threshold_pct, coalesce(s.spent_usd, 0)::numeric(30, 10) as current_spend_usd, w.period_start, w.period_end, b.created_at, b.updated_at
  from budgets b
  cross join lateral budget_window(b.period, budget_zone(b.tenant_id), now()) w
  left join lateral budget_spend(b.tenant_id, w.period_start, w.period_end, null, b.level, b.subject_id) s on true
  where b.removed_at is null;
grant select on department_budgets to archon_app, archon_reader, archon_worker;

-- +goose Down
drop view department_budgets;
drop function budget_window(text, text, timestamptz);
drop function budget_zone(text);
drop function budget_spend(text, timestamptz, timestamptz, bigint, text, text);
