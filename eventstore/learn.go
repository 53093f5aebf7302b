package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// learn makes known what settling the members takes: the head, the version of every stream that one of them writes without
// an expectation, and the first answers of those that are repetitions.
func (l *lane) learn(ctx context.Context, conn *pgx.Conn, members []*member, lock bool) error {
	if !l.headKnown || lock {
		if err := l.learnHead(ctx, conn, lock); err != nil {
			return err
		}
	}
	if err := l.learnVersions(ctx, conn, members); err != nil {
		return err
	}
	return l.learnRepeated(ctx, conn, members)
}

func (l *lane) learnVersions(ctx context.Context, conn *pgx.Conn, members []*member) error {
	unknown := l.unknownStreams(members)
	if len(unknown) == 0 {
		return nil
	}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, l.tenant)
	pipeline.Queue(`select s.stream, coalesce((select v.version from events v where v.tenant_id = $1 and v.stream = s.stream
		order by v.version desc limit 1), 0) from unnest($2::text[]) as s(stream)`, l.tenant, unknown).Query(func(rows pgx.Rows) error {
		var stream string
		var version int64
		_, err := pgx.ForEachRow(rows, []any{&stream, &version}, func() error {
			l.versions[stream] = version
			return nil
		})
		return err //nolint:wrapcheck // wrapped below
	})
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return asUnavailable(err)
	}
	return nil
}

// unknownStreams are those that a member writes without an expectation and that the lane does not remember.
func (l *lane) unknownStreams(members []*member) []string {
	var unknown []string
	asked := map[string]bool{}
	for _, m := range members {
		for i := range m.Events {
			stream := m.Events[i].Stream
			_, expected := m.Expect[stream]
			_, remembered := l.version(stream)
			if !expected && !remembered && !asked[stream] {
				asked[stream] = true
				unknown = append(unknown, stream)
			}
		}
	}
	return unknown
}

// learnRepeated looks up the commands whose expectations the lane knows to be stale: the first try of a repeated command
// is what made them stale, and it is owed the first try's answer, not a conflict.
func (l *lane) learnRepeated(ctx context.Context, conn *pgx.Conn, members []*member) error {
	clear(l.repeated)
	var suspects []uuid.UUID
	for _, m := range members {
		if m.CommandID != uuid.Nil && l.contradicts(m) {
			suspects = append(suspects, m.CommandID)
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, l.tenant)
	pipeline.Queue(`select command_id, first_position, last_position, fingerprint, answer from commands
		where tenant_id = $1 and command_id = any($2) and expires_at > $3`,
		l.tenant, suspects, time.UnixMicro(l.timeOfBatch()).UTC()).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id uuid.UUID
			var first knownCommand
			if err := rows.Scan(&id, &first.first, &first.last, &first.fingerprint, &first.answer); err != nil {
				return fmt.Errorf("read a known command: %w", err)
			}
			l.repeated[id] = first
		}
		return rows.Err() //nolint:wrapcheck // wrapped below
	})
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return asUnavailable(err)
	}
	return nil
}

// contradicts tells whether the lane knows that one of the member's expectations can't hold any more.
func (l *lane) contradicts(m *member) bool {
	for stream, expected := range m.Expect {
		if version, remembered := l.version(stream); remembered && expected < version {
			return true
		}
	}
	return false
}

// learnHead reads the head, and makes it where the tenant is new. With lock it begins a transaction and keeps the row locked. A head that is missing although there are events is not
// an honest state: continuing would fork the chain.
func (l *lane) learnHead(ctx context.Context, conn *pgx.Conn, lock bool) error {
	query := `select position, hash, occurred_at from chain_heads where tenant_id = $1`
	if lock {
		query += ` for update`
	}
	pipeline := &pgx.Batch{}
	if lock {
		pipeline.Queue(`begin`)
	}
	pipeline.Queue(setTenant, l.tenant)
	pipeline.Queue(`insert into chain_heads (tenant_id, position, hash, occurred_at)
		select $1, 0, $2, 'epoch' where not exists (select from chain_heads where tenant_id = $1)
		and not exists (select from events where tenant_id = $1) on conflict do nothing`, l.tenant, Genesis(l.tenant))
	var head Head
	pipeline.Queue(query, l.tenant).QueryRow(func(row pgx.Row) error {
		var at time.Time
		err := row.Scan(&head.Position, &head.Hash, &at)
		head.OccurredAt = at.UnixMicro()
		return err //nolint:wrapcheck // wrapped below
	})
	err := conn.SendBatch(ctx, pipeline).Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: tenant %s has events and no head", ErrChainBroken, l.tenant)
	case err != nil:
		return asUnavailable(err)
	}
	if !bytes.Equal(head.Hash, l.head.Hash) {
		clear(l.versions) // they are those of the head that was known
	}
	l.head, l.headKnown = head, true
	return nil
}

// find looks for a batch in the log by the hash at its first position: written, or the position taken by another event.
func (l *lane) find(ctx context.Context, conn *pgx.Conn, b *batch) (written, taken bool, err error) {
	var hash []byte
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, l.tenant)
	pipeline.Queue(`select hash from events where tenant_id = $1 and position = $2`, l.tenant, b.events[0].Position).QueryRow(func(row pgx.Row) error {
		return row.Scan(&hash) //nolint:wrapcheck // wrapped below
	})
	err = conn.SendBatch(ctx, pipeline).Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, asUnavailable(err)
	}
	return bytes.Equal(hash, b.events[0].Hash), true, nil
}
