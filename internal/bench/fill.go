package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/eventstore"
)

// Fill writes an intact chain of n events for a tenant that has none, as fast as COPY goes, and the head that belongs to it;
// next gives the stream, type, version and data of each, from 0. Meta is the same for all. The scratch database's owner must
// be a superuser.
func (s *Scratch) Fill(ctx context.Context, tenant string, n int, next func(i int) (stream, eventType string, version int64, data []byte)) error {
	return s.FillEvery(ctx, tenant, n, time.Millisecond, next)
}

// FillEvery is Fill with a time between two events. The last one occurred about now.
func (s *Scratch) FillEvery(ctx context.Context, tenant string, n int, step time.Duration, next func(i int) (stream, eventType string, version int64, data []byte)) error {
	return s.fillFrom(ctx, tenant, n, time.Now().UTC().Truncate(time.Second).Add(-time.Duration(n)*step), step, next)
}

// fillFrom is FillEvery with the time of the first event.
func (s *Scratch) fillFrom(ctx context.Context, tenant string, n int, first time.Time, step time.Duration, next func(i int) (stream, eventType string, version int64, data []byte)) error {
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return fmt.Errorf("connect as the owner: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	last := eventstore.Recorded{Tenant: tenant, Hash: eventstore.Genesis(tenant)}
	start := first.UnixMicro()
	columns := []string{
		"tenant_id", "stream", "type", "position", "version", "event_id", "command_id", "occurred_at", "meta", "data", "prev_hash", "hash",
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		e := eventstore.Recorded{Tenant: tenant, Position: int64(i) + 1, Meta: []byte(meta), PrevHash: last.Hash, OccurredAt: start + int64(i)*step.Microseconds()}
		e.Stream, e.Type, e.Version, e.Data = next(i)
		e.EventID, e.CommandID = uuid.New(), uuid.New()
		sum := eventstore.Hash(&e)
		e.Hash = sum[:]
		last = e
		return []any{
			e.Tenant, e.Stream, e.Type, e.Position, e.Version, e.EventID, e.CommandID, e.Time(), e.Meta, e.Data, e.PrevHash, e.Hash,
		}, nil
	}))
	if err != nil {
		return fmt.Errorf("copy %d events: %w", n, err)
	}
	_, err = conn.Exec(ctx, `insert into chain_heads (tenant_id, position, hash, occurred_at) values ($1, $2, $3, $4)`,
		tenant, last.Position, last.Hash, last.Time())
	if err != nil {
		return fmt.Errorf("write the head: %w", err)
	}
	if _, err := conn.Exec(ctx, `vacuum (analyze) events`); err != nil {
		return fmt.Errorf("vacuum the events: %w", err)
	}
	return nil
}
