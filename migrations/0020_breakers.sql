-- +goose Up
-- What the circuit breaker of each provider last changed to. Built by projections/breakers.go; the breaker itself is in
-- Redis.
create table provider_breakers (
  tenant_id     text collate "C" not null,
  provider_id   uuid        not null,
  state         text        not null check (state in ('closed', 'open', 'half_open')),
  blocked       text        check (blocked in ('rate_limited', 'dead')),
  until         timestamptz,
  failure_count integer     not null,
  opened_at     timestamptz,
  generation    bigint      not null,
  changed_at    timestamptz not null,
  created_at    timestamptz not null,
  constraint provider_breakers_pkey primary key (tenant_id, provider_id)
) with (fillfactor = 50);
comment on column provider_breakers.until is 'End of the cooldown, of the rate limit, or of the rest of a dead credential: what has ended is not an event.';

alter table provider_breakers enable row level security;
alter table provider_breakers force  row level security;
create policy tenant_isolation on provider_breakers using (tenant_id = current_setting('app.tenant_id', true));
grant select on provider_breakers to archon_app, archon_reader;
grant select, insert, update, delete on provider_breakers to archon_worker;

-- +goose Down
drop table provider_breakers;
