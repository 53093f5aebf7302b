package secrets

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// createFile writes a file that is there whole or not at all, also after a power cut, and fails with fs.ErrExist if
// the name is taken: of two processes, one gets it.
func createFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	temp := filepath.Join(dir, tempPrefix+rand.Text())

	err := writeSynced(temp, content)
	if err == nil {
		err = os.Link(temp, name)
	}

	if removeErr := os.Remove(temp); err == nil && removeErr != nil {
		err = removeErr
	}

	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}

	return syncDir(dir)
}

func writeSynced(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}

	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}

	return errors.Join(err, file.Close())
}

// readSmallFile refuses to read what this package cannot have written.
func readSmallFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer file.Close()

	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}

	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("%w: the file is larger than %d bytes", ErrCorrupt, maxFileBytes)
	}

	return content, nil
}

func makeDirs(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}

	return nil
}

// syncDir makes the names in dir durable; without it a file may be safe and its name not.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}

	err = errors.Join(file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}

	return nil
}

// syncUpTo makes the names of dir and of the folders above it durable, up to those in root.
func syncUpTo(dir, root string) error {
	for dir != root {
		dir = filepath.Dir(dir)
		if err := syncDir(dir); err != nil {
			return err
		}
	}

	return nil
}

// isMissing tells whether there is no such file; any other doubt counts as there.
func isMissing(name string) bool {
	_, err := os.Lstat(name)

	return errors.Is(err, fs.ErrNotExist)
}
