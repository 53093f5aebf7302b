//go:build !linux

package cache

import "syscall"

// childAttributes gives a child a process group of its own, since Ctrl-C on the terminal is for Archon, which stops the server when it has drained. The orphan of a
// killed Archon is ended by the next start.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
