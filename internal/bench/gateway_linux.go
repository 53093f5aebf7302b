package bench

import (
	"syscall"
	"time"
)

// childAttributes gives a child a process group of its own, so that Ctrl-C on the terminal reaches it once, from this
// process; and has the kernel end it with this process.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// sleep is more exact than time.Sleep, which the runtime rounds up to whole milliseconds when nothing else happens: at 1,500
// requests a second that would be the larger part of what is measured.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	left := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&left, nil) // waking early is made up for by the next call
}
