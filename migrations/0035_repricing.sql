-- +goose Up
-- What calls cost after they were priced again. Built by projections/ledger_repriced.go from costs.call_repriced events.
--
-- A row of the ledger keeps what was recorded; beside it stands what is known now.
alter table token_ledger
  add column corrected_cost_usd numeric(20, 10),
  add column corrected_priced   boolean,
  add column corrected_price    jsonb,
  add column corrected_position bigint;
comment on column token_ledger.corrected_cost_usd is 'What the call costs after it was priced again, as far as that is known; null where it never was, and cost_usd holds.';
comment on column token_ledger.corrected_priced is 'Whether that is all of it.';
comment on column token_ledger.corrected_price is 'The price that the attempt that answered was priced by then.';
comment on column token_ledger.corrected_position is 'Position of the event that said so last.';

alter table cost_daily add column adjusted_usd numeric(24, 10) not null default 0;
comment on column cost_daily.adjusted_usd is 'How much of spend_usd was booked because calls were priced again; spend_usd less this is what was recorded.';

-- Every difference that was booked, a row for each attempt of the call that is part of it: what is known as of a position is the ledger's
-- rows and these, both up to that position.
create table cost_adjustments (
  tenant_id         text collate "C" not null,
  call_position     bigint      not null,
  recorded_position bigint      not null,
  part              integer     not null,
  call_id           uuid        not null,
  started_at        timestamptz not null,
  repricing_id      uuid        not null,
  provider_id       uuid,
  model             text collate "C" not null,
  key_id            uuid,
  user_id           text        not null,
  department_id     text,
  agent_id          text,
  difference_usd    numeric(24, 10) not null,
  newly_priced      boolean     not null,
  old_cost_usd      numeric(20, 10) not null,
  new_cost_usd      numeric(20, 10) not null,
  occurred_at       timestamptz not null,
  created_at        timestamptz not null,
  constraint cost_adjustments_pkey primary key (tenant_id, call_position, recorded_position, part)
);
comment on column cost_adjustments.call_position is 'The call''s recorded_position in token_ledger.';
comment on column cost_adjustments.recorded_position is 'Position of the event that booked the difference.';
comment on column cost_adjustments.part is 'Counts the attempts of the call that consumed something, from 0; the provider and the model are the attempt''s.';
comment on column cost_adjustments.difference_usd is 'What the attempt costs more than was booked for it; below zero where it is less.';
comment on column cost_adjustments.newly_priced is 'Whether the attempt had no price until then.';
comment on column cost_adjustments.old_cost_usd is 'What was known of the whole call''s cost; new_cost_usd what is. Both are the same in all parts of a difference.';
-- The days that a difference belongs to, for sums as of a position.
create index cost_adjustments_started on cost_adjustments (tenant_id, started_at);

alter table cost_adjustments enable row level security;
alter table cost_adjustments force  row level security;
create policy tenant_isolation on cost_adjustments using (tenant_id = current_setting('app.tenant_id', true));
grant select on cost_adjustments to archon_app, archon_reader;
grant select, insert, update, delete on cost_adjustments to archon_worker;

-- Every amount that counts, a row each: what was recorded of a call, and each difference that was booked for it since. What a span of
-- time cost as of a position is the sum of the rows up to that position, whoever asks; what it cost is the sum of all.
create view cost_entries with (security_invoker = true) as
  select tenant_id, started_at, recorded_position, department_id, agent_id, user_id, key_id, cost_usd from token_ledger where cost_usd is not null
  union all
  select tenant_id, started_at, recorded_position, department_id, agent_id, user_id, key_id, difference_usd from cost_adjustments;
comment on view cost_entries is 'What was recorded of calls, and the differences that were booked because they were priced again.';
grant select on cost_entries to archon_app, archon_worker, archon_reader;

-- What the differences of a day's calls come to, by the day on which they were booked: what a closed month shows apart.
create table cost_adjusted_days (
  tenant_id  text collate "C" not null,
  day        date        not null,
  booked_on  date        not null,
  spend_usd  numeric(24, 10) not null,
  count      bigint      not null,
  created_at timestamptz not null,
  constraint cost_adjusted_days_pkey primary key (tenant_id, day, booked_on)
) with (fillfactor = 70);
comment on column cost_adjusted_days.day is 'The day (UTC) on which the calls began.';
comment on column cost_adjusted_days.count is 'How many differences; a call that was priced again twice has two.';

alter table cost_adjusted_days enable row level security;
alter table cost_adjusted_days force  row level security;
create policy tenant_isolation on cost_adjusted_days using (tenant_id = current_setting('app.tenant_id', true));
grant select on cost_adjusted_days to archon_app, archon_reader;
grant select, insert, update, delete on cost_adjusted_days to archon_worker;

-- +goose Down
drop table cost_adjusted_days;
drop view cost_entries;
drop table cost_adjustments;
alter table cost_daily drop column adjusted_usd;
alter table token_ledger drop column corrected_cost_usd, drop column corrected_priced, drop column corrected_price, drop column corrected_position;
