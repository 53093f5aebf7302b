package pgembed_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
	"github.com/archonhq/archon/internal/pgembed/loopback"
)

func portOf(dsn string) int {
	GinkgoHelper()
	u, err := url.Parse(dsn)
	Expect(err).NotTo(HaveOccurred())
	port, err := strconv.Atoi(u.Port())
	Expect(err).NotTo(HaveOccurred())
	Expect(u.Hostname()).To(Equal(loopback.Host))
	return port
}

func glob(dir, pattern string) []string {
	GinkgoHelper()
	matches, err := filepath.Glob(filepath.Join(dir, pattern))
	Expect(err).NotTo(HaveOccurred())
	return matches
}

func tryListen(ctx context.Context, port int) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", loopback.Addr(port))
}

// listenOn takes a port; it is given back by the returned function, at the latest at the end of the test.
func listenOn(ctx context.Context, port int) (closeListener func()) {
	GinkgoHelper()
	listener, err := tryListen(ctx, port)
	Expect(err).NotTo(HaveOccurred())
	closeListener = func() { _ = listener.Close() }
	DeferCleanup(closeListener)
	return closeListener
}

// hangingInitdb returns a folder of programs whose initdb gets stuck half way.
func hangingInitdb(ctx context.Context) string {
	GinkgoHelper()
	bin, _ := programsWithout(ctx, "initdb")
	pidFile := filepath.Join(bin, "pid")
	Expect(os.WriteFile(pidFile, nil, 0o600)).To(Succeed())
	Expect(os.Chmod(pidFile, 0o666)).To(Succeed()) // the script runs as the server's user
	script := `#!/bin/sh
dir=${1#--pgdata=}
echo $$ >'` + pidFile + `'
mkdir "$dir" && touch "$dir/half-done" && exec sleep 600
`
	writeProgram(bin, "initdb", script)
	DeferCleanup(func() {
		raw, err := os.ReadFile(pidFile)
		Expect(err).NotTo(HaveOccurred())
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		Expect(err).NotTo(HaveOccurred())
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
	})
	return bin
}

func writeProgram(dir, name, script string) {
	GinkgoHelper()
	path := filepath.Join(dir, name)
	Expect(os.WriteFile(path, []byte(script), 0o600)).To(Succeed())
	Expect(os.Chmod(path, 0o755)).To(Succeed())
}

// programsWithout returns a folder with the real programs but for one, and the folder of the real ones.
func programsWithout(ctx context.Context, name string) (bin, genuine string) {
	GinkgoHelper()
	bin = newBase()
	Expect(os.Chmod(bin, 0o755)).To(Succeed())
	genuine, _, err := pgembed.FindBinaries(ctx, os.Getenv("ARCHON_PG_BIN"))
	Expect(err).NotTo(HaveOccurred())
	for _, program := range []string{"initdb", "postgres"} {
		if program != name {
			Expect(os.Symlink(filepath.Join(genuine, program), filepath.Join(bin, program))).To(Succeed())
		}
	}
	return bin, genuine
}
