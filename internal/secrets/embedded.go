package secrets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"

	"filippo.io/age"
)

// Embedded is a [Store] of age-encrypted files below one directory, for a node without Vault. Any number of processes
// may use the directory at once, and any of them may be killed at any instruction: a call that returned has happened
// and survives a power cut, one that did not has either happened or not.
//
// The encryption protects copies of the directory that are made without its identity file (backups, a shared disk);
// who can read the identity can read the secrets. Reads go to the files each time, so what one process destroys, no
// other can read from then on. Destroyed files are unlinked, not overwritten: snapshots and the medium may keep them.
//
//	<dir>/identity.age-key               X25519 identity, mode 0600; losing it loses the secrets
//	<dir>/secrets/a/b@/0000000003.age    version 3 of path "a/b" ("@" occurs in no path)
//	<dir>/secrets/a/b@/0000000002.gone   version 2 of it, destroyed
//	<dir>/locks/07.lock                  flock(2) of the writers of 1/64 of the paths; empty
//	<dir>/trash/                         what Destroy is just removing
type Embedded struct {
	dir      string
	identity *age.X25519Identity
	locks    *pathLocks
	closed   atomic.Bool
}

var _ Store = (*Embedded)(nil)

// OpenEmbedded opens the store in dir, and makes both if they are not there. It refuses a directory that holds
// secrets but no identity (making a new one would bury them), and an identity that others may read.
func OpenEmbedded(dir string) (*Embedded, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open secret store: %w", err)
	}

	for _, sub := range []string{"", secretsDir, locksDir, trashDir} {
		if err := makeDirs(filepath.Join(dir, sub)); err != nil {
			return nil, fmt.Errorf("open secret store: %w", err)
		}
	}

	identity, err := loadIdentity(dir)
	if err != nil {
		return nil, fmt.Errorf("open secret store: %w", err)
	}

	store := &Embedded{dir: dir, identity: identity, locks: newPathLocks(filepath.Join(dir, locksDir))}
	if err := store.emptyTrash(); err != nil {
		return nil, fmt.Errorf("open secret store: %w", err)
	}

	return store, nil
}

// Put implements [Store].
func (e *Embedded) Put(ctx context.Context, path string, value map[string]string) (int, error) {
	return e.put(ctx, path, value, nil)
}

// PutIfVersion implements [Store].
func (e *Embedded) PutIfVersion(ctx context.Context, path string, expected int, value map[string]string) (int, error) {
	if err := validateVersion(expected); err != nil {
		return 0, fmt.Errorf("put secret: %w", err)
	}

	return e.put(ctx, path, value, &expected)
}

func (e *Embedded) put(ctx context.Context, path string, value map[string]string, expected *int) (int, error) {
	if err := validatePut(path, value); err != nil {
		return 0, fmt.Errorf("put secret: %w", err)
	}

	version := 0
	err := e.locked(ctx, path, func(dir string) error {
		versions, err := readVersions(dir)
		if err != nil {
			return err
		}

		if expected != nil && *expected != versions.newest {
			return fmt.Errorf("%w: it is %d, not %d", ErrVersionMismatch, versions.newest, *expected)
		}

		if versions.newest == math.MaxInt32 {
			return fmt.Errorf("%w: the path has no version numbers left", ErrInvalid)
		}

		version = versions.newest + 1

		return e.writeVersion(dir, path, version, value, versions)
	})
	if err != nil {
		return 0, fmt.Errorf("put secret %s: %w", path, err)
	}

	return version, nil
}

// writeVersion runs under the path's lock. A failure to prune afterwards must not make a written version look
// unwritten, so pruning is left to the next write.
func (e *Embedded) writeVersion(dir, path string, version int, value map[string]string, old versions) error {
	sealed, err := e.encrypt(record{Path: path, Version: version, Value: value})
	if err != nil {
		return err
	}

	if old.newest == 0 {
		// A version is only as durable as the folders above it, which a process may have made and not lived to sync.
		if err := makeDirs(dir); err != nil {
			return err
		}

		if err := syncUpTo(dir, e.dir); err != nil {
			return err
		}
	}

	if err := createFile(versionFile(dir, version), sealed); err != nil {
		if errors.Is(err, fs.ErrExist) { // somebody wrote without the lock (a file system without flock)
			return fmt.Errorf("%w: version %d was written at the same time", ErrVersionMismatch, version)
		}

		return err
	}

	prune(dir, old, version)

	return nil
}

