package filelock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/archonhq/archon/internal/pgembed/filelock"
)

func TestExclusiveExcludesAndWaitingIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	one, two := open(t, path), open(t, path)
	if err := one.Take(t.Context(), filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []filelock.Mode{filelock.Shared, filelock.Exclusive} {
		if ok, err := two.Try(mode); ok || err != nil {
			t.Fatalf("mode %d beside an exclusive holder: %v, %v", mode, ok, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := two.Take(short, filelock.Exclusive); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	one.Unlock()
	if err := two.Take(t.Context(), filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
}

func TestSharedHoldersKeepAnExclusiveOneOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	one, two, three := open(t, path), open(t, path), open(t, path)
	for _, lock := range []*filelock.Lock{one, two} {
		if ok, err := lock.Try(filelock.Shared); !ok || err != nil {
			t.Fatalf("shared: %v, %v", ok, err)
		}
	}
	one.Close()
	if ok, err := three.Try(filelock.Exclusive); ok || err != nil {
		t.Fatalf("exclusive beside a shared holder: %v, %v", ok, err)
	}
	two.Close()
	if ok, err := three.Try(filelock.Exclusive); !ok || err != nil {
		t.Fatalf("exclusive alone: %v, %v", ok, err)
	}
}

func TestBequeathedLockLivesAsLongAsTheHeir(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	ours, other := open(t, path), open(t, path)
	if ok, err := ours.Try(filelock.Exclusive); !ok || err != nil {
		t.Fatalf("take: %v, %v", ok, err)
	}
	heir := exec.CommandContext(t.Context(), "sleep", "600")
	heir.ExtraFiles = []*os.File{ours.File()}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	ours.Bequeath()
	if ok, err := other.Try(filelock.Exclusive); ok || err != nil {
		t.Errorf("the heir lives, but the lock was free: %v, %v", ok, err)
	}
	if err := heir.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = heir.Wait() // it was killed
	if ok, err := other.Try(filelock.Exclusive); !ok || err != nil {
		t.Errorf("the heir is gone, but the lock is held: %v, %v", ok, err)
	}
}

func TestOpenRefusesALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), path); err != nil {
		t.Fatal(err)
	}
	if lock, err := filelock.Open(path); err == nil {
		lock.Close()
		t.Error("followed a link")
	}
}

func TestAClosedLockReportsItsError(t *testing.T) {
	t.Parallel()
	lock := open(t, filepath.Join(t.TempDir(), "lock"))
	lock.Close()
	if err := lock.Take(t.Context(), filelock.Exclusive); err == nil {
		t.Error("locked a closed file")
	}
}

func open(t *testing.T, path string) *filelock.Lock {
	t.Helper()
	lock, err := filelock.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.Close)
	return lock
}
