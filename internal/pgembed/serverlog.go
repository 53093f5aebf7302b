package pgembed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	logFile = "server.log"
	// logLimitBytes is where server.log is cut; what it held is then in server.log.1.
	logLimitBytes = 16 << 20
	// logTailBytes of the log go into the error of a server that does not start.
	logTailBytes = 2 << 10

	// noFollow guards files that a program which may be root opens in a folder of the server's user, who could put links there.
	noFollow = syscall.O_NOFOLLOW
)

// openLog opens the log for the server to append to, as a file that the server's user owns: it lies in the cluster, and recovery opens every file there.
func openLog(p place) (*os.File, error) {
	path := filepath.Join(p.dir, logFile)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|noFollow, privateMode)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	if err := p.account.own(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// boundLog moves the content of a log that has grown past limit to server.log.1. The server keeps its descriptor, so the file is copied and cut, not
// renamed; a line written in between is lost.
func (p place) boundLog(limit int64) error {
	path := filepath.Join(p.dir, logFile)
	if p.logSize() <= limit {
		return nil
	}
	if err := moveContent(path, path+".1"); err != nil {
		return fmt.Errorf("rotate the server's log: %w", err)
	}
	return p.account.own(path + ".1")
}

func moveContent(from, to string) error {
	source, err := os.OpenFile(from, os.O_RDWR|noFollow, 0)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|noFollow, privateMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		return err
	}
	return source.Truncate(0)
}

// logSize is where the next line will be written; 0 if there is no log.
func (p place) logSize() int64 {
	info, err := os.Stat(filepath.Join(p.dir, logFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// logTail returns the last lines written since an offset.
func (p place) logTail(since int64) string {
	file, err := os.Open(filepath.Join(p.dir, logFile))
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from := max(since, info.Size()-logTailBytes)
	raw, err := io.ReadAll(io.NewSectionReader(file, from, logTailBytes))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
