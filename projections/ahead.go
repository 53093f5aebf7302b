package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ahead delivers the windows of the batch that comes next, which are read and projected while the one before it is being
// written.
type ahead struct {
	// windows has room for all of them, so that the reader never waits for who writes, and gives its connection back
	// whatever happens: a batch that waits for a window holds a connection itself.
	windows chan aheadWindow
	quit    chan struct{}
}

type aheadWindow struct {
	window *window
	err    error
}

// errAheadOver says that no window comes any more, although the batch needs one: a fault of this package.
var errAheadOver = errors.New("read ahead: the batch has no end")

// next waits for the next window. It fails where the reader did.
func (a *ahead) next() (*window, error) {
	read, open := <-a.windows
	if !open {
		return nil, errAheadOver
	}
	return read.window, read.err
}

// first waits for the first window, or returns nil where there is none: then the batch itself will read, and find out what
// is wrong. The round holds no connection meanwhile, or reader and batch could wait for each other.
func (a *ahead) first() *window {
	if a == nil {
		return nil
	}
	w, err := a.next()
	if err != nil || (w.len() == 0 && w.fault == nil && w.bad == nil) {
		return nil
	}
	return w
}

// drop lets the reader end after the read in hand, and waits for that.
func (a *ahead) drop() {
	if a == nil {
		return
	}
	close(a.quit)
	for range a.windows { // nobody needs them
	}
}

func (a *ahead) dropped() bool {
	select {
	case <-a.quit:
		return true
	default:
		return false
	}
}

// readAhead begins to read the batch after a place.
func (b *batch) readAhead(ctx context.Context, base place) *ahead {
	a := &ahead{windows: make(chan aheadWindow, maxFoldReads+1), quit: make(chan struct{})}
	go func() {
		defer close(a.windows)
		if err := b.readInto(ctx, a, base); err != nil {
			a.windows <- aheadWindow{err: err}
		}
	}()
	return a
}

// readInto reads on a connection of its own. It holds no lock: what is behind a position never changes, and batch.open
// only takes the windows where the checkpoint is at their base. A projector that folds gets read after read, as long as the
// bounds allow; any other one gets one.
func (b *batch) readInto(ctx context.Context, a *ahead, base place) error {
	conn, err := b.runner.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection to read ahead: %w", err)
	}
	defer conn.Release()
	c := b.projection.collector(b.tenant, base)
	began := time.Now()
	for reads := 1; ; reads++ {
		var read int64
		pipeline := &pgx.Batch{}
		pipeline.Queue(`select set_config('app.tenant_id', $1, true),`+planByIndex, b.tenant)
		sql, args := b.projection.query(b.tenant, &c.w.end.position, b.limit, b.runner.config.MaxBatchBytes)
		pipeline.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
			read, err = c.collect(rows)
			return err
		})
		if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
			return fmt.Errorf("read ahead: %w", err)
		}
		if read < b.limit || reads == maxFoldReads || time.Since(began) > maxFoldTime || !c.wantsMore() || a.dropped() {
			a.windows <- aheadWindow{window: c.finish()}
			return nil
		}
		a.windows <- aheadWindow{window: c.part()}
	}
}
