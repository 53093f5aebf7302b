package eventstore

import (
	"context"
	"fmt"
)

// LoadSome returns at most limit events of a stream after version after and up to position upTo, in order.
func (s *Store) LoadSome(ctx context.Context, tenant, stream string, after, upTo int64, limit int) ([]Recorded, error) {
	if !storable(stream) {
		return nil, nil // a stream that can't exist has no events
	}
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and stream = $2 and version > $3 and position <= $4 order by version limit $5`, tenant, stream, after, upTo, limit)
	if err != nil {
		return nil, fmt.Errorf("load stream %s: %w", stream, err)
	}
	return events, nil
}

// LoadNewest returns the newest limit events of a stream up to position upTo, in order.
func (s *Store) LoadNewest(ctx context.Context, tenant, stream string, upTo int64, limit int) ([]Recorded, error) {
	if !storable(stream) {
		return nil, nil
	}
	events, err := s.query(ctx, tenant, `select `+columns+` from (select `+columns+` from events
		where tenant_id = $1 and stream = $2 and position <= $3 order by version desc limit $4) newest order by version`, tenant, stream, upTo, limit)
	if err != nil {
		return nil, fmt.Errorf("load the end of stream %s: %w", stream, err)
	}
	return events, nil
}
