package eventstore

import (
	"context"
	"fmt"
	"time"
)

// LoadUntil returns the events of a stream at positions up to position, in order: the stream as it was then.
func (s *Store) LoadUntil(ctx context.Context, tenant, stream string, position int64) ([]Recorded, error) {
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and stream = $2 and position <= $3 order by version`, tenant, stream, position)
	if err != nil {
		return nil, fmt.Errorf("load stream %s: %w", stream, err)
	}
	return events, nil
}

// At returns the events at positions, in ascending order of position; positions without an event are left out.
func (s *Store) At(ctx context.Context, tenant string, positions []int64) ([]Recorded, error) {
	events, err := s.query(ctx, tenant, `select `+columns+` from events
		where tenant_id = $1 and position = any($2) order by position`, tenant, positions)
	if err != nil {
		return nil, fmt.Errorf("read events by position: %w", err)
	}
	return events, nil
}

// PositionAt is the position that was the head at a time, 0 before the first event. Times never go back within a chain, so
// it is found by halving.
func (s *Store) PositionAt(ctx context.Context, tenant string, at time.Time) (int64, error) {
	head, err := s.Head(ctx, tenant)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), head.Position // low occurred by then, all above high did not
	for low < high {
		middle := low + (high-low+1)/2
		events, err := s.At(ctx, tenant, []int64{middle})
		switch {
		case err != nil:
			return 0, err
		case len(events) == 0:
			return 0, fmt.Errorf("%w: position %d is missing", ErrChainBroken, middle)
		case events[0].OccurredAt <= at.UnixMicro():
			low = middle
		default:
			high = middle - 1
		}
	}
	return low, nil
}