// Get implements [Store].
func (e *Embedded) Get(ctx context.Context, path string, version int) (map[string]string, int, error) {
	value, version, err := e.get(ctx, path, version)
	if err != nil {
		return nil, 0, fmt.Errorf("get secret %s: %w", path, err)
	}

	return value, version, nil
}

func (e *Embedded) get(ctx context.Context, path string, version int) (map[string]string, int, error) {
	if err := e.ready(ctx); err != nil {
		return nil, 0, err
	}

	if err := validateGet(path, version); err != nil {
		return nil, 0, err
	}

	dir := e.secretDir(path)

	versions, err := readVersions(dir)
	if err != nil {
		return nil, 0, unavailable(err)
	}

	if version == 0 {
		version = versions.newest
	}

	if !versions.readable(version) {
		return nil, 0, ErrNotFound
	}

	sealed, err := readSmallFile(versionFile(dir, version))
	if errors.Is(err, fs.ErrNotExist) { // destroyed between the two looks
		return nil, 0, ErrNotFound
	}

	if err != nil {
		return nil, 0, unavailable(err)
	}

	value, err := e.decrypt(sealed, path, version)

	return value, version, err
}

// Destroy implements [Store]. The rename takes all versions away at once, so no moment shows an older one as newest.
func (e *Embedded) Destroy(ctx context.Context, path string) error {
	if err := ValidatePath(path); err != nil {
		return fmt.Errorf("destroy secret: %w", err)
	}

	err := e.locked(ctx, path, func(dir string) error {
		if err := e.moveToTrash(dir); err != nil {
			return err
		}

		// Also where nothing was moved: a process that was killed here before may have left something.
		return e.emptyTrash()
	})
	if err != nil {
		return fmt.Errorf("destroy secret %s: %w", path, err)
	}

	return nil
}

// DestroyVersions implements [Store].
func (e *Embedded) DestroyVersions(ctx context.Context, path string, versions ...int) error {
	if err := validateDestroyVersions(path, versions); err != nil {
		return fmt.Errorf("destroy versions of secret: %w", err)
	}

	err := e.locked(ctx, path, func(dir string) error {
		present, err := readVersions(dir)
		if err != nil {
			return err
		}

		for _, version := range versions {
			if err := present.destroy(dir, version); err != nil {
				return err
			}
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("destroy versions of secret %s: %w", path, err)
	}

	return nil
}

// List implements [Store].
func (e *Embedded) List(ctx context.Context, prefix string) ([]string, error) {
	if err := e.ready(ctx); err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}

	prefix, err := cleanPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}

	names, err := listNames(ctx, filepath.Join(e.dir, secretsDir, filepath.FromSlash(prefix)))
	if err != nil {
		return nil, fmt.Errorf("list secrets below %q: %w", prefix, unavailable(err))
	}

	slices.Sort(names)

	return names, nil
}

// Check implements [Store]: the identity on disk is still the one that this process uses.
func (e *Embedded) Check(ctx context.Context) error {
	if err := e.ready(ctx); err != nil {
		return fmt.Errorf("check secret store: %w", err)
	}

	identity, err := readIdentity(identityPath(e.dir))
	if err != nil {
		return fmt.Errorf("check secret store: %w", unavailable(err))
	}

	if identity.String() != e.identity.String() {
		return fmt.Errorf("check secret store: %w: its identity was replaced", ErrUnavailable)
	}

	return nil
}

// Kind implements [Store].
func (*Embedded) Kind() string { return KindEmbedded }

// Close implements [Store].
func (e *Embedded) Close() error {
	e.closed.Store(true)

	return nil
}

func (e *Embedded) ready(ctx context.Context) error {
	if e.closed.Load() {
		return fmt.Errorf("%w: it is closed", ErrUnavailable)
	}

	return ctx.Err()
}

// locked runs change with the folder of path, under the path's lock over all processes.
func (e *Embedded) locked(ctx context.Context, path string, change func(dir string) error) error {
	if err := e.ready(ctx); err != nil {
		return err
	}

	unlock, err := e.locks.lock(ctx, path)
	if err != nil {
		return unavailable(err)
	}
	defer unlock()

	return unavailable(change(e.secretDir(path)))
}

// unavailable marks a fault of the file system, and leaves alone what has a meaning already.
func unavailable(err error) error {
	if err == nil {
		return nil
	}

	for _, known := range []error{
		ErrNotFound, ErrVersionMismatch, ErrUnavailable, ErrInvalid, ErrCorrupt, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return err
		}
	}

	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
