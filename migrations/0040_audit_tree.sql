-- +goose Up
-- The Merkle tree over each tenant's event hashes (RFC 6962), so that checkpoints and proofs need not read the log. Derived
-- from events: nothing here is trusted by a verifier. Written by the event store, read by every node.
--
-- A tile is 256 neighbouring hashes of level 8 * level of the tree, 32 bytes each; the last one of each level is shorter.
create table audit_tiles (
  tenant_id  text collate "C" not null,
  level      smallint    not null check (level between 0 and 7),
  index      bigint      not null check (index >= 0),
  hashes     bytea       not null check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
  created_at timestamptz not null default now(),
  constraint audit_tiles_pkey primary key (tenant_id, level, index)
);
-- Hashes don't compress; trying costs time at every append to a tile.
alter table audit_tiles alter column hashes set storage external;

-- How far the tree has grown, and how far it was signed: what the worker looks for work by.
create table audit_trees (
  tenant_id   text collate "C" primary key,
  size        bigint      not null default 0 check (size >= 0),
  signed_size bigint      not null default 0 check (signed_size >= 0),
  -- How far a signed checkpoint was pushed to the anchors, and where the event stands that says so, 0 where there is none.
  anchored_size    bigint not null default 0 check (anchored_size >= 0),
  receipt_position bigint not null default 0 check (receipt_position >= 0),
  refusal     text,
  created_at  timestamptz not null default now()
) with (fillfactor = 50);
comment on column audit_trees.refusal is 'Why the signer refuses to sign this tree: it contradicts what was signed before.';

-- Signed checkpoints. Copies for convenience: what counts is what was handed out, and the guard outside of this database.
create table audit_checkpoints (
  tenant_id  text collate "C" not null,
  size       bigint      not null check (size >= 0),
  origin     text        not null,
  note       text        not null,
  created_at timestamptz not null default now(),
  constraint audit_checkpoints_pkey primary key (tenant_id, size, origin)
);

alter table audit_tiles       enable row level security;
alter table audit_tiles       force  row level security;
alter table audit_trees       enable row level security;
alter table audit_trees       force  row level security;
alter table audit_checkpoints enable row level security;
alter table audit_checkpoints force  row level security;
create policy tenant_isolation on audit_tiles       using (tenant_id = current_setting('app.tenant_id', true));
create policy tenant_isolation on audit_trees       using (tenant_id = current_setting('app.tenant_id', true));
create policy tenant_isolation on audit_checkpoints using (tenant_id = current_setting('app.tenant_id', true));
create policy worker_control   on audit_trees for select to archon_worker using (true);

grant select, insert, update on audit_tiles, audit_trees to archon_app, archon_worker;
grant select, insert         on audit_checkpoints        to archon_app, archon_worker;

-- +goose Down
drop table audit_checkpoints;
drop table audit_trees;
drop table audit_tiles;
