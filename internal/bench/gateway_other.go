//go:build !linux

package bench

import (
	"syscall"
	"time"
)

// childAttributes gives a child a process group of its own, so that Ctrl-C on the terminal reaches it once, from this process.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func sleep(d time.Duration) { <-time.After(d) }
