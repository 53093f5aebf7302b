package pgembed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	pidFile = "postmaster.pid"

	// The lines of postmaster.pid, by PostgreSQL's pidfile.h, counted from 0.
	pidLine  = 0
	portLine = 3
)

// pidRecord is what postmaster.pid says about the server.
type pidRecord struct {
	pid int
	// port is 0 where the file does not say.
	port int
}

// readPidFile returns ok = false where there is no file or a torn one.
func readPidFile(dir string) (record pidRecord, ok bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, pidFile))
	if errors.Is(err, fs.ErrNotExist) {
		return pidRecord{}, false, nil
	}
	if err != nil {
		return pidRecord{}, false, fmt.Errorf("read the server's pid file: %w", err)
	}
	record, ok = parsePidFile(string(raw))
	return record, ok, nil
}

func parsePidFile(text string) (pidRecord, bool) {
	lines := strings.Split(text, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[pidLine]))
	if err != nil {
		return pidRecord{}, false
	}
	// A negative number marks a server in single-user mode.
	record := pidRecord{pid: max(pid, -pid)}
	if record.pid <= 1 {
		return pidRecord{}, false
	}
	if len(lines) > portLine {
		record.port, _ = strconv.Atoi(strings.TrimSpace(lines[portLine]))
	}
	return record, true
}

// removeStalePidFile removes a pid file that names a process which is not our server. PostgreSQL itself sees through a dead process, but refuses
// to start while the number belongs to any process of its user's, after a crash of the machine for instance. The caller holds the guard.
func removeStalePidFile(dir string) error {
	err := os.Remove(filepath.Join(dir, pidFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale pid file: %w", err)
	}
	return nil
}
