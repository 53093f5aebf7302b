package eventstore

import (
	"context"
	"fmt"
)

// Last returns the newest event of a type in a stream; found is false where there is none.
func (s *Store) Last(ctx context.Context, tenant, stream, eventType string) (event Recorded, found bool, err error) {
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and stream = $2 and type = $3 order by version desc limit 1`, tenant, stream, eventType)
	if err != nil {
		return Recorded{}, false, fmt.Errorf("read the last %s: %w", eventType, err)
	}
	if len(events) == 0 {
		return Recorded{}, false, nil
	}
	return events[0], true, nil
}
