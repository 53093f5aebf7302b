// Package filelock gives advisory locks on files (flock) to processes that share a data folder.
//
// The invariant: the kernel drops a lock when the last process that holds its descriptor ends, however it ends. So a lock that can be had proves that
// its last owner is gone, which a stored process id never does.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Mode says whether several may hold the lock at once.
type Mode int

const (
	// Shared admits other shared holders.
	Shared Mode = unix.LOCK_SH
	// Exclusive admits nobody else.
	Exclusive Mode = unix.LOCK_EX

	poll = 20 * time.Millisecond

	fileMode = os.FileMode(0o600)
)

// Lock is a file that may be locked. Opening it twice gives two locks that exclude each other, within one process too.
type Lock struct{ file *os.File }

// Open opens the file, or makes it; it does not lock it. A symbolic link in its place is refused.
func Open(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return &Lock{file: file}, nil
}

// Try takes the lock unless somebody else is in the way. A lock that is already held changes its mode; it is lost if that fails.
func (l *Lock) Try(mode Mode) (bool, error) {
	err := unix.Flock(int(l.file.Fd()), int(mode)|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", l.file.Name(), err)
	}
	return true, nil
}

// Take waits for the lock until ctx ends.
func (l *Lock) Take(ctx context.Context, mode Mode) error {
	// A blocked flock would not hear of ctx.
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		ok, err := l.Try(mode)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for lock %s: %w", l.file.Name(), context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// Unlock gives the lock back; the file stays open.
func (l *Lock) Unlock() {
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN) // fails only for a closed file, which holds no lock
}

// Close gives the lock back and closes the file.
func (l *Lock) Close() {
	// Unlocking first matters: a child that is being forked at this moment still holds a copy of the descriptor.
	l.Unlock()
	_ = l.file.Close()
}

// File returns the open file, to read, to write, or to hand to a child, which then holds the same lock.
func (l *Lock) File() *os.File { return l.file }

// Bequeath closes the file but leaves the lock to the children that inherited it.
func (l *Lock) Bequeath() {
	_ = l.file.Close()
}
