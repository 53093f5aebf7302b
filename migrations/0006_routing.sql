-- +goose Up
-- A row a tenant that has ever set rules; the rules are in routing_rules.
create table routing_rulesets (
  tenant_id        text collate "C" not null,
  version          bigint      not null,
  default_rule     jsonb,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  constraint routing_rulesets_pkey primary key (tenant_id)
);
comment on column routing_rulesets.version is 'Version of stream ruleset-<id>, which is the ETag.';

create table routing_rules (
  tenant_id  text collate "C" not null,
  id         text collate "C" not null check (length(id) between 1 and 64),
  place      integer     not null check (place >= 0),
  name       text        not null,
  priority   bigint      not null,
  conditions jsonb       not null,
  action     jsonb       not null,
  is_enabled boolean     not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint routing_rules_pkey primary key (tenant_id, id)
);
comment on column routing_rules.place is 'Index in the list as it was sent; among rules of equal priority the lower one is tried first.';

create table fallback_chains (
  tenant_id              text collate "C" not null,
  id                     uuid        not null,
  chain                  jsonb       not null,
  circuit_breaker_config jsonb       not null,
  failover_triggers      jsonb       not null,
  version                bigint      not null,
  created_at             timestamptz not null,
  updated_at             timestamptz not null,
  constraint fallback_chains_pkey primary key (tenant_id)
);
comment on column fallback_chains.version is 'Version of stream fallback-<id>, which is the ETag.';

-- +goose StatementBegin
do $$
declare t text;
begin
  foreach t in array array['routing_rulesets', 'routing_rules', 'fallback_chains'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy tenant_isolation on %I using (tenant_id = current_setting(''app.tenant_id'', true))', t);
    execute format('grant select on %I to archon_app, archon_reader', t);
    execute format('grant select, insert, update, delete on %I to archon_worker', t);
  end loop;
end $$;
-- +goose StatementEnd

-- +goose Down
drop table fallback_chains;
drop table routing_rules;
drop table routing_rulesets;
