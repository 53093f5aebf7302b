-- +goose Up
-- Work in the outside world that events ask for. A row is enqueued in the transaction that moves the checkpoint of the
-- projector that asks for it, under an id that derives from the event, so asking twice is one job. A job is taken by
-- lease: whoever set lock_token may settle it until locked_until; no transaction stays open while it is worked on.
-- payload and metadata hold ids and what else the handler can't look up, never a secret and no personal data.
create table jobs (
  tenant_id    text collate "C" not null,
  uuid         uuid        not null,
  id           bigint      not null generated always as identity,
  topic        text        not null,
  payload      bytea       not null,
  metadata     jsonb       not null default '{}',
  status       text        not null default 'pending' check (status in ('pending', 'done', 'failed', 'discarded')),
  attempts     integer     not null default 0,
  last_error   text,
  run_after    timestamptz not null default now(),
  locked_until timestamptz,
  lock_token   uuid,
  created_at   timestamptz not null default now(),
  finished_at  timestamptz,
  constraint jobs_pkey primary key (tenant_id, uuid, topic),
  constraint jobs_finished check ((status = 'pending') = (finished_at is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
comment on column jobs.id is 'The order in which jobs were enqueued; jobs that are due at once are taken in it.';
-- What is taken next; small, since finished jobs are not in it.
create index jobs_pending  on jobs (topic, run_after, id) where status = 'pending';
-- The list of a tenant, newest first, and what the sweep removes.
create index jobs_listed   on jobs (tenant_id, status, id desc);
create index jobs_finished on jobs (finished_at) where status in ('done', 'discarded');

alter table jobs enable row level security;
alter table jobs force  row level security;
create policy tenant_isolation on jobs using (tenant_id = current_setting('app.tenant_id', true));
create policy worker_control   on jobs to archon_worker using (true) with check (true);
grant select on jobs to archon_app;
grant update (status, attempts, run_after, locked_until, lock_token, finished_at) on jobs to archon_app;
grant select, insert, update, delete on jobs to archon_worker;

-- +goose Down
drop table jobs;
