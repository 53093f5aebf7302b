package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	startTimeout = 5 * time.Second
	startPoll    = 10 * time.Millisecond
	stopTimeout  = 3 * time.Second
	// outputWait bounds the wait for the output of a child that is gone.
	outputWait = time.Second

	outputTailBytes = 2 << 10
)

var (
	errEnded  = errors.New("the process ended")
	errSilent = errors.New("the process does not answer")
)

// child is one redis-server process of ours.
type child struct {
	cmd    *exec.Cmd
	since  time.Time
	output tail
	// ended is closed when the process is gone.
	ended chan struct{}
}

// startChild returns when the server answers to our password.
func startChild(ctx context.Context, program string, a address) (*child, error) {
	// The server outlives the context of its start.
	c := &child{cmd: exec.CommandContext(context.WithoutCancel(ctx), program, "-"), since: time.Now(), ended: make(chan struct{})}
	c.cmd.SysProcAttr = childAttributes()
	c.cmd.Dir, c.cmd.Env = "/", []string{"LC_ALL=C"}
	// The settings go through stdin, since everybody may read the arguments of a process.
	c.cmd.Stdin = strings.NewReader(settings(a))
	// A pipe, not a file: when Archon is gone the server writes into nothing.
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.WaitDelay = &c.output, &c.output, outputWait
	started := make(chan error)
	go c.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if err := c.await(ctx, a); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %s on port %d: %w: %s", program, a.Port, err, c.output.String())
	}
	return c, nil
}

// run starts the process and waits for its end on a thread of its own: the kernel may tie the life of a child to that of the thread that forked it.
func (c *child) run(started chan<- error) {
	// Never unlocked: the thread ends with this goroutine, when the child is gone.
	runtime.LockOSThread()
	defer close(c.ended)
	err := c.cmd.Start()
	started <- err
	if err == nil {
		_ = c.cmd.Wait() // how it ended is in its output
	}
}

// settings is the configuration of a cache: bounded, private, and without a trace on disk.
func settings(a address) string {
	return fmt.Sprintf(`port %d
bind %s
protected-mode yes
requirepass %s
save ""
appendonly no
maxmemory 128mb
maxmemory-policy allkeys-lru
daemonize no
loglevel warning
`, a.Port, loopback.Host, a.Password)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) await(ctx context.Context, a address) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errSilent)
	defer cancel()
	client := newClient(a.options())
	defer func() { _ = client.Close() }()
	for ask(ctx, client) != nil {
		select {
		case <-c.ended:
			return errEnded
		default:
		}
		if err := pause(ctx, startPoll); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the process, and returns when it is gone.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only for a process that is gone
	select {
	case <-c.ended:
		return
	case <-time.After(stopTimeout):
	}
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// tail keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, p...)
	t.bytes = t.bytes[max(0, len(t.bytes)-outputTailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.bytes))
}
