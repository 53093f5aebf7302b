package eventstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	// ErrVerifying says that another verification of this tenant is running, on this node or another: answer 429.
	ErrVerifying = errors.New("a verification of this tenant is running already")

	// ErrRange says that the positions to verify are not a range of the chain: the caller's mistake, answer 422.
	ErrRange = errors.New("not a range of the chain")
)

// VerifyOptions narrow a verification. The zero value verifies the whole chain and its head.
type VerifyOptions struct {
	// From is the first position to verify, 0 like 1 the beginning. Where it is above 1, the row before it is taken on trust
	// as the anchor.
	From int64
	// To is the last position to verify, 0 the end. Where it is below the head, the row after it still has to link to it.
	To int64
	// Progress, where set, is told how many rows have been checked, now and then. It must not block.
	Progress func(checked int64)
}

// Report is the outcome of a verification.
type Report struct {
	OK bool
	// Checked counts the rows that were read and compared, up to the first bad one where there is one.
	Checked int64
	// Head is the chain's head row; position 0 and the genesis hash where there is none.
	Head Head
	// FirstBadPosition is the lowest position whose row is missing, changed or misplaced; 0 where everything is right.
	FirstBadPosition int64
	// Reason is a sentence for a person; empty where everything is right.
	Reason string
}

// progressEvery is how many rows pass between two calls of Progress.
const progressEvery = 10_000

// Verify re-reads rows of a tenant's chain, in one snapshot, and checks that positions have no gap and start at 1, that every
// row's hash is that of its columns, that every row names the hash of the row before it, that time never goes back, and that
// the head row names the last one. It reads as a stream and keeps one row in memory. The error is ErrVerifying, ErrRange, or
// tells why the chain could not be read; what is wrong with the chain is in the report.
//
// The pool may also belong to a superuser, whom row-level security does not bind.
func (s *Store) Verify(ctx context.Context, tenant string, opts VerifyOptions) (Report, error) {
	if err := opts.validate(tenant); err != nil {
		return Report{}, err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", Unavailable(err))
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", Unavailable(err))
	}
	defer func() { // it has written nothing
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_ = tx.Rollback(ctx)
	}()
	head, err := prepareVerify(ctx, tx, tenant)
	if err != nil {
		return Report{}, err
	}
	if opts.From > 1 && opts.From-1 > head.Position {
		return Report{}, fmt.Errorf("%w: from %d is behind the head at %d", ErrRange, opts.From, head.Position)
	}
	check := newChecker(tenant, head, opts)
	if err := check.readAll(ctx, conn.Conn().PgConn()); err != nil {
		return Report{}, fmt.Errorf("verify: read the chain: %w", Unavailable(err))
	}
	return check.report(), nil
}

func (o VerifyOptions) validate(tenant string) error {
	switch {
	case tenant == "" || !storable(tenant):
		return fmt.Errorf("%w: no tenant has that name", ErrRange)
	case o.From < 0, o.To < 0, o.To > 0 && o.To < o.From:
		return fmt.Errorf("%w: from %d to %d", ErrRange, o.From, o.To)
	}
	return nil
}

// chainHead is a head row as it was found.
type chainHead struct {
	Head
	found bool
}

// setVerify is setTenant for a verification. The settings keep the chain streaming in the order of its index, at any state of
// the planner's statistics: a sort would spill to disk what it reads. Where the index is gone PostgreSQL sorts in spite of it.
const setVerify = `select set_config('app.tenant_id', $1, true), set_config('enable_sort', 'off', true),
  set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`

// prepareVerify takes the tenant's lock and reads the head; the lock goes with the transaction.
func prepareVerify(ctx context.Context, tx pgx.Tx, tenant string) (chainHead, error) {
	head := chainHead{Head: Head{Hash: Genesis(tenant)}}
	var locked bool
	pipeline := &pgx.Batch{}
	pipeline.Queue(setVerify, tenant)
	pipeline.Queue(`select pg_try_advisory_xact_lock($1)`, verifyLockKey(tenant)).QueryRow(func(row pgx.Row) error {
		return row.Scan(&locked) //nolint:wrapcheck // wrapped below
	})
	pipeline.Queue(`select coalesce(position, 0), hash, occurred_at from chain_heads where tenant_id = $1`, tenant).QueryRow(func(row pgx.Row) error {
		var at pgtype.Timestamptz // a tampered one may be infinite
		err := row.Scan(&head.Position, &head.Hash, &at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		head.found, head.OccurredAt = true, at.Time.UnixMicro()
		return err //nolint:wrapcheck // wrapped below
	})
	if err := tx.SendBatch(ctx, pipeline).Close(); err != nil {
		return chainHead{}, fmt.Errorf("verify: read the head: %w", Unavailable(err))
	}
	if !locked {
		return chainHead{}, fmt.Errorf("%w: %s", ErrVerifying, tenant)
	}
	return head, nil
}

// verifyLockKey is the tenant's key among PostgreSQL's advisory locks.
func verifyLockKey(tenant string) int64 {
	sum := sha256.Sum256([]byte("archon.verify\x00" + tenant))
	return int64(binary.BigEndian.Uint64(sum[:])) //nolint:gosec // any 64 bits will do
}

// verifyColumns is the order in which the checker gets a row's fields.
const verifyColumns = `tenant_id, stream, type, position, version, event_id, command_id, occurred_at, meta, data, prev_hash, hash`

// pieceRows is how many positions are read by one COPY. Stopping within one means to read on to its end, since a cut
// connection would hold the tenant's lock until the server notices.
const pieceRows = 20_000

type piece struct {
	// condition is SQL on position.
	condition string
	// reaches is the last position that a piece must bring of an intact chain.
	reaches int64
}

// pieces yields, in order, what covers the range and one row more at each end; without a bound where the range has none,
// because a row can be anywhere that should be nowhere.
func (c *checker) pieces() iter.Seq[piece] {
	return func(yield func(piece) bool) {
		low, high := c.from-1, c.head.Position
		if c.to > 0 {
			high = c.to + 1
		}
		from := fmt.Sprintf("position >= %d", low)
		if c.from == 1 {
			from = "true"
			if !yield(piece{condition: "position is null"}) {
				return
			}
		}
		for ; high-low > pieceRows; low += pieceRows {
			next := low + pieceRows
			if !yield(piece{condition: fmt.Sprintf("%s and position < %d", from, next), reaches: next - 1}) {
				return
			}
			from = fmt.Sprintf("position >= %d", next)
		}
		if c.to > 0 {
			from += fmt.Sprintf(" and position <= %d", high)
		}
		yield(piece{condition: from})
	}
}

// readAll reads the range, up to its first bad row or its end.
func (c *checker) readAll(ctx context.Context, conn *pgconn.PgConn) error {
	for piece := range c.pieces() {
		if err := c.read(ctx, conn, piece.condition); err != nil {
			return err
		}
		if c.badPosition != 0 || c.last.position < piece.reaches {
			break // a head that was moved far ahead must not send us through empty pieces for years
		}
	}
	c.end()
	return nil
}

// read takes the rows of one piece. COPY has no parameters; the tenant stands in the session.
func (c *checker) read(ctx context.Context, conn *pgconn.PgConn, condition string) error {
	rows := &copyRows{row: c.row}
	_, err := conn.CopyTo(ctx, rows, `copy (select `+verifyColumns+` from events where tenant_id = current_setting('app.tenant_id') and `+
		condition+` order by position) to stdout (format binary)`)
	if err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	return rows.finish()
}
