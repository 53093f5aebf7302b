package eventstore

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// minShare is the least number of rows that is worth a connection of its own.
const minShare = 50_000

// VerifyParallel is Verify of the whole chain, over at most parallel connections at once, all in one snapshot. Each takes a range of
// positions together with the row before and the row after it, so that every link is checked, and the first bad position is the same
// that Verify finds; only rows outside of every chain (below position 1) come first here. The pool needs one connection more. Of opts only Progress counts, which may be called from several
// goroutines.
func (s *Store) VerifyParallel(ctx context.Context, tenant string, parallel int, opts VerifyOptions) (Report, error) {
	return s.verifyShares(ctx, tenant, parallel, minShare, opts.Progress)
}

func (s *Store) verifyShares(ctx context.Context, tenant string, parallel int, least int64, progress func(checked int64)) (report Report, err error) {
	if err := (VerifyOptions{}).validate(tenant); err != nil {
		return Report{}, err
	}
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		head, err := prepareVerify(ctx, tx, tenant)
		if err != nil {
			return err
		}
		var snapshot string
		if err := tx.QueryRow(ctx, `select pg_export_snapshot()`).Scan(&snapshot); err != nil {
			return fmt.Errorf("verify: share the snapshot: %w", Unavailable(err))
		}
		report, err = s.verifyRanges(ctx, tenant, snapshot, head, shares(head.Position, int64(max(parallel, 1)), least), progress)
		return err
	})
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", Unavailable(err))
	}
	return report, nil
}

// shares cuts a chain into ranges; the last one has no end, since a row can stand where none should.
func shares(head, parallel, least int64) []VerifyOptions {
	count := max(min(parallel, head/least), 1)
	ranges := make([]VerifyOptions, count)
	for i := range count {
		ranges[i] = VerifyOptions{From: head*i/count + 1, To: head * (i + 1) / count}
	}
	ranges[count-1].To = 0
	return ranges
}

// verifyRanges verifies every range, and puts the reports together.
func (s *Store) verifyRanges(outer context.Context, tenant, snapshot string, head chainHead, ranges []VerifyOptions, progress func(int64)) (Report, error) {
	var checked atomic.Int64
	reports := make([]Report, len(ranges))
	group, ctx := errgroup.WithContext(outer)
	for i, opts := range ranges {
		told := int64(0)
		if progress != nil {
			opts.Progress = func(of int64) {
				progress(checked.Add(of - told))
				told = of
			}
		}
		group.Go(func() (err error) {
			reports[i], err = s.verifyRange(ctx, tenant, snapshot, head, opts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Report{}, err //nolint:wrapcheck // the caller does
	}
	whole := Report{OK: true, Head: head.Head}
	for _, report := range reports {
		whole.Checked += report.Checked
		if !report.OK { // ranges are in order, so the first bad one has the lowest bad position
			whole.OK, whole.FirstBadPosition, whole.Reason = false, report.FirstBadPosition, report.Reason
			break
		}
	}
	if whole.OK {
		return whole, nil
	}
	return s.judgeAgain(outer, tenant, snapshot, head, whole)
}

// judgeAgain reads the neighbourhood of what is bad in one piece: at the border of two ranges, which of two rows was changed can't be
// told by looking from one side only.
func (s *Store) judgeAgain(ctx context.Context, tenant, snapshot string, head chainHead, whole Report) (Report, error) {
	const before = 2
	report, err := s.verifyRange(ctx, tenant, snapshot, head, VerifyOptions{From: max(whole.FirstBadPosition-before, 1)})
	if err == nil && !report.OK {
		whole.FirstBadPosition, whole.Reason = report.FirstBadPosition, report.Reason
	}
	return whole, err
}

func (s *Store) verifyRange(ctx context.Context, tenant, snapshot string, head chainHead, opts VerifyOptions) (Report, error) {
	check := newChecker(tenant, head, opts)
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Before any query; PostgreSQL takes no parameters here, and the text is its own.
		if _, err := tx.Exec(ctx, `set transaction snapshot '`+snapshot+`'`); err != nil {
			return fmt.Errorf("take the snapshot: %w", err)
		}
		if _, err := tx.Exec(ctx, setVerify, tenant); err != nil {
			return fmt.Errorf("prepare to read: %w", err)
		}
		return check.readAll(ctx, tx.Conn().PgConn())
	})
	if err != nil {
		return Report{}, fmt.Errorf("read the chain: %w", err)
	}
	return check.report(), nil
}
