-- +goose Up
-- What each API key has spent. Built by projections/key_spend.go; a budget's counter in Redis is rebuilt from it.
create table api_key_spend (
  tenant_id    text collate "C" not null,
  key_id       uuid        not null,
  spent_usd    numeric(20, 10) not null,
  calls        bigint      not null,
  last_used_at timestamptz not null,
  created_at   timestamptz not null,
  constraint api_key_spend_pkey primary key (tenant_id, key_id)
) with (fillfactor = 50);

alter table api_key_spend enable row level security;
alter table api_key_spend force  row level security;
create policy tenant_isolation on api_key_spend using (tenant_id = current_setting('app.tenant_id', true));
grant select on api_key_spend to archon_app, archon_reader;
grant select, insert, update, delete on api_key_spend to archon_worker;

-- +goose Down
drop table api_key_spend;
