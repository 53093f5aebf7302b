package transparency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

const (
	// signEvery keeps the promise that growth is signed within a minute, with room for a slow round.
	signEvery = 30 * time.Second
	// signLock is the advisory lock that keeps two nodes from signing at once.
	signLock = 0x73_6967_6e // "sign"
	// signParallel bounds how many logs a round works on at a time; each needs a connection.
	signParallel = 4
)

// Worker signs in the background what has grown, on one node at a time.
type Worker struct {
	Signer *Signer
	// Pool's sessions run as archon_worker.
	Pool *pgxpool.Pool
	// Unsigned lists the tenants whose log has changed its length since it was signed.
	Unsigned func(ctx context.Context) ([]string, error)
	// Roots, where set, records the roots of all logs.
	Roots *Roots
	// Anchoring, where set, puts what was signed where nobody can rewrite it.
	Anchoring *Anchoring
	Logger    *slog.Logger
}

// Run signs until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	for {
		pause := signEvery - rand.N(signEvery/4) //nolint:gosec // jitter of a quarter, so that nodes don't meet at the lock
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := w.Round(ctx); err != nil && ctx.Err() == nil {
			w.Logger.WarnContext(ctx, "logs could not be signed and will be tried again", slog.Any("error", err))
		}
	}
}

// Round signs every log that has grown, and records the roots of all where that is due, unless another node is at it. A log that is refused does not keep others from being
// signed; that it was refused has been logged.
func (w *Worker) Round(ctx context.Context) error {
	conn, err := w.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("sign logs: %w", err)
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, int64(signLock)).Scan(&mine); err != nil {
		return fmt.Errorf("sign logs: %w", err)
	}
	if !mine {
		return nil
	}
	defer func() { // a session that can't be reached any more has lost the lock with its end
		_, _ = conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, int64(signLock))
	}()
	if w.Roots != nil {
		err = w.Roots.record(ctx, w.Signer.Log, w.Logger)
	}
	err = errors.Join(err, w.sign(ctx))
	if w.Anchoring != nil {
		err = errors.Join(err, w.Anchoring.round(ctx, w.Logger))
	}
	return err
}

func (w *Worker) sign(ctx context.Context) error {
	tenants, err := w.Unsigned(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(signParallel)
	for _, tenant := range tenants {
		group.Go(func() error {
			_, err := w.Signer.Checkpoint(ctx, tenant)
			if _, refused := errors.AsType[*Refusal](err); refused || errors.Is(err, ErrEmpty) {
				return nil
			}
			return err
		})
	}
	return group.Wait() //nolint:wrapcheck // says what it did
}
