package cache

import "syscall"

// childAttributes gives a child a process group of its own, since Ctrl-C on the terminal is for Archon, which stops the server when it has drained; and has the kernel
// end it with the thread that started it, so that a killed Archon leaves no orphan.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
