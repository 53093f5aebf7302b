package secrets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Names below the directory of an [Embedded] store.
const (
	secretsDir = "secrets"
	locksDir   = "locks"
	trashDir   = "trash"

	// leafMark ends the name of a folder that holds a secret's versions, so that "a" can be a secret and a folder.
	leafMark = "@"
	// liveSuffix and goneSuffix end the name of a version's file: its ciphertext, or the fact that it was destroyed.
	liveSuffix = ".age"
	goneSuffix = ".gone"
	// tempPrefix begins the name of a file that is being written. It lies in the secret's own folder, so that
	// destroying the secret takes it along, and whoever holds the lock may remove one that a killed process left.
	tempPrefix = ".tmp-"

	dirMode  = 0o700
	fileMode = 0o600

	// maxFileBytes is more than a value of [MaxValueBytes] can grow to when written as JSON (6 times) and encrypted.
	maxFileBytes = 8*MaxValueBytes + 4096
)

func (e *Embedded) secretDir(path string) string {
	return filepath.Join(e.dir, secretsDir, filepath.FromSlash(path)) + leafMark
}

func versionFile(dir string, version int) string {
	return filepath.Join(dir, fmt.Sprintf("%010d", version)+liveSuffix)
}

func goneFile(dir string, version int) string {
	return filepath.Join(dir, fmt.Sprintf("%010d", version)+goneSuffix)
}

// versions is what the folder of one secret holds.
type versions struct {
	// newest is the highest number given so far, 0 if the secret is not there.
	newest     int
	live, gone map[int]bool
	temps      []string
}

// readable tells whether a version has a value that may be shown. Where both files are there, a process was killed
// while destroying the version: it is gone.
func (v versions) readable(version int) bool {
	return v.live[version] && !v.gone[version] && version > v.newest-KeptVersions
}

func readVersions(dir string) (versions, error) {
	found := versions{live: map[int]bool{}, gone: map[int]bool{}}

	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}

	if err != nil {
		return found, fmt.Errorf("read versions: %w", err)
	}

	for _, entry := range entries {
		found.add(dir, entry.Name())
	}

	return found, nil
}

func (v *versions) add(dir, name string) {
	if strings.HasPrefix(name, tempPrefix) {
		v.temps = append(v.temps, filepath.Join(dir, name))

		return
	}

	seen := v.live

	digits, found := strings.CutSuffix(name, liveSuffix)
	if !found {
		seen = v.gone
		digits, found = strings.CutSuffix(name, goneSuffix)
	}

	number, err := strconv.Atoi(digits)
	if !found || err != nil || number <= 0 {
		return // not ours
	}

	v.newest = max(v.newest, number)
	seen[number] = true
}

// destroy marks a version as gone before it removes the value, so that a kill in between leaves it destroyed.
func (v versions) destroy(dir string, version int) error {
	if !v.live[version] {
		return nil
	}

	if !v.gone[version] {
		if err := createFile(goneFile(dir, version), nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}

	for _, name := range append(v.temps, versionFile(dir, version)) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove destroyed version: %w", err)
		}
	}

	return syncDir(dir)
}

// prune removes, after version newest was written, what is too old to be kept and what killed processes left.
func prune(dir string, old versions, newest int) {
	stale := old.temps

	for number := range old.live {
		if number <= newest-KeptVersions || old.gone[number] {
			stale = append(stale, versionFile(dir, number))
		}
	}

	for number := range old.gone {
		if number <= newest-KeptVersions {
			stale = append(stale, goneFile(dir, number))
		}
	}

	for _, name := range stale {
		_ = os.Remove(name) // the next write tries again
	}
}

// listNames returns the secrets and the non-empty folders in dir.
func listNames(ctx context.Context, dir string) ([]string, error) {
	entries, err := readDirIfThere(dir)
	if err != nil {
		return nil, err
	}

	names := []string{}

	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}

		name, isLeaf := strings.CutSuffix(entry.Name(), leafMark)
		if !isLeaf {
			name += "/"
		}

		there, err := holdsSecrets(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}

		if there {
			names = append(names, name)
		}
	}

	return names, nil
}

// holdsSecrets tells whether a secret's folder has versions, or a plain folder has such a folder below it. Folders
// stay behind when their last secret is destroyed.
func holdsSecrets(dir string) (bool, error) {
	if strings.HasSuffix(dir, leafMark) {
		found, err := readVersions(dir)

		return found.newest > 0, err
	}

	entries, err := readDirIfThere(dir)
	if err != nil {
		return false, err
	}

	for _, entry := range entries {
		there, err := holdsSecrets(filepath.Join(dir, entry.Name()))
		if there || err != nil {
			return there, err
		}
	}

	return false, nil
}

func readDirIfThere(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}

	return entries, nil
}

// moveToTrash takes a secret's folder out of the store in one step.
func (e *Embedded) moveToTrash(dir string) error {
	err := os.Rename(dir, filepath.Join(e.dir, trashDir, rand.Text()))
	if err == nil {
		return syncDir(filepath.Dir(dir))
	}

	if isMissing(dir) {
		return nil // nothing to destroy
	}

	return fmt.Errorf("move to trash: %w", err)
}

// emptyTrash removes what this and other, killed processes destroyed. Several may be at it at once.
func (e *Embedded) emptyTrash() error {
	trash := filepath.Join(e.dir, trashDir)

	entries, err := os.ReadDir(trash)
	if err != nil {
		return fmt.Errorf("read trash: %w", err)
	}

	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(trash, entry.Name())); err != nil {
			return fmt.Errorf("empty trash: %w", err)
		}
	}

	return syncDir(trash)
}
