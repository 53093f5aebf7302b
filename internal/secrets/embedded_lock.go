package secrets

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockStripes is how many writers of different paths may work at once (and how many lock files there are).
	lockStripes = 64
	// lockWait bounds the wait for a writer in another process that was stopped in the middle of its few milliseconds.
	lockWait = 10 * time.Second
)

// pathLocks lets one writer at a time at a path, over all processes. The kernel drops a killed process's locks.
type pathLocks struct {
	dir string
	// held is taken before the file's lock: at most one thread a stripe waits in the kernel.
	held [lockStripes]chan struct{}
}

func newPathLocks(dir string) *pathLocks {
	locks := &pathLocks{dir: dir}
	for i := range locks.held {
		locks.held[i] = make(chan struct{}, 1)
	}

	return locks
}

// lock waits for the path's lock until ctx ends or lockWait is over, and returns what gives it back.
func (l *pathLocks) lock(ctx context.Context, path string) (unlock func(), err error) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(path)) // never fails
	stripe := hash.Sum32() % lockStripes

	waitCtx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()

	select {
	case l.held[stripe] <- struct{}{}:
	case <-waitCtx.Done():
		return nil, lockError(ctx)
	}

	file, err := os.OpenFile(filepath.Join(l.dir, fmt.Sprintf("%02d.lock", stripe)), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		<-l.held[stripe]

		return nil, fmt.Errorf("open lock: %w", err)
	}

	release := func() {
		_ = file.Close() // which drops the lock
		<-l.held[stripe]
	}

	got := make(chan error, 1)
	go func() { got <- flock(file) }()

	select {
	case err = <-got:
	case <-waitCtx.Done():
		go func() {
			<-got //nolint:errcheck // either way the file is closed, which drops the lock if it came
			release()
		}()

		return nil, lockError(ctx)
	}

	if err != nil {
		release()

		return nil, fmt.Errorf("lock: %w", err)
	}

	return release, nil
}

// lockError tells a caller who went away from a lock that did not come.
func lockError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	return fmt.Errorf("%w: another process has held a lock for %s", ErrUnavailable, lockWait)
}

func flock(file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
