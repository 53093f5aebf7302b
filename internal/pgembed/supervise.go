package pgembed

import (
	"context"
	"time"

	"github.com/archonhq/archon/internal/pgembed/filelock"
)

const (
	// calmAfter is how long a server must have lived for its death to count as a new trouble, not as more of the last.
	calmAfter = 30 * time.Second
	logCheck  = time.Minute
)

// supervise restarts the server whenever it dies, and keeps its log short, until ctx ends.
func (c *Cluster) supervise(ctx context.Context) {
	defer close(c.supervised)
	logs := time.NewTicker(logCheck)
	defer logs.Stop()
	wait := firstRetryWait
	for {
		s := c.current()
		select {
		case <-ctx.Done():
			return
		case <-logs.C:
			c.trimLog(ctx)
		case <-s.ended:
			if time.Since(s.since) > calmAfter {
				wait = firstRetryWait
			}
			c.cfg.Log.WarnContext(ctx, "postgresql died and is restarted", "pid", s.pid)
			wait = c.revive(ctx, wait)
		}
	}
}

// revive tries until the server is back or ctx ends, and returns how long to wait should it die again.
func (c *Cluster) revive(ctx context.Context, wait time.Duration) time.Duration {
	for pause(ctx, wait) == nil {
		wait = min(2*wait, maxRetryWait)
		err := c.restart(ctx)
		if err == nil {
			break
		}
		c.cfg.Log.ErrorContext(ctx, "postgresql could not be restarted", "error", err)
	}
	return wait
}

// restart brings the server back on its port; another process that shares the data folder may have been faster.
func (c *Cluster) restart(ctx context.Context) error {
	if err := c.starting.Take(ctx, filelock.Exclusive); err != nil {
		return err
	}
	defer c.starting.Unlock()
	conn, adopted, err := c.adopt(ctx)
	if err != nil {
		return err
	}
	if adopted {
		go c.current().watch(ctx)
		return conn.Close(ctx)
	}
	if conn, err = c.launch(ctx, false); err != nil {
		return err
	}
	return conn.Close(ctx)
}

// trimLog leaves the work to another process if one is at it.
func (c *Cluster) trimLog(ctx context.Context) {
	ok, err := c.starting.Try(filelock.Exclusive)
	if err == nil && ok {
		defer c.starting.Unlock()
		err = c.place.boundLog(logLimitBytes)
	}
	if err != nil {
		c.cfg.Log.WarnContext(ctx, "postgresql log could not be trimmed", "error", err)
	}
}
