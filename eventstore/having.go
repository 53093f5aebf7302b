package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Having tells which of the streams have an event of a type, in no order.
func (s *Store) Having(ctx context.Context, tenant, eventType string, streams []string) ([]string, error) {
	var having []string
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select distinct stream from events where tenant_id = $1 and stream = any($2) and type = $3`,
		tenant, streams, eventType).Query(func(rows pgx.Rows) (err error) {
		having, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err //nolint:wrapcheck // wrapped below
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, fmt.Errorf("look for streams with a %s: %w", eventType, Unavailable(err))
	}
	return having, nil
}

// Of returns the events of a type in any of the streams, in ascending order of position.
func (s *Store) Of(ctx context.Context, tenant, eventType string, streams []string) ([]Recorded, error) {
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and stream = any($2) and type = $3 order by position`, tenant, streams, eventType)
	if err != nil {
		return nil, fmt.Errorf("read the %s of streams: %w", eventType, err)
	}
	return events, nil
}
