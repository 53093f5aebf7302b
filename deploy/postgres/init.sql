-- Runs once, when the data folder of the compose file's PostgreSQL is made. `archon migrate` does the rest: it makes the
-- roles that are missing, keeps those that exist, and grants what they need.
--
-- The one thing it cannot know is a password. archon_app is the role with which Archon logs in; NOINHERIT, so that it has
-- none of the worker's rights before it says SET ROLE. The password is public: this database is for one machine.
create role archon_app login noinherit password 'local-only';

create extension if not exists vector;
