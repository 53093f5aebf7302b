-- +goose Up
-- How far each projector is for each tenant: position and the hash at that position. version is part of the key so that
-- a rebuild can fill a new generation beside the one that serves. The move is compare-and-set on (position, hash).
-- A row with status 'live' and an error is one that a node had to leave to a newer one: error_type names the event type
-- that it does not know.
create table projection_checkpoints (
  tenant_id      text collate "C" not null,
  projection     text        not null,
  version        integer     not null check (version > 0),
  position       bigint      not null check (position >= 0),
  hash           bytea       not null check (octet_length(hash) = 32),
  status         text        not null default 'live' check (status in ('live', 'rebuilding', 'stalled', 'paused')),
  error          text,
  error_position bigint,
  error_type     text,
  -- Events projected since rate_since; rate is that of the window before it, in events per second.
  rate_events    bigint           not null default 0,
  rate_since     timestamptz      not null default now(),
  rate           double precision not null default 0,
  served_at      timestamptz not null default now(),
  created_at     timestamptz not null default now(),
  constraint projection_checkpoints_pkey primary key (tenant_id, projection, version)
) with (fillfactor = 50);
alter table projection_checkpoints enable row level security;
alter table projection_checkpoints force  row level security;
create policy tenant_isolation on projection_checkpoints using (tenant_id = current_setting('app.tenant_id', true));
create policy worker_control   on projection_checkpoints to archon_worker using (true) with check (true);
grant select on projection_checkpoints to archon_app;
grant select, insert, update, delete on projection_checkpoints to archon_worker;

-- +goose Down
drop table projection_checkpoints;
