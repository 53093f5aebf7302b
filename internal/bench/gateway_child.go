package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout bounds the first start of a child, which makes a database cluster; stopTimeout its drain.
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
	startPoll    = 50 * time.Millisecond
)

// place is a data folder and an address for one child at a time.
type place struct {
	config    GatewayConfig
	dir, addr string
}

func newPlace(ctx context.Context, config GatewayConfig) (*place, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free address: %w", err)
	}
	defer func() { _ = listener.Close() }()
	dir, err := os.MkdirTemp("", "archon-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a data folder: %w", err)
	}
	const searchable = 0o711 // by the user that PostgreSQL runs as where this is root
	if err := os.Chmod(dir, searchable); err != nil {
		return nil, fmt.Errorf("make a data folder: %w", err)
	}
	return &place{config: config, dir: dir, addr: listener.Addr().String()}, nil
}

func (p *place) remove() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove the data folder: %w", err)
	}
	return nil
}

// command is an archon command on the data folder. Of the user's settings only where PostgreSQL is counts: all else is as
// it comes.
func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.config.Executable, args...)
	cmd.Env = slices.DeleteFunc(slices.Clone(p.config.Environ), func(variable string) bool {
		return strings.HasPrefix(variable, "ARCHON_") && !strings.HasPrefix(variable, "ARCHON_PG_BIN=")
	})
	cmd.Env = append(cmd.Env, "ARCHON_DATA_DIR="+p.dir, "ARCHON_HTTP_ADDR="+p.addr)
	return cmd
}

// run runs a command to its end and returns the last line of its stdout.
func (p *place) run(ctx context.Context, args ...string) (string, error) {
	var errs bytes.Buffer
	cmd := p.command(ctx, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("archon %s: %w: %s", args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}

// child is a running Archon.
type child struct {
	*place

	cmd   *exec.Cmd
	ended chan error
}

// start starts a child and waits until it is well. What it logs goes to a file of the data folder, at the usual level: the
// log is a part of what calls cost.
func (p *place) start(ctx context.Context, recording string) (*child, error) {
	log, err := os.Create(filepath.Join(p.dir, "log-"+recording))
	if err != nil {
		return nil, fmt.Errorf("make the child's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	c := &child{place: p, cmd: p.command(context.WithoutCancel(ctx), "dev"), ended: make(chan error, 1)}
	c.cmd.Env = append(c.cmd.Env, "ARCHON_CALL_RECORDING="+recording)
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = childAttributes()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start archon dev: %w", err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	if err := c.awaitHealth(ctx); err != nil {
		said, _ := os.ReadFile(log.Name())
		const enough = 2000
		return nil, errors.Join(fmt.Errorf("start archon dev: %w: %s", err, said[max(0, len(said)-enough):]), c.stop())
	}
	return c, nil
}

var errChildEnded = errors.New("it ended")

func (c *child) awaitHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Timeout: startTimeout}
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/health", http.NoBody)
		if err != nil {
			return fmt.Errorf("ask for the health: %w", err)
		}
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for it to be well: %w", ctx.Err())
		case err := <-c.ended:
			c.ended <- err
			return fmt.Errorf("%w: %w", errChildEnded, err)
		case <-time.After(startPoll):
		}
	}
}

// stop lets the child drain, and kills it where it does not come to an end.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only for a process that is gone
	select {
	case err := <-c.ended:
		if err != nil {
			return fmt.Errorf("archon dev: %w", err)
		}
		return nil
	case <-time.After(stopTimeout):
		_ = c.cmd.Process.Kill()
		return fmt.Errorf("archon dev did not drain within %s: %w", stopTimeout, <-c.ended)
	}
}

func (c *child) process() *process { return &process{pid: c.cmd.Process.Pid} }
