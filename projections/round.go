package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/archonhq/archon/eventstore"
)

// roundTime is how long a key is served before others that wait get their turn.
const roundTime = 250 * time.Millisecond

// ending says why a round is over.
type ending int

const (
	// caughtUp: the projection is where the head was.
	caughtUp ending = iota
	// unfinished: there is more, but it is the others' turn.
	unfinished
	// busy: another node has the lock.
	busy
	// idle: the tenant has no events yet.
	idle
	// halted: the projection is stalled or paused, for all nodes.
	halted
	// blocked: this node can't go on, a newer one can.
	blocked
)

// result is how a round ended; why says more where it is halted or blocked.
type result struct {
	end ending
	why error
}

// round is a turn of one key on this node.
type round struct {
	*Runner
	key
	entry *entry
	until time.Time
	// ahead delivers what is being read for the next batch, if any.
	ahead *ahead
	why   error
}

// serve brings a key forward, batch by batch, until it has caught up, can't go on, has had its time, or is told to stop.
// An error is one that passes. The caller has begun the key's round and ends it.
func (r *Runner) serve(ctx context.Context, k key, one *entry, stop func() bool) (result, error) {
	turn := &round{Runner: r, key: k, entry: one, until: time.Now().Add(roundTime)}
	if k.projection.live != nil {
		turn.until = time.Now().Add(endless)
	}
	defer turn.dropAhead()
	for {
		end, err := turn.step(ctx)
		switch {
		case err != nil:
			r.metrics.failed(k.projection.name)
			r.agenda.distrust()
			return result{end: unfinished}, err
		case end == halted || end == blocked:
			r.agenda.park(one)
			return result{end: end, why: turn.why}, nil
		case end != unfinished || turn.late() || stop():
			return result{end: end}, nil
		}
	}
}

// late tells whether it is another key's turn.
func (r *round) late() bool { return time.Now().After(r.until) && !r.agenda.idle() }

// step does one batch.
func (r *round) step(ctx context.Context) (ending, error) {
	b := &batch{runner: r.Runner, projection: r.projection, tenant: r.tenant, limit: r.limit(), rest: r.ahead}
	defer b.rest.drop()
	r.ahead = nil
	b.ahead = b.rest.first()
	b.proceed = func(w *window, head int64) {
		if w.fault == nil && w.bad == nil && w.end.position < head && r.entry.suspect == 0 && !r.late() {
			r.ahead = b.readAhead(ctx, w.end)
		}
	}
	saw, w, err := b.run(ctx)
	var bad dataError
	switch {
	case errors.As(err, &bad):
		return r.narrow(ctx, w, bad.error)
	case errors.Is(err, errLostCheckpoint):
		return busy, nil
	case err != nil:
		return unfinished, err
	case w == nil:
		return r.stopped(ctx, &saw)
	}
	r.committed(w)
	switch {
	case w.fault != nil:
		return r.halt(ctx, w.end, w.fault)
	case w.end.position < saw.head:
		return unfinished, nil
	case r.projection.live != nil:
		return r.swapIn(ctx)
	}
	return caughtUp, nil
}

// limit is how many events the next batch may have: fewer while a poison event is looked for. Each failure halves the
// range that holds it, each success takes the half before it away.
func (r *round) limit() int64 {
	everything := int64(r.config.MaxBatchEvents)
	if r.entry.suspect == 0 {
		return everything
	}
	at := r.entry.at
	if at >= r.entry.suspect {
		r.entry.suspect = 0 // it was not the events after all
		return everything
	}
	return min(everything, max(1, (r.entry.suspect-at)/2))
}

// narrow follows a batch that failed by the fault of its events. An event that fails alone, twice, is poison.
func (r *round) narrow(ctx context.Context, w *window, cause error) (ending, error) {
	r.metrics.failed(r.projection.name)
	r.dropAhead()
	r.entry.at = w.base.position
	if w.len() > 1 || r.entry.suspect != w.end.position {
		r.entry.suspect = w.end.position
		return unfinished, nil
	}
	found := &fault{kind: poison, err: cause, position: w.end.position}
	if w.handled == 1 {
		found.eventType = w.lastType
	}
	return r.halt(ctx, w.base, found)
}

// committed notes what a batch has achieved.
func (r *round) committed(w *window) {
	r.entry.at = w.end.position
	r.agenda.reached(r.entry, w.end.position)
	if w.len() == 0 {
		return
	}
	r.entry.handled = w.handled
	r.metrics.committed(r.projection.name, w, r.now())
	if r.config.Projected != nil && r.projection.live == nil {
		r.config.Projected(r.tenant, r.projection.name, w.end.position)
	}
}

