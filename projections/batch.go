package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/eventstore"
)

// projection is a projector with what the runner knows of it.
type projection struct {
	Projector
	codec   *eventstore.Codec
	name    string
	version int
	handles []string // nil: all
	handled map[string]bool
	folder  Folder // nil: it does not fold
	// rebuilt is the projection that a rebuild of this one runs, nil where there is none; live is the way back. tables are
	// those that are swapped in the end.
	rebuilt, live *projection
	tables        []string
}

func (p *projection) takes(eventType string) bool {
	return p.handles == nil || p.handled[eventType]
}

// lockCheckpoint takes the (projection, tenant) pair for the transaction, unless another one has it, and sets what the
// transaction needs where it got it. Where it did not, row-level security hides the tenant's events from what follows in
// the pipeline, so they are not read in vain.
//
// synchronous_commit is off: the rows and the checkpoint are in one transaction, so after a crash of the server either
// both are there or neither is, and what was lost is projected again from events, which were committed durably before
// anybody could read them. (A job that a reaction enqueued may then have run already; it is enqueued again under the same
// id, and doing it twice changes nothing.) So a catch-up does not wait for the disk.
//
// idle_in_transaction_session_timeout bounds how long a node that has frozen keeps the row locked. For the rest see
// planByIndex.
const lockCheckpoint = `
with locked as materialized (
  select tenant_id from projection_checkpoints where tenant_id = $1 and projection = $2 and version = $3 for update skip locked)
select true, set_config('app.tenant_id', tenant_id, true), set_config('synchronous_commit', 'off', true),
  set_config('idle_in_transaction_session_timeout', $4, true),` + planByIndex + `
from locked`

// lockSettings is how many settings lockCheckpoint makes.
const lockSettings = 8

// lockRebuild is lockCheckpoint for a rebuild, whose statements are to find its own tables first.
const lockRebuild = `
with locked as materialized (
  select tenant_id from projection_checkpoints where tenant_id = $1 and projection = $2 and version = $3 for update skip locked)
select true, set_config('app.tenant_id', tenant_id, true), set_config('synchronous_commit', 'off', true),
  set_config('idle_in_transaction_session_timeout', $4, true),` + planByIndex + `,
  set_config('search_path', 'rebuild, ' || current_setting('search_path'), true)
from locked`

// planByIndex has statements planned once a connection, for planning them takes longer than running them on a few events.
// Such a plan must not have been made of the sizes that the tables had at the time: on a young database that is to read all
// of them. So everything but the indexes is out of bounds.
const planByIndex = `
  set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true), set_config('jit', 'off', true)`

// lookAtCheckpoint runs after lockCheckpoint and sees checkpoint and head in one snapshot: the head can't be behind the
// checkpoint in it, unless the log has been cut.
const lookAtCheckpoint = `
select c.position, c.hash, c.status, coalesce(c.error, ''), coalesce(c.error_position, 0), coalesce(h.position, 0), exists (
  select from projection_checkpoints n
  where n.tenant_id = $1 and n.projection = $2 and n.version > $3 and n.status <> 'rebuilding')
from projection_checkpoints c left join chain_heads h on h.tenant_id = c.tenant_id
where c.tenant_id = $1 and c.projection = $2 and c.version = $3`

// moveCheckpoint is the compare-and-set. Where it does not match it divides by zero, which keeps everything behind it in
// the pipeline from happening, the commit included.
const moveCheckpoint = `
with moved as (update projection_checkpoints set position = $4, hash = $5, served_at = now(), error = null, error_position = null, error_type = null,
  rate_events = case when rate_since < now() - interval '10 s' then 0 else rate_events end + $4 - $6,
  rate = case when rate_since < now() - interval '10 s' then rate_events / extract(epoch from now() - rate_since) else rate end,
  rate_since = case when rate_since < now() - interval '10 s' then now() else rate_since end
where tenant_id = $1 and projection = $2 and version = $3 and position = $6 and hash = $7 and status in ('live', 'rebuilding')
returning true)
select 1 / count(*) = 1 from moved`

// checkpoint is a row of projection_checkpoints as lookAtCheckpoint saw it.
type checkpoint struct {
	found, locked bool
	at            place
	status        string
	err           string
	errPosition   int64
	head          int64
	newer         bool
}

// batch is one transaction of a projection for a tenant, from taking the lock to the commit. It knows nothing of why it
// runs: a live projection, a waiter and a rebuild are the same to it, but for the last batch of a rebuild.
type batch struct {
	runner     *Runner
	projection *projection
	tenant     string
	// limit bounds the events of one read; ahead, where set, is a window that was read before the lock was taken, and rest
	// delivers the windows of the batch that follow it.
	limit int64
	ahead *window
	rest  *ahead
	// proceed, where set, is called once it is known what the batch will commit.
	proceed func(w *window, head int64)
	// swap, where set, makes this the last batch of a rebuild.
	swap *swap
}

