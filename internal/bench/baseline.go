package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// hashBytes is the size of the two hashes of a row. The baselines store random ones: they compute nothing.
const hashBytes = 32

// baseline is a table with the columns and keys of events and nothing else, and what it takes to fill it.
type baseline struct {
	table    string
	pool     *pgxpool.Pool
	position atomic.Int64
}

func newBaseline(ctx context.Context, scratch *Scratch, name string, conns int) (*baseline, error) {
	pool, err := scratch.Pool(ctx, RoleOwner, conns)
	if err != nil {
		return nil, err
	}
	b := &baseline{table: name, pool: pool}
	_, err = pool.Exec(ctx, fmt.Sprintf(`
		create schema if not exists baseline;
		create table baseline.%[1]s (like events, constraint %[1]s_position_key primary key (tenant_id, position),
			constraint %[1]s_version_key unique (tenant_id, stream, version))`, name))
	if err != nil {
		return nil, fmt.Errorf("create table %s: %w", name, err)
	}
	return b, nil
}

// row is a row as the store would write it; the columns are in the order of the table.
func (b *baseline) row(stream string, version int64) []any {
	random := make([]byte, 2*hashBytes)
	_, _ = rand.Read(random) // never fails
	eventID, _ := uuid.NewV7()
	commandID, _ := uuid.NewV7()
	return []any{
		benchTenant, stream, benchType, b.position.Add(1), version, eventID, commandID, time.Now().UTC(),
		[]byte(meta), payload(version), random[:hashBytes], random[hashBytes:],
	}
}

// inserter inserts one row a call, each in a transaction of its own; pgx prepares the statement once a connection.
func (b *baseline) inserter() call {
	sql := fmt.Sprintf(`insert into baseline.%s values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, b.table)
	stream, version := "bench-"+uuid.NewString(), int64(0)
	return func(ctx context.Context) (int64, error) {
		version++
		if _, err := b.pool.Exec(ctx, sql, b.row(stream, version)...); err != nil {
			return 0, fmt.Errorf("insert: %w", err)
		}
		return 1, nil
	}
}

// copier copies copyRows rows a call, each to another of as many streams.
func (b *baseline) copier() call {
	columns := []string{
		"tenant_id", "stream", "type", "position", "version", "event_id", "command_id", "occurred_at", "meta", "data", "prev_hash", "hash",
	}
	streams := make([]string, copyRows)
	for i := range streams {
		streams[i] = "bench-" + uuid.NewString()
	}
	version := int64(0)
	return func(ctx context.Context) (int64, error) {
		version++
		copied, err := b.pool.CopyFrom(ctx, pgx.Identifier{"baseline", b.table}, columns, pgx.CopyFromSlice(copyRows, func(i int) ([]any, error) {
			return b.row(streams[i], version), nil
		}))
		if err != nil {
			return 0, fmt.Errorf("copy: %w", err)
		}
		return copied, nil
	}
}
