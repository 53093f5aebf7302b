package pgembed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/archonhq/archon/internal/pgembed/filelock"
)

const (
	// alivePoll is how often a server that is not our child is looked at.
	alivePoll = 250 * time.Millisecond
	stopPoll  = 20 * time.Millisecond
	// quitTimeout bounds the immediate shutdown: the postmaster itself kills stubborn children after 5 s.
	quitTimeout = 6 * time.Second
	killTimeout = 5 * time.Second
)

// server is one running postmaster, our child or an adopted one.
type server struct {
	pid     int
	process *os.Process
	since   time.Time
	// ended is closed when the process is gone. For an adopted server that takes a running watch.
	ended chan struct{}
	// alive tells at once whether the process is still the postmaster.
	alive func() bool
}

// guardFile is locked by the server and all its processes for as long as one of them lives: they inherit the locked descriptor. It holds where process
// ids mean nothing (another container with the same folder), and allows to remove a stale postmaster.pid, which is PostgreSQL's own guard.
const guardFile = "archon.guard"

// takeGuard returns the locked file that the server is to inherit.
func (p place) takeGuard() (*filelock.Lock, error) {
	path := filepath.Join(p.dir, guardFile)
	guard, err := filelock.Open(path)
	if err != nil {
		return nil, err
	}
	free, err := guard.Try(filelock.Exclusive)
	if err == nil && !free {
		err = fmt.Errorf("%w: %w: %s", errRetry, ErrFolderBusy, p.dir)
	}
	if err = errors.Join(err, p.account.own(path)); err != nil {
		guard.Close()
		return nil, err
	}
	return guard, nil
}

// spawn starts the server as our child, with the log file as its output.
func (p place) spawn(ctx context.Context) (*server, error) {
	guard, err := p.takeGuard()
	if err != nil {
		return nil, err
	}
	defer guard.Bequeath()
	if err := removeStalePidFile(p.dir); err != nil {
		return nil, err
	}
	log, err := openLog(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	// The server outlives the start's context, and this process too if need be.
	cmd := p.account.command(context.WithoutCancel(ctx), filepath.Join(p.bin, "postgres"), "-D", p.dir)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.ExtraFiles = []*os.File{guard.File()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres as %s: %w", p.account.name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	alive := func() bool {
		select {
		case <-ended:
			return false
		default:
			return true
		}
	}
	return &server{pid: cmd.Process.Pid, process: cmd.Process, since: time.Now(), ended: ended, alive: alive}, nil
}

// find returns the live server of the cluster and its port, or nil.
func (p place) find() (*server, int, error) {
	record, ok, err := readPidFile(p.dir)
	if err != nil {
		return nil, 0, err
	}
	folder, err := os.Stat(p.dir)
	if err != nil {
		return nil, 0, fmt.Errorf("look at the cluster: %w", err)
	}
	if ok {
		// The handle is taken before the look, so that the process that is signalled later is the one that was looked at.
		process, err := os.FindProcess(record.pid)
		if err == nil && isPostmaster(record.pid, p.dir, folder) {
			alive := func() bool { return isPostmaster(record.pid, p.dir, folder) }
			return &server{pid: record.pid, process: process, since: time.Now(), ended: make(chan struct{}), alive: alive}, record.port, nil
		}
	}
	return nil, 0, nil
}

// watch closes ended when an adopted server is gone, unless ctx ends first.
func (s *server) watch(ctx context.Context) {
	for s.alive() {
		if pause(ctx, alivePoll) != nil {
			return
		}
	}
	close(s.ended)
}

// stop ends the server: gently, then not; it returns when the process is gone. No step takes longer than the gentle one may, and the end of ctx cuts
// that short.
func (s *server) stop(ctx context.Context, gentle time.Duration) error {
	// Fast: roll back, checkpoint, leave.
	gone, err := s.end(ctx, syscall.SIGINT, gentle)
	if gone || err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	// Immediate: the next start recovers.
	gone, err = s.end(ctx, syscall.SIGQUIT, min(gentle, quitTimeout))
	if gone || err != nil {
		return err
	}
	gone, err = s.end(ctx, syscall.SIGKILL, killTimeout)
	if !gone && err == nil {
		err = fmt.Errorf("%w: process %d", errStillRunning, s.pid)
	}
	return err
}

// end sends a signal and tells whether the server went in time.
func (s *server) end(ctx context.Context, signal syscall.Signal, within time.Duration) (bool, error) {
	if err := s.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("signal server %d: %w", s.pid, err)
	}
	return s.gone(ctx, within), nil
}

func (s *server) gone(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for s.alive() {
		if pause(ctx, stopPoll) != nil {
			return !s.alive()
		}
	}
	return true
}

// isPostmaster tells whether the process is a postgres that works in the folder. A zombie is not.
func isPostmaster(pid int, dir string, folder os.FileInfo) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if _, err := os.Stat("/proc/self"); err != nil {
		return isPostmasterByPs(pid, dir)
	}
	// The link is followed to the folder itself, so that it holds for one that was moved since.
	cwd, err := os.Stat(filepath.Join(proc, "cwd"))
	if err != nil || !os.SameFile(cwd, folder) {
		return false
	}
	raw, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	program, _, _ := strings.Cut(string(raw), "\x00")
	return err == nil && filepath.Base(program) == "postgres"
}

// isPostmasterByPs is isPostmaster for systems without /proc.
func isPostmasterByPs(pid int, dir string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasSuffix(strings.TrimSpace(string(out)), "postgres -D "+dir)
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
