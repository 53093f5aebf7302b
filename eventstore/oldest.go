package eventstore

import (
	"context"
	"fmt"
	"time"
)

// Oldest is when the first chain of all that are there was begun, the zero time where there is none. The pool's sessions need to be
// archon_worker's.
func (s *Store) Oldest(ctx context.Context) (time.Time, error) {
	var oldest *time.Time
	if err := s.pool.QueryRow(ctx, `select min(created_at) from chain_heads`).Scan(&oldest); err != nil {
		return time.Time{}, fmt.Errorf("look for the oldest chain: %w", Unavailable(err))
	}
	if oldest == nil {
		return time.Time{}, nil
	}
	return *oldest, nil
}
