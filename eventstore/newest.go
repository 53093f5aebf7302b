package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// newestScan bounds how many events Newest looks at; behind more than that it does not look.
const newestScan = 50_000

// Newest tells whether anything of interest has happened after a position: the position of the newest event of one of the
// types, or 0 where there is none, and the head up to which it has looked. It reads each event after the position, so it
// is for who asks often; where there are more than 50,000 it answers with the head instead of looking.
func (s *Store) Newest(ctx context.Context, tenant string, after int64, types []string) (position, head int64, err error) {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select h.position, case when h.position - $2 > $4 then h.position else coalesce((
			select max(e.position) from events e
			where e.tenant_id = $1 and e.position > $2 and e.position <= h.position and e.type = any($3)), 0) end
		from chain_heads h where h.tenant_id = $1`, tenant, after, types, newestScan).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&head, &position)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err //nolint:wrapcheck // wrapped below
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return 0, 0, fmt.Errorf("look for news after position %d: %w", after, Unavailable(err))
	}
	return position, head, nil
}
