-- +goose Up
-- A rebuild fills tables of its own, beside those that serve, and a tenant's rows are swapped when it is done. The tables
-- have the same names in a schema of their own, so that a projector's statements fill them where the search path begins
-- with it. The checkpoint of a rebuild is a row of projection_checkpoints whose projection is rebuild/<name>.
create schema rebuild;
grant usage on schema rebuild to archon_worker;

-- rebuild_table makes the table that a rebuild of a read table fills. A migration that makes a read table calls it; one that
-- changes a read table changes both. Nobody searches such a table, so that it has no indexes but the unique ones, which
-- statements refer to. A partitioned table's is not partitioned.
-- +goose StatementBegin
create function rebuild_table(name text) returns void language plpgsql as $$
declare
  definition text;
begin
  execute format('create table rebuild.%1$I (like public.%1$I including all excluding indexes)', name);
  for definition in select pg_get_constraintdef(oid) from pg_constraint
      where conrelid = format('public.%I', name)::regclass and contype in ('p', 'u') loop
    execute format('alter table rebuild.%I add %s', name, definition);
  end loop;
  execute format('alter table rebuild.%I enable row level security', name);
  execute format('alter table rebuild.%I force row level security', name);
  execute format('create policy tenant_isolation on rebuild.%I using (tenant_id = current_setting(''app.tenant_id'', true))', name);
  execute format('grant select, insert, update, delete on rebuild.%I to archon_worker', name);
end $$;
-- +goose StatementEnd
revoke all on function rebuild_table(text) from public;

select rebuild_table(name) from unnest(array[
  'model_providers', 'provider_health', 'provider_health_history', 'provider_health_slots', 'provider_breakers',
  'routing_rulesets', 'routing_rules', 'fallback_chains', 'api_keys', 'api_key_spend', 'price_overrides', 'alerts', 'audit_index',
  'token_ledger', 'cost_daily', 'cost_executions', 'cost_adjustments', 'cost_adjusted_days', 'cost_settings', 'budgets',
  'departments', 'department_names'
]) as t(name);

-- What is being rebuilt; a handful of rows.
create index projection_checkpoints_rebuilds on projection_checkpoints (projection, tenant_id) where projection like 'rebuild/%';

-- +goose Down
drop index projection_checkpoints_rebuilds;
drop function rebuild_table(text);
drop schema rebuild cascade;
