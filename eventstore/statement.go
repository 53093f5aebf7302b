package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// setTenant makes row-level security see the tenant until the end of the transaction. It goes in the same pipeline as the
// statement it is for, which shares one implicit transaction with it.
const setTenant = `select set_config('app.tenant_id', $1, true)`

// setAppend is setTenant for the append statement, which is planned once a connection instead of for each batch: planning
// it takes as long as a small batch takes to run. Such a plan must not have been made of the sizes that the tables had at the
// time, so everything but the indexes is out of bounds. (A limit, as in known, keeps a
// lookup from becoming a join, which could read all of a tenant's rows for it.)
const setAppend = `select set_config('app.tenant_id', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true),
  set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
  set_config('jit', 'off', true)`

// appendStatement is one batch: find the stale expectations and the known commands, move the head by compare-and-set only
// where there is none, insert only where the head moved, and report. All parts see one snapshot; the head row's lock makes
// the second half sound in READ COMMITTED: had anybody committed to the tenant since the head was learned, the
// compare-and-set would not match.
//
// Memorize does not take the head, so a command may become known after this statement's snapshot. Its live row must not be
// written over, and the events must not stand beside it: the fingerprint becomes null then, which the table refuses, and
// the whole statement with it ([raced]).
const appendStatement = `
with stale as (
  select e.index, e.actual from (
    select x.index, x.expected, coalesce((
      select v.version from events v where v.tenant_id = $1 and v.stream = x.stream order by v.version desc limit 1), 0) as actual
    from unnest($7::text[], $8::bigint[]) with ordinality as x(stream, expected, index)) e
  where e.actual <> e.expected
), known as (
  select x.index, c.first_position, c.last_position, c.fingerprint, c.answer
  from unnest($9::uuid[]) with ordinality as x(command_id, index)
  cross join lateral (
    select c.* from commands c where c.tenant_id = $1 and c.command_id = x.command_id and c.expires_at > $6 limit 1) c
), moved as (
  update chain_heads set position = $4, hash = $5, occurred_at = $6
  where tenant_id = $1 and position = $2 and hash = $3
    and not exists (select from stale) and not exists (select from known)
  returning position
), inserted as (
  insert into events (tenant_id, stream, type, position, version, event_id, command_id, occurred_at, meta, data, prev_hash, hash)
  select $1, e.stream, e.type, $2 + e.index, e.version, e.event_id, e.command_id, $6, e.meta, e.data, e.prev_hash, e.hash
  from unnest($10::text[], $11::text[], $12::bigint[], $13::uuid[], $14::uuid[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[])
    with ordinality as e(stream, type, version, event_id, command_id, meta, data, prev_hash, hash, index)
  where exists (select from moved)
), remembered as (
  insert into commands (tenant_id, command_id, first_position, last_position, fingerprint, answer, created_at, expires_at)
  select $1, c.command_id, c.first_position, c.last_position, c.fingerprint, c.answer, $6, c.expires_at
  from unnest($9::uuid[], $19::bigint[], $20::bigint[], $21::bytea[], $22::bytea[], $23::timestamptz[])
    as c(command_id, first_position, last_position, fingerprint, answer, expires_at)
  where exists (select from moved)
  on conflict (tenant_id, command_id) do update set first_position = excluded.first_position, last_position = excluded.last_position,
    fingerprint = case when commands.expires_at <= $6 then excluded.fingerprint end,
    answer = excluded.answer, created_at = excluded.created_at, expires_at = excluded.expires_at
)
select 0, 0::bigint, position, 0::bigint, null::bytea, null::bytea from moved
union all select 1, index, actual, 0, null, null from stale
union all select 2, index, first_position, last_position, fingerprint, answer from known`

// reply is what the append statement found.
type reply struct {
	moved bool
	stale []staleCheck
	known []knownCommand
}

type staleCheck struct {
	index  int
	actual int64
}

type knownCommand struct {
	index               int
	first, last         int64
	fingerprint, answer []byte
}

// result is what a repetition of the command gets.
func (k *knownCommand) result() Result {
	return Result{First: k.first, Last: k.last, Duplicate: true, Fingerprint: k.fingerprint, Answer: k.answer}
}

const (
	replyMoved = iota
	replyStale
	replyKnown
)

// send runs the append statement for b, and commits the transaction that it is in where there is one. Its error is as
// classify says. While the statement is on its way, the callers of the batch before are answered and, where enough others
// wait, the batch after is made.
func (l *lane) send(ctx context.Context, conn *pgx.Conn, b *batch, commit bool) (reply, error) {
	if l.unanswered == nil && l.waiting() < overlapFrom {
		return l.roundTrip(ctx, conn, b.arguments(l), commit)
	}
	arguments := b.arguments(l)
	var found reply
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		found, err = l.roundTrip(ctx, conn, arguments, commit)
	}()
	l.answerLanded()
	if !commit { // else the next one learns the head anew, too
		l.makeReady(b)
	}
	<-done
	return found, err
}