// stopped finds out why a batch was not even tried.
func (r *round) stopped(ctx context.Context, saw *checkpoint) (ending, error) {
	r.agenda.reached(r.entry, saw.at.position)
	switch {
	case !saw.found && r.projection.live != nil:
		return idle, nil // another node has ended the rebuild
	case !saw.found:
		return r.create(ctx)
	case saw.newer:
		r.why = fmt.Errorf("%w: a newer version of it serves, and this program is version %d of it", ErrHalted, r.projection.version)
		return blocked, r.lookAtOthers(ctx)
	case !serving(saw.status):
		r.why = fmt.Errorf("%w: %s at position %d: %s", ErrHalted, saw.status, saw.errPosition, saw.err)
		return halted, nil
	}
	return busy, nil
}

// create makes the checkpoint of a tenant that has begun its chain. Where there is a checkpoint of another version it must
// not: a new version has tables to fill, which a rebuild does, and an old one has had its time.
func (r *round) create(ctx context.Context) (ending, error) {
	p := r.projection
	tag, err := r.pool.Exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash)
		select $1, $2, $3, 0, $4 where exists (select from chain_heads where tenant_id = $1)
			and not exists (select from projection_checkpoints where tenant_id = $1 and projection = $2 and version <> $3 and status <> 'rebuilding')
		on conflict do nothing`, r.tenant, p.name, p.version, eventstore.Genesis(r.tenant))
	if err != nil {
		return unfinished, fmt.Errorf("make a checkpoint: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return unfinished, nil
	}
	var exists, other bool
	err = r.pool.QueryRow(ctx, `select coalesce(bool_or(version = $3), false), coalesce(bool_or(version <> $3 and status <> 'rebuilding'), false)
		from projection_checkpoints where tenant_id = $1 and projection = $2`, r.tenant, p.name, p.version).Scan(&exists, &other)
	switch {
	case err != nil:
		return unfinished, fmt.Errorf("look for checkpoints of other versions: %w", err)
	case exists:
		return unfinished, nil // another node was faster
	case other:
		r.why = fmt.Errorf("%w: another version of it has been built for the tenant; version %d needs a rebuild", ErrHalted, p.version)
		return blocked, r.lookAtOthers(ctx)
	}
	return idle, nil
}

// lookAtOthers notes how far another version of the projection is. Its rows are those that serve, so that who waits for a
// position has what he waits for once they show it, whichever node has built them.
func (r *round) lookAtOthers(ctx context.Context) error {
	var position int64
	err := r.pool.QueryRow(ctx, `select coalesce(max(position), 0) from projection_checkpoints
		where tenant_id = $1 and projection = $2 and version <> $3 and status <> 'rebuilding'`, r.tenant, r.projection.name, r.projection.version).Scan(&position)
	if err != nil {
		return fmt.Errorf("look how far another version is: %w", err)
	}
	r.agenda.reached(r.entry, position)
	return nil
}

// halt records why a projection can't go on behind a place, for everybody to see. Where only this node can't, the status
// stays as it is, so that a newer node goes on. It does nothing where the checkpoint is not at that place any more.
func (r *round) halt(ctx context.Context, at place, found *fault) (ending, error) {
	r.entry.suspect = 0
	status, end := statusStalled, halted
	if found.kind == unknown {
		r.unknown.add(found.eventType)
		status, end = "", blocked
	}
	p := r.projection
	tag, err := r.pool.Exec(ctx, `update projection_checkpoints
		set status = coalesce(nullif($6, ''), status), error = $7, error_position = $8, error_type = $9
		where tenant_id = $1 and projection = $2 and version = $3 and position = $4 and hash = $5 and status in ('live', 'rebuilding')
			and ($6 <> '' or error is distinct from $7)`,
		r.tenant, p.name, p.version, at.position, at.hash, status,
		storableText(found.err.Error(), maxErrorBytes), found.position, found.eventType)
	if err != nil {
		return unfinished, fmt.Errorf("record a halt: %w", err)
	}
	r.why = found.halted()
	if tag.RowsAffected() == 1 {
		r.metrics.halted(p.name, found.kind)
		r.config.Log.ErrorContext(ctx, "projection halted", slog.String("projection", p.name), slog.String("tenant", r.tenant),
			slog.String("reason", found.kind.String()), slog.Int64("position", found.position), slog.String("type", found.eventType),
			slog.Any("error", found.err))
	}
	return end, nil
}

// dropAhead waits until nothing is being read any more.
func (r *round) dropAhead() {
	r.ahead.drop()
	r.ahead = nil
}
