-- Roles are cluster-wide, so they are made before the numbered migrations and every statement may run again.
-- archon_owner owns the schema; archon_app serves requests; archon_worker projects and runs jobs; archon_reader is for
-- people and dashboards. None bypasses row-level security. archon_app is NOINHERIT: it may SET ROLE archon_worker
-- (a node with one DATABASE_URL runs both parts) but has none of its rights until it does.
do $$
begin
  if not exists (select from pg_roles where rolname = 'archon_owner')  then create role archon_owner  nologin; end if;
  if not exists (select from pg_roles where rolname = 'archon_app')    then create role archon_app    nologin noinherit; end if;
  if not exists (select from pg_roles where rolname = 'archon_worker') then create role archon_worker nologin noinherit; end if;
  if not exists (select from pg_roles where rolname = 'archon_reader') then create role archon_reader nologin; end if;
  if not pg_has_role('archon_app', 'archon_worker', 'member') then
    grant archon_worker to archon_app;
  end if;
  if not pg_has_role(current_user, 'archon_owner', 'member') then
    execute format('grant archon_owner to %I', current_user);
  end if;
  execute format('grant create on database %I to archon_owner', current_database());
  -- `archon projections diff` folds the log into tables of its session.
  execute format('grant temporary on database %I to archon_worker', current_database());
end $$;
grant usage, create on schema public to archon_owner;
grant usage on schema public to archon_app, archon_worker, archon_reader;
