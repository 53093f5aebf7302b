package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// columns is the order in which every reader of events asks for them.
const columns = `stream, type, position, version, event_id, command_id, occurred_at, meta, data, prev_hash, hash`

// Load returns the events of a stream after version after, in order; none where the stream does not exist.
func (s *Store) Load(ctx context.Context, tenant, stream string, after int64) ([]Recorded, error) {
	if !storable(stream) {
		return nil, nil // a stream that can't exist has no events
	}
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and stream = $2 and version > $3 order by version`, tenant, stream, after)
	if err != nil {
		return nil, fmt.Errorf("load stream %s: %w", stream, err)
	}
	return events, nil
}

// Read returns at most limit events of the tenant's chain after position after, in order.
func (s *Store) Read(ctx context.Context, tenant string, after int64, limit int) ([]Recorded, error) {
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and position > $2 order by position limit $3`, tenant, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read after position %d: %w", after, err)
	}
	return events, nil
}

// Head returns the end of the tenant's chain: position 0 and the genesis hash where the tenant has no events.
func (s *Store) Head(ctx context.Context, tenant string) (Head, error) {
	head := Head{Hash: Genesis(tenant)}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	queueHead(pipeline, tenant, &head)
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return Head{}, fmt.Errorf("read the head: %w", Unavailable(err))
	}
	return head, nil
}

// queueHead reads the end of a tenant's chain into head, which stays as it is where the tenant has no events.
func queueHead(pipeline *pgx.Batch, tenant string, head *Head) {
	pipeline.Queue(`select position, hash, occurred_at from chain_heads where tenant_id = $1`, tenant).QueryRow(func(row pgx.Row) error {
		var at time.Time
		err := row.Scan(&head.Position, &head.Hash, &at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		head.OccurredAt = at.UnixMicro()
		return err //nolint:wrapcheck // wrapped by whoever sends the pipeline
	})
}

// Remembered is what the store keeps of a command that may be repeated.
type Remembered struct {
	First, Last         int64
	Fingerprint, Answer []byte
}

// Recall returns what is remembered of a command; found is false where it has not been seen, or not within its TTL.
func (s *Store) Recall(ctx context.Context, tenant string, commandID uuid.UUID) (remembered Remembered, found bool, err error) {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select first_position, last_position, fingerprint, answer from commands
		where tenant_id = $1 and command_id = $2 and expires_at > $3`, tenant, commandID, s.config.Now()).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&remembered.First, &remembered.Last, &remembered.Fingerprint, &remembered.Answer)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err //nolint:wrapcheck // wrapped below
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return Remembered{}, false, fmt.Errorf("recall a command: %w", Unavailable(err))
	}
	return remembered, found, nil
}

// Memorize remembers a command that appended nothing, at the head's position, unless it is remembered already; then the
// earlier memory is returned and first is false.
func (s *Store) Memorize(ctx context.Context, tenant string, commandID uuid.UUID, fingerprint, answer []byte) (remembered Remembered, first bool, err error) {
	now := s.config.Now()
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`insert into commands as c (tenant_id, command_id, first_position, last_position, fingerprint, answer, created_at, expires_at)
		select $1, $2, h.position, h.position, $3, $4, $5, $6
		from (select coalesce(max(position), 0) as position from chain_heads where tenant_id = $1) h
		on conflict (tenant_id, command_id) do update set first_position = excluded.first_position, last_position = excluded.last_position,
			fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at, expires_at = excluded.expires_at
		where c.expires_at <= $5`, tenant, commandID, orEmpty(fingerprint), orEmpty(answer), now, now.Add(DefaultRememberTTL)).Exec(func(tag pgconn.CommandTag) error {
		first = tag.RowsAffected() == 1
		return nil
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return Remembered{}, false, fmt.Errorf("memorize a command: %w", Unavailable(err))
	}
	remembered, _, err = s.Recall(ctx, tenant, commandID)
	return remembered, first, err
}

func (s *Store) query(ctx context.Context, tenant, sql string, args ...any) ([]Recorded, error) {
	var events []Recorded
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		events, err = Collect(tenant, rows)
		return err
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, Unavailable(err)
	}
	return events, nil
}

// Collect reads rows of events in the order of Columns.
func Collect(tenant string, rows pgx.Rows) ([]Recorded, error) {
	var events []Recorded
	for rows.Next() {
		event := Recorded{Tenant: tenant}
		var at time.Time
		if err := rows.Scan(&event.Stream, &event.Type, &event.Position, &event.Version, &event.EventID, &event.CommandID,
			&at, &event.Meta, &event.Data, &event.PrevHash, &event.Hash); err != nil {
			return nil, fmt.Errorf("scan an event: %w", err)
		}
		event.OccurredAt = at.UnixMicro()
		events = append(events, event)
	}
	return events, rows.Err() //nolint:wrapcheck // every caller wraps
}

// Unavailable marks errors of a read that will pass when the database is back as ErrUnavailable, and leaves errors of the
// caller's context alone.
func Unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return asUnavailable(err)
}
