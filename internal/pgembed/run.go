package pgembed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	startTries     = 8
	firstRetryWait = 100 * time.Millisecond
	maxRetryWait   = 5 * time.Second
)

// bringUp adopts the live server or starts one, and sees to the database. The caller holds the start lock.
func (c *Cluster) bringUp(ctx context.Context, mayMove bool) error {
	conn, adopted, err := c.adopt(ctx)
	if err != nil {
		return err
	}
	if !adopted {
		if conn, err = c.launch(ctx, mayMove); err != nil {
			return err
		}
	}
	if err := errors.Join(ensureDatabase(ctx, conn), conn.Close(ctx)); err != nil {
		if !adopted {
			err = errors.Join(err, c.current().stop(ctx, c.cfg.StopTimeout))
		}
		return err
	}
	c.adopted, c.port = adopted, c.state.Port
	return nil
}

// adopt takes over the server that runs already, if it answers as ours. Otherwise it sees to it that none is left, and ok is false.
func (c *Cluster) adopt(ctx context.Context) (conn *pgx.Conn, ok bool, err error) {
	found, port, err := c.place.find()
	if err != nil || found == nil {
		return nil, false, err
	}
	conn, err = c.place.awaitAnswer(ctx, found, c.maintenance(port), c.cfg.AnswerTimeout)
	switch {
	case err == nil:
		if err := c.keepPort(port); err != nil {
			return nil, false, errors.Join(err, conn.Close(ctx))
		}
		c.setCurrent(found)
		c.cfg.Log.InfoContext(ctx, "postgresql adopted", "folder", c.place.dir, "port", port, "pid", found.pid)
		return conn, true, nil
	case ctx.Err() != nil:
		return nil, false, err
	case errors.Is(err, errDied):
		return nil, false, nil
	default:
		c.cfg.Log.WarnContext(ctx, "postgresql does not answer and is stopped", "folder", c.place.dir, "pid", found.pid, "error", err)
		return nil, false, found.stop(ctx, c.cfg.StopTimeout)
	}
}

// launch starts a server of our own, on the port it last had if possible.
func (c *Cluster) launch(ctx context.Context, mayMove bool) (*pgx.Conn, error) {
	compression := c.place.walCompression(ctx)
	wait := firstRetryWait
	for try := 1; ; try++ {
		conn, err := c.launchOnce(ctx, mayMove, compression)
		if err == nil || try == startTries || !errors.Is(err, errRetry) {
			return conn, err
		}
		if cut := pause(ctx, wait); cut != nil {
			return nil, fmt.Errorf("start postgres again: %w; the last try: %w", cut, err)
		}
		wait = min(2*wait, maxRetryWait)
	}
}

func (c *Cluster) launchOnce(ctx context.Context, mayMove bool, compression string) (*pgx.Conn, error) {
	port, err := c.choosePort(ctx, mayMove)
	if err != nil {
		return nil, err
	}
	if err := c.keepPort(port); err != nil {
		return nil, err
	}
	if err := c.place.writeSettings(port, compression, c.cfg); err != nil {
		return nil, err
	}
	logged := c.place.logSize()
	s, err := c.place.spawn(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.place.awaitAnswer(ctx, s, c.maintenance(port), c.cfg.AnswerTimeout)
	if err != nil {
		err = errors.Join(err, s.stop(ctx, c.cfg.StopTimeout))
		return nil, c.explain(ctx, err, port, logged)
	}
	c.setCurrent(s)
	c.cfg.Log.InfoContext(ctx, "postgresql started", "folder", c.place.dir, "port", port, "pid", s.pid)
	return conn, nil
}

// maintenance is the connection string by which this package itself looks in.
func (c *Cluster) maintenance(port int) string {
	return dsn(Superuser, c.Password(Superuser), port, maintenanceDatabase)
}

// choosePort returns the last port, or a new one if that is taken and nobody relies on it.
func (c *Cluster) choosePort(ctx context.Context, mayMove bool) (int, error) {
	last := c.state.Port
	if last != 0 && loopback.IsFree(ctx, last) {
		return last, nil
	}
	if last != 0 && !mayMove {
		return 0, fmt.Errorf("%w: %d", ErrPortTaken, last)
	}
	return loopback.FreePort(ctx)
}

// explain adds the server's own words to the error of a start, and marks a port that was snatched away as worth another try.
func (c *Cluster) explain(ctx context.Context, err error, port int, logged int64) error {
	err = fmt.Errorf("start postgres on port %d: %w: %s", port, err, c.place.logTail(logged))
	if !loopback.IsFree(ctx, port) {
		return fmt.Errorf("%w: %w", errRetry, err)
	}
	return err
}

// keepPort remembers the port for the next start. Once connection strings were given out it can't change any more.
func (c *Cluster) keepPort(port int) error {
	if c.state.Port == port {
		return nil
	}
	if c.port != 0 {
		return fmt.Errorf("%w: it was on port %d and is on %d", errMoved, c.port, port)
	}
	c.state.Port = port
	return c.state.save(c.cfg.DataDir)
}
