package pgembed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/archonhq/archon/internal/pgembed/filelock"
)

const (
	leaseFile     = "postgres.lock"
	startLockFile = "postgres.startlock"
)

// Cluster is a running server that this process holds a lease on. All methods may be called from any goroutine.
type Cluster struct {
	cfg     Config
	place   place
	state   *state
	adopted bool
	// port is set once Start has succeeded; connection strings carry it.
	port int

	// starting guards making, starting and stopping among processes; lease says that this one uses the server.
	starting *filelock.Lock
	lease    *filelock.Lock

	mu     sync.Mutex
	server *server

	// cancel ends the supervisor, which then closes supervised.
	cancel     context.CancelFunc
	supervised chan struct{}

	leave    sync.Once
	leaveErr error
}

// Start returns the data folder's cluster, up and with its database in place. It makes the cluster on the first run, adopts a live server of this
// folder (another process's, or the orphan of one that was killed), and otherwise starts one. The end of ctx aborts the start but means
// nothing later. Give the cluster back with Release or Leave.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, supervised: make(chan struct{})}
	if err := c.start(ctx); err != nil {
		c.closeLocks()
		return nil, fmt.Errorf("start PostgreSQL for %s: %w", cfg.DataDir, err)
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	if c.adopted {
		go c.server.watch(background)
	}
	go c.supervise(background)
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	var err error
	if c.starting, err = filelock.Open(filepath.Join(c.cfg.DataDir, startLockFile)); err != nil {
		return err
	}
	if c.lease, err = filelock.Open(filepath.Join(c.cfg.DataDir, leaseFile)); err != nil {
		return err
	}
	if err := c.starting.Take(ctx, filelock.Exclusive); err != nil {
		return err
	}
	defer c.starting.Unlock()
	alone, err := c.lease.Try(filelock.Exclusive)
	if err != nil {
		return err
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	// Other processes hold connection strings with the port in them: only who is alone may move the server.
	if err := c.bringUp(ctx, alone); err != nil {
		return err
	}
	// Nobody can be in the way: exclusive leases are taken under the start lock only.
	return c.lease.Take(ctx, filelock.Shared)
}

// prepare finds or makes the cluster.
func (c *Cluster) prepare(ctx context.Context) error {
	var err error
	if c.state, err = loadState(c.cfg.DataDir); err != nil {
		return err
	}
	if c.place, err = locate(ctx, c.cfg, c.state); err != nil {
		return err
	}
	if !c.place.fresh {
		return nil
	}
	// The key must be on disk before the first password is derived from it, and the name before there is a folder of it.
	if err := c.state.save(c.cfg.DataDir); err != nil {
		return err
	}
	if err := c.place.create(ctx, c.state.password(Superuser)); err != nil {
		return err
	}
	c.cfg.Log.InfoContext(ctx, "postgresql cluster created", "folder", c.place.dir, "version", c.place.major)
	return nil
}

// OwnerDSN returns the connection string of the superuser.
func (c *Cluster) OwnerDSN() string { return c.DSN(Superuser) }

// DSN returns the connection string of a login role whose password is Password(role). Making the role is the caller's business.
func (c *Cluster) DSN(role string) string {
	return dsn(role, c.Password(role), c.port, Database)
}

// Password returns the password that a role is to have in this cluster: random, and the same each time for as long as the data folder lives.
func (c *Cluster) Password(role string) string { return c.state.password(role) }

// Dir returns the cluster's folder, which also holds server.log.
func (c *Cluster) Dir() string { return c.place.dir }

// Version returns the major version of PostgreSQL, such as 16.
func (c *Cluster) Version() int { return c.place.major }

// Adopted tells whether Start found the server running.
func (c *Cluster) Adopted() bool { return c.adopted }

// Done returns a channel that is closed when the server process that runs now dies. The server is restarted by itself; the next call then returns the
// channel of the new process.
func (c *Cluster) Done() <-chan struct{} {
	return c.current().ended
}

func (c *Cluster) current() *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

func (c *Cluster) setCurrent(s *server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = s
}

// Release gives the lease back and, if it was the last one, stops the server: quickly, and by force when ctx ends or Config.StopTimeout has passed. A
// second call, also after Leave, does nothing and returns what the first one did.
func (c *Cluster) Release(ctx context.Context) error {
	c.leave.Do(func() { c.leaveErr = c.release(ctx, false) })
	return c.leaveErr
}

// Leave gives the lease back and leaves the server running, for the next process to adopt. After Release it does nothing.
func (c *Cluster) Leave() error {
	c.leave.Do(func() {
		c.endSupervision()
		c.closeLocks()
	})
	return c.leaveErr
}

// Remove is Release for a cluster that nobody needs any more: it also deletes it, data, passwords and all, wherever it lies. While other processes hold a lease
// it deletes nothing and returns ErrInUse.
func (c *Cluster) Remove(ctx context.Context) error {
	c.leave.Do(func() { c.leaveErr = c.release(ctx, true) })
	return c.leaveErr
}

func (c *Cluster) release(ctx context.Context, remove bool) error {
	c.endSupervision()
	defer c.closeLocks()
	if err := c.starting.Take(ctx, filelock.Exclusive); err != nil {
		return fmt.Errorf("release PostgreSQL: %w", err)
	}
	last, err := c.lease.Try(filelock.Exclusive)
	switch {
	case err != nil:
		return err
	case !last && remove:
		return ErrInUse
	case !last:
		return nil
	}
	if err := c.stopServer(ctx); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	c.cfg.Log.InfoContext(ctx, "postgresql stopped", "folder", c.place.dir)
	if !remove {
		return nil
	}
	// The key last: without it, what is left could not be opened, nor made anew.
	if err := os.RemoveAll(c.place.dir); err != nil {
		return fmt.Errorf("remove the cluster: %w", err)
	}
	return os.Remove(filepath.Join(c.cfg.DataDir, stateFile))
}

func (c *Cluster) stopServer(ctx context.Context) error {
	s := c.current()
	if !s.alive() {
		// Another process, gone by now, may have restarted it while our supervisor was on its way out.
		found, _, err := c.place.find()
		if err != nil || found == nil {
			return err
		}
		s = found
	}
	return s.stop(ctx, c.cfg.StopTimeout)
}

func (c *Cluster) endSupervision() {
	c.cancel()
	<-c.supervised
}

func (c *Cluster) closeLocks() {
	for _, lock := range []*filelock.Lock{c.lease, c.starting} {
		if lock != nil {
			lock.Close()
		}
	}
}
