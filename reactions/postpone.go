package reactions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Later is what a handler returns whose job is to be tried again after a while: it is given back to the queue until then, so
// that others of its topic go on. Any other error is tried again at once, a few times, with the job in hand.
type Later struct { //nolint:errname // what is to happen, and only then an error
	After time.Duration
	Cause error
}

// Error implements error.
func (l *Later) Error() string { return l.Cause.Error() }

// Unwrap is the cause.
func (l *Later) Unwrap() error { return l.Cause }

// Final is what a handler returns whose job has failed for good.
type Final struct { //nolint:errname // as Later
	Cause error
}

// Error implements error.
func (f *Final) Error() string { return f.Cause.Error() }

// Unwrap is the cause.
func (f *Final) Unwrap() error { return f.Cause }

// settled does what a handler's error asks for. nil is a job that has been dealt with; any other error is tried again.
func (r *Router) settled(ctx context.Context, topic string, err error) error {
	if err == nil || ctx.Err() != nil { // an interrupted job is given back as it was
		return err
	}
	if later, is := errors.AsType[*Later](err); is {
		return r.postpone(ctx, later)
	}
	if final, is := errors.AsType[*Final](err); is {
		return r.fail(ctx, topic, final.Error())
	}
	return err
}

// postpone gives the job in hand back until it is due again, with the reason.
func (r *Router) postpone(ctx context.Context, later *Later) error {
	job, held := leaseOf(ctx)
	if !held {
		return errNoLease
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err := r.pool.Exec(ctx, `update jobs set run_after = now() + make_interval(secs => $4), last_error = left($5, $6), lock_token = null, locked_until = null
		where tenant_id = $1 and uuid = $2 and lock_token = $3 and status = 'pending'`,
		job.tenant, job.id, job.token, later.After.Seconds(), later.Error(), maxErrorBytes)
	if err != nil {
		return fmt.Errorf("postpone a job: %w", err)
	}
	return nil
}

// fail ends the job in hand: it stays in its row, with the reason, for an operator.
func (r *Router) fail(ctx context.Context, topic, reason string) error {
	job, held := leaseOf(ctx)
	if !held {
		return errNoLease
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	tag, err := r.pool.Exec(ctx, `update jobs set status = 'failed', finished_at = now(), last_error = left($4, $5)
		where tenant_id = $1 and uuid = $2 and lock_token = $3 and status = 'pending'`, job.tenant, job.id, job.token, reason, maxErrorBytes)
	if err != nil {
		return fmt.Errorf("mark a job as failed: %w", err)
	}
	if tag.RowsAffected() == 1 {
		r.config.Log.ErrorContext(ctx, "a job has failed and waits for an operator",
			slog.String("topic", topic), slog.String("tenant", job.tenant), slog.String("job", job.id.String()), slog.String("error", reason))
	}
	return nil
}
