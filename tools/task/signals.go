package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// burst is how long a repeated signal counts as the same wish: `go tool` relays what a signal to the whole process
	// group has delivered already, so each arrives twice.
	burst = time.Second
	// parentPoll is how often the parent is looked at. A killed `go tool` (SIGKILL) tells nobody.
	parentPoll = 500 * time.Millisecond
	signals    = 8
)

// relaySignals passes INT, TERM and HUP on to the programs that this process started, once a burst, and sends TERM when
// the parent process has gone. It never ends this process: that happens when the programs are done. The function that
// it returns ends the relay.
func relaySignals() func() {
	received := make(chan os.Signal, signals)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	done := make(chan struct{})

	var group sync.WaitGroup

	group.Go(func() { relay(received, done) })

	return func() {
		signal.Stop(received)
		close(done)
		group.Wait()
	}
}

func relay(received <-chan os.Signal, done <-chan struct{}) {
	parent := os.Getppid()
	ticker := time.NewTicker(parentPoll)

	defer ticker.Stop()

	last := map[os.Signal]time.Time{}

	for {
		select {
		case <-done:
			return
		case sig := <-received:
			number, ok := sig.(syscall.Signal)
			if !ok || time.Since(last[sig]) < burst {
				continue
			}

			last[sig] = time.Now()

			// Ctrl-C went to every process of the foreground group, so the programs have it.
			if number != syscall.SIGINT || !inForeground() {
				signalChildren(number)
			}
		case <-ticker.C:
			if os.Getppid() != parent {
				parent = os.Getppid()

				signalChildren(syscall.SIGTERM)
			}
		}
	}
}

func signalChildren(sig syscall.Signal) {
	for _, pid := range children(os.Getpid()) {
		// A child that ended in between needs no signal.
		_ = syscall.Kill(pid, sig)
	}
}

// inForeground tells whether this process belongs to the group that its terminal sends Ctrl-C to.
func inForeground() bool {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}

	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	_ = terminal.Close()

	return err == nil && group == unix.Getpgrp()
}