// roundTrip sends the append statement and reads what it found. It touches nothing of the lane that changes.
func (l *lane) roundTrip(ctx context.Context, conn *pgx.Conn, arguments []any, commit bool) (reply, error) {
	var result reply
	pipeline := &pgx.Batch{}
	pipeline.Queue(setAppend, l.tenant)
	pipeline.Queue(appendStatement, arguments...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := result.scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if commit {
		pipeline.Queue(`commit`) // where the head has not moved, there is nothing to commit
	}
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return reply{}, classify(err)
	}
	return result, nil
}

func (r *reply) scan(rows pgx.Rows) error {
	var kind int
	var index, a, b int64
	var fingerprint, answer []byte
	if err := rows.Scan(&kind, &index, &a, &b, &fingerprint, &answer); err != nil {
		return fmt.Errorf("read the append's reply: %w", err)
	}
	switch kind {
	case replyMoved:
		r.moved = true
	case replyStale:
		r.stale = append(r.stale, staleCheck{index: int(index) - 1, actual: a})
	case replyKnown:
		r.known = append(r.known, knownCommand{index: int(index) - 1, first: a, last: b, fingerprint: fingerprint, answer: answer})
	}
	return nil
}

// arguments encodes the batch, once: sending it again sends the same.
func (b *batch) arguments(l *lane) []any {
	if b.encoded == nil {
		l.turn = 1 - l.turn
		b.encoded = l.encoders[l.turn].arguments(l.tenant, b)
	}
	return b.encoded
}

// encoder turns batches into the statement's arguments, in buffers that are used again.
type encoder struct {
	streams, types, checkNames  []string
	versions, checkVersions     []int64
	eventIDs, commandIDs        pgtype.FlatArray[pgtype.UUID]
	metas, datas, prevs, hashes pgtype.FlatArray[[]byte]
}

func (e *encoder) arguments(tenant string, b *batch) []any {
	e.streams, e.types, e.versions = e.streams[:0], e.types[:0], e.versions[:0]
	e.eventIDs, e.commandIDs = e.eventIDs[:0], e.commandIDs[:0]
	e.metas, e.datas, e.prevs, e.hashes = e.metas[:0], e.datas[:0], e.prevs[:0], e.hashes[:0]
	for i := range b.events {
		event := &b.events[i]
		e.streams = append(e.streams, event.Stream)
		e.types = append(e.types, event.Type)
		e.versions = append(e.versions, event.Version)
		e.eventIDs = append(e.eventIDs, asUUID(event.EventID))
		e.commandIDs = append(e.commandIDs, asUUID(event.CommandID))
		e.metas = append(e.metas, orEmpty(event.Meta))
		e.datas = append(e.datas, orEmpty(event.Data))
		e.prevs = append(e.prevs, event.PrevHash)
		e.hashes = append(e.hashes, event.Hash)
	}
	e.checkNames, e.checkVersions = e.checkNames[:0], e.checkVersions[:0]
	for _, c := range b.checks {
		e.checkNames = append(e.checkNames, c.stream)
		e.checkVersions = append(e.checkVersions, c.expected)
	}
	known := e.remembered(b)
	return []any{
		tenant, b.base.Position, b.base.Hash, b.next.Position, b.next.Hash, time.UnixMicro(b.next.OccurredAt).UTC(),
		e.checkNames, e.checkVersions, known.ids,
		e.streams, e.types, e.versions, e.eventIDs, e.commandIDs, e.metas, e.datas, e.prevs, e.hashes,
		known.first, known.last, known.fingerprints, known.answers, known.expiries,
	}
}

type rememberedColumns struct {
	ids                   pgtype.FlatArray[pgtype.UUID]
	first, last           []int64
	fingerprints, answers [][]byte
	expiries              []time.Time
}

// remembered lists, in the order of b.known, what is kept of the commands that may come again.
func (e *encoder) remembered(b *batch) rememberedColumns {
	c := rememberedColumns{ids: pgtype.FlatArray[pgtype.UUID]{}, first: []int64{}, last: []int64{}, fingerprints: [][]byte{}, answers: [][]byte{}, expiries: []time.Time{}}
	for i := range b.members {
		m := &b.members[i]
		if m.CommandID == uuid.Nil {
			continue
		}
		ttl := m.Remember.TTL
		if ttl == 0 {
			ttl = DefaultRememberTTL
		}
		c.ids = append(c.ids, asUUID(m.CommandID))
		c.first = append(c.first, b.events[m.from].Position)
		c.last = append(c.last, b.events[m.to-1].Position)
		c.fingerprints = append(c.fingerprints, orEmpty(m.Remember.Fingerprint))
		c.answers = append(c.answers, orEmpty(m.answer))
		c.expiries = append(c.expiries, time.UnixMicro(b.next.OccurredAt).Add(ttl).UTC())
	}
	return c
}

// release lets go of the callers' bytes, which a lane at rest must not hold, and of a frame that one big event has grown.
func (l *lane) release() {
	const keptFrame = 64 << 10
	for i := range l.encoders {
		e := &l.encoders[i]
		clear(e.metas)
		clear(e.datas)
		clear(e.prevs)
		clear(e.hashes)
	}
	if cap(l.frame) > keptFrame {
		l.frame = nil
	}
}

// asUUID is what pgx encodes without asking database/sql for the value, which costs more than the rest of a row.
func asUUID(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// orEmpty keeps nil from becoming NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
