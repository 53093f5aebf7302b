package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/pgembed/filelock"
	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	lockName      = "redis.lock"
	recordPattern = "redis-*.json"

	passwordBytes = 32
	suffixBytes   = 4

	orphanTimeout = 3 * time.Second
	orphanPoll    = 20 * time.Millisecond

	// dataDirMode lets the user of an embedded PostgreSQL pass through a folder that root made; what lies in it is private by its own mode.
	dataDirMode = os.FileMode(0o711)
)

// address is how to reach an embedded server, as stored in its record.
type address struct {
	Port     int    `json:"port"`
	Password string `json:"password"`
}

func (a address) options() *redis.Options {
	return &redis.Options{Addr: loopback.Addr(a.Port), Password: a.Password}
}

// record is the file that names one embedded server. Its lock says that the server's Archon lives; one that nobody locks names an orphan.
type record struct {
	path string
	lock *filelock.Lock
}

// newRecord shuts orphans of the data folder down and enters a server of ours.
func newRecord(ctx context.Context, cfg Config) (*record, error) {
	if err := os.MkdirAll(cfg.DataDir, dataDirMode); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	// Without this lock, another process could take a record that is not locked yet for an orphan's.
	all, err := filelock.Open(filepath.Join(cfg.DataDir, lockName))
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := all.Take(ctx, filelock.Exclusive); err != nil {
		return nil, err
	}
	sweep(ctx, cfg)
	path := filepath.Join(cfg.DataDir, "redis-"+strconv.Itoa(os.Getpid())+"-"+randomHex(suffixBytes)+".json")
	lock, err := filelock.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := lock.Try(filelock.Exclusive); err != nil {
		lock.Close()
		return nil, err
	}
	return &record{path: path, lock: lock}, nil
}

// write stores where the server is going to be. It comes before the server, so that no orphan goes unnamed.
func (r *record) write(a address) error {
	raw, err := json.Marshal(a) //nolint:gosec // G117: the record is private and is what an orphan is ended with
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	file := r.lock.File()
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if _, err := file.WriteAt(raw, 0); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// remove forgets the server.
func (r *record) remove() error {
	defer r.lock.Close()
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove record: %w", err)
	}
	return nil
}

// sweep shuts down the servers that killed Archons left in this data folder.
func sweep(ctx context.Context, cfg Config) {
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		cfg.Log.WarnContext(ctx, "orphaned redis-servers could not be looked for", "error", err)
		return
	}
	for _, entry := range entries {
		if ok, err := filepath.Match(recordPattern, entry.Name()); err != nil || !ok {
			continue
		}
		if err := sweepOne(ctx, cfg.Log, filepath.Join(cfg.DataDir, entry.Name())); err != nil {
			cfg.Log.WarnContext(ctx, "orphaned redis-server could not be shut down", "record", entry.Name(), "error", err)
		}
	}
}

func sweepOne(ctx context.Context, log *slog.Logger, path string) error {
	lock, err := filelock.Open(path)
	if err != nil {
		return err
	}
	orphaned, err := lock.Try(filelock.Exclusive)
	if err != nil || !orphaned {
		lock.Close()
		return err
	}
	r := &record{path: path, lock: lock}
	var a address
	if err := json.NewDecoder(lock.File()).Decode(&a); err != nil {
		// Cut off before its server was started: there is none.
		return r.remove()
	}
	if err := shutDown(ctx, log, a); err != nil {
		lock.Close() // the record stays, for the next start to try again
		return err
	}
	return r.remove()
}

// shutDown ends the server at the address if the password shows that it is the one; a stranger on the same port is left alone. It returns nil when the server
// is gone.
func shutDown(ctx context.Context, log *slog.Logger, a address) error {
	ctx, cancel := context.WithTimeout(ctx, orphanTimeout)
	defer cancel()
	client := newClient(a.options())
	defer func() { _ = client.Close() }()
	for {
		err := ask(ctx, client)
		if isTimeout(err) {
			return fmt.Errorf("reach redis-server on port %d: %w", a.Port, err)
		}
		if err != nil {
			return nil // refused, or not our password: ours is gone
		}
		log.InfoContext(ctx, "orphaned redis-server is shut down", "port", a.Port)
		_ = client.ShutdownNoSave(ctx).Err() // the next ping tells
		if err := pause(ctx, orphanPoll); err != nil {
			return err
		}
	}
}

// ask pings a server that may well be away. It knocks first, since the client writes a line about each refused connection.
func ask(ctx context.Context, client *redis.Client) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return err
	}
	return errors.Join(conn.Close(), client.Ping(ctx).Err())
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || (errors.As(err, &network) && network.Timeout())
}

// pause waits, or returns the cause for which ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