// run does the batch. It returns what it saw of the checkpoint and the window that it committed, or could not commit: a
// dataError is the fault of its events. There is no window where the projection does not go on here, be it that another
// node has the lock, that the projection is halted, or that a newer version of it serves.
func (b *batch) run(ctx context.Context) (saw checkpoint, w *window, err error) {
	conn, err := b.runner.pool.Acquire(ctx)
	if err != nil {
		return saw, nil, fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	defer endTransaction(ctx, conn)
	if err := teach(ctx, conn.Conn(), b.projection.Projector); err != nil {
		return saw, nil, err
	}
	saw, w, err = b.open(ctx, conn)
	if err != nil || w == nil || (w.len() == 0 && b.swap == nil) {
		return saw, w, err
	}
	if b.swap != nil && !b.swap.suits(w) {
		return saw, w, errSwapLater
	}
	for part := w; ; {
		if !part.more && b.proceed != nil {
			b.proceed(w, saw.head)
		}
		if err := b.write(ctx, conn, part, w); err != nil {
			return saw, w, classify(err, conn.Conn().IsClosed())
		}
		if !part.more {
			return saw, w, nil
		}
		if part, err = b.rest.next(); err != nil {
			return saw, w, err
		}
		w = w.join(part)
	}
}

// endTransaction rolls back where the batch has not committed. Where that fails too, the pool throws the connection away.
func endTransaction(ctx context.Context, conn *pgxpool.Conn) {
	const idle = 'I'
	if conn.Conn().IsClosed() || conn.Conn().PgConn().TxStatus() == idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "rollback")
}

// open begins the transaction, takes the lock, and reads the events that come next, all in one round trip.
func (b *batch) open(ctx context.Context, conn *pgxpool.Conn) (saw checkpoint, w *window, err error) {
	p := b.projection
	pipeline := &pgx.Batch{}
	pipeline.Queue("begin")
	idle := fmt.Sprintf("%dms", b.runner.config.IdleTimeout.Milliseconds())
	lock, settings := lockCheckpoint, make([]any, lockSettings)
	if p.live != nil {
		lock, settings = lockRebuild, make([]any, lockSettings+1)
	}
	if b.swap != nil {
		b.swap.queueLock(pipeline, b.tenant, p.live)
	}
	pipeline.Queue(lock, b.tenant, p.name, p.version, idle).QueryRow(func(row pgx.Row) error {
		return ignoreNoRows(row.Scan(append([]any{&saw.locked}, settings...)...))
	})
	pipeline.Queue(lookAtCheckpoint, b.tenant, p.name, p.version).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&saw.at.position, &saw.at.hash, &saw.status, &saw.err, &saw.errPosition, &saw.head, &saw.newer)
		saw.found = err == nil
		return ignoreNoRows(err)
	})
	if b.ahead == nil {
		b.queueRead(pipeline, &saw, &w)
	}
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return saw, nil, fmt.Errorf("open a batch: %w", err)
	}
	if !saw.locked || saw.newer || !serving(saw.status) {
		return saw, nil, nil
	}
	if b.ahead == nil {
		return saw, w.within(&saw), nil
	}
	if b.ahead.base.is(saw.at) {
		return saw, b.ahead, nil
	}
	pipeline = &pgx.Batch{} // somebody else has been here since the window was read
	b.queueRead(pipeline, &saw, &w)
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return saw, nil, fmt.Errorf("read a batch again: %w", err)
	}
	return saw, w.within(&saw), nil
}

func serving(status string) bool { return status == statusLive || status == statusRebuilding }

func (b *batch) queueRead(pipeline *pgx.Batch, saw *checkpoint, w **window) {
	sql, args := b.projection.query(b.tenant, nil, b.limit, b.runner.config.MaxBatchBytes)
	pipeline.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		c := b.projection.collector(b.tenant, saw.at)
		if _, err := c.collect(rows); err != nil {
			return err
		}
		*w = c.finish()
		return nil
	})
}

func ignoreNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// within holds the window against the head: events that are missing at the end leave no trace in the window itself.
func (w *window) within(saw *checkpoint) *window {
	if w.fault != nil || w.len() > 0 || saw.head == saw.at.position {
		return w
	}
	w.fault = &fault{kind: broken, position: saw.at.position + 1, err: fmt.Errorf(
		"%w: the checkpoint is at %d, the head at %d, and there are no events after the checkpoint", errBrokenChain, saw.at.position, saw.head,
	)}
	return w
}

// write sends the statements of a part of the batch in one round trip; with the last part, it first moves the checkpoint to
// the end of the whole, and then commits.
func (b *batch) write(ctx context.Context, conn *pgxpool.Conn, part, whole *window) error {
	if part.bad != nil {
		return part.bad
	}
	p := b.projection
	moved := part.more
	pipeline := &pgx.Batch{}
	if !part.more {
		pipeline.Queue(moveCheckpoint, b.tenant, p.name, p.version, whole.end.position, whole.end.hash, whole.base.position, whole.base.hash).
			QueryRow(func(row pgx.Row) error { return row.Scan(&moved) })
	}
	part.out.queue(pipeline)
	if !part.more && b.swap == nil {
		pipeline.Queue("commit")
	}
	if pipeline.Len() == 0 {
		return nil
	}
	err := conn.SendBatch(ctx, pipeline).Close()
	var refused *pgconn.PgError
	switch {
	case err == nil && b.swap != nil:
		return b.swap.write(ctx, conn, b.tenant, p, whole.end)
	case err == nil:
		return nil
	case !moved && errors.As(err, &refused) && refused.Code == divisionByZero:
		return errLostCheckpoint
	}
	return fmt.Errorf("write a batch: %w", err)
}

// divisionByZero is moveCheckpoint's way to say that it has not matched; see there.
const divisionByZero = "22012"

// errLostCheckpoint says that the checkpoint is not where the batch began: nothing was written.
var errLostCheckpoint = errors.New("the checkpoint has been moved by somebody else")
