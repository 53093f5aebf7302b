package pgembed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

const (
	// helperEnv makes the test binary act as a process of Archon's that uses a data folder; its value is the helper's configuration.
	helperEnv = "ARCHON_TEST_PGEMBED_HELPER"

	// bound is for waits that take well under a second on an idle machine.
	bound = 30 * time.Second
)

func TestMain(m *testing.M) {
	if raw, ok := os.LookupEnv(helperEnv); ok {
		if err := runHelper(raw); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestPgembed(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(bound)
	RunSpecs(t, "pgembed")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	dir, major, err := pgembed.FindBinaries(ctx, os.Getenv("ARCHON_PG_BIN"))
	Expect(err).NotTo(HaveOccurred(), "these tests need a real PostgreSQL")
	variant := "an ordinary user"
	if os.Geteuid() == 0 {
		variant = "root, with the server as another user"
	}
	AddReportEntry("variant", fmt.Sprintf("run as %s; PostgreSQL %d of %s", variant, major, dir), ReportEntryVisibilityAlways)
})

// helperConfig is what a helper process is told; helperReport what it says once it has started.
type helperConfig struct {
	DataDir, ClustersDir, BinDir string
}

type helperReport struct {
	DSN, Dir string
	Adopted  bool
}

// runHelper starts the cluster, reports, and obeys one word on stdin: release or leave.
func runHelper(raw string) error {
	var cfg helperConfig
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		return err
	}
	c, err := pgembed.Start(context.Background(), pgembed.Config{DataDir: cfg.DataDir, ClustersDir: cfg.ClustersDir, BinDir: cfg.BinDir})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(helperReport{DSN: c.OwnerDSN(), Dir: c.Dir(), Adopted: c.Adopted()}); err != nil {
		return err
	}
	word, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.TrimSpace(word) == "leave" {
		return c.Leave()
	}
	return c.Release(context.Background())
}

// helper is another process of Archon's.
type helper struct {
	helperReport
	cmd *exec.Cmd
	say func(word string)
	// exit is closed when the process ended; then err says how.
	exit chan struct{}
	err  error
}

// launchHelper starts a helper without waiting for its report, which arrives on the channel.
func launchHelper(cfg helperConfig, prepare func(*exec.Cmd)) (*helper, <-chan helperReport) {
	GinkgoHelper()
	raw, err := json.Marshal(cfg)
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(raw))
	cmd.Stderr = GinkgoWriter
	if prepare != nil {
		prepare(cmd)
	}
	stdin, err := cmd.StdinPipe()
	Expect(err).NotTo(HaveOccurred())
	stdout, err := cmd.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	Expect(cmd.Start()).To(Succeed())
	h := &helper{cmd: cmd, exit: make(chan struct{})}
	h.say = func(word string) {
		GinkgoHelper()
		_, err := fmt.Fprintln(stdin, word)
		Expect(err).NotTo(HaveOccurred())
	}
	reports := make(chan helperReport, 1)
	go func() {
		defer close(h.exit)
		var report helperReport
		if json.NewDecoder(stdout).Decode(&report) == nil {
			reports <- report
		}
		h.err = cmd.Wait()
	}()
	DeferCleanup(h.kill)
	return h, reports
}

func startHelper(cfg helperConfig) *helper {
	GinkgoHelper()
	h, reports := launchHelper(cfg, nil)
	Eventually(reports).Should(Receive(&h.helperReport))
	return h
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	<-h.exit
}

// newFolder returns a data folder that does not exist yet, and a configuration for it. Servers that are still up at the end are stopped.
func newFolder() helperConfig {
	GinkgoHelper()
	base := newBase()
	return helperConfig{DataDir: filepath.Join(base, "data"), ClustersDir: filepath.Join(base, "clusters")}
}

// newBase returns an empty folder that any user can pass through.
func newBase() string {
	GinkgoHelper()
	base, err := os.MkdirTemp("", "archon-pgembed-")
	Expect(err).NotTo(HaveOccurred())
	Expect(os.Chmod(base, 0o711)).To(Succeed())
	DeferCleanup(func() {
		stopServersIn(base)
		Eventually(func() error { return os.RemoveAll(base) }).Should(Succeed())
	})
	return base
}

// stopServersIn ends the servers that this test left, and only those: what pid files below base name and what works in their folder.
func stopServersIn(base string) {
	GinkgoHelper()
	err := filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "postmaster.pid" {
			return nil //nolint:nilerr // files come and go while a server stops
		}
		if pid := pidIn(filepath.Dir(path)); pid != 0 && worksIn(pid, filepath.Dir(path)) {
			Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Or(Succeed(), MatchError(syscall.ESRCH)))
		}
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
}

func worksIn(pid int, dir string) bool {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), dir)
}

// pidIn returns the process that a cluster's pid file names, 0 without one.
func pidIn(dir string) int {
	raw, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	Expect(err).NotTo(HaveOccurred())
	pid, err := strconv.Atoi(strings.SplitN(string(raw), "\n", 2)[0])
	if err != nil {
		return 0
	}
	return pid
}

// config turns a helper's configuration into one for this process.
func (cfg helperConfig) config() pgembed.Config {
	return pgembed.Config{DataDir: cfg.DataDir, ClustersDir: cfg.ClustersDir, BinDir: cfg.BinDir}
}

// start runs Start in this process; the cluster is released at the end of the test.
func start(ctx context.Context, cfg pgembed.Config) *pgembed.Cluster {
	GinkgoHelper()
	c, err := pgembed.Start(ctx, cfg)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		_ = c.Release(ctx) // many tests break the server on purpose
	})
	return c
}

// query returns one value of one row.
func query[T any](ctx context.Context, dsn, sql string, args ...any) (T, error) {
	var value T
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a port may be taken by something that never answers
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return value, err
	}
	err = conn.QueryRow(ctx, sql, args...).Scan(&value)
	return value, errors.Join(err, conn.Close(ctx))
}

func exec1(ctx context.Context, dsn, sql string) {
	GinkgoHelper()
	conn, err := pgx.Connect(ctx, dsn)
	Expect(err).NotTo(HaveOccurred())
	_, err = conn.Exec(ctx, sql)
	Expect(errors.Join(err, conn.Close(ctx))).To(Succeed())
}

// works is a condition for Eventually: the server answers.
func works(ctx context.Context, dsn string) func() error {
	return func() error {
		_, err := query[int](ctx, dsn, "select 1")
		return err
	}
}

// asServerUser makes a command run as the user that root's servers run as; for others it changes nothing.
func asServerUser(cmd *exec.Cmd) {
	GinkgoHelper()
	if os.Geteuid() != 0 {
		return
	}
	uid, gid := serverUser()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
}

func serverUser() (uid, gid uint32) {
	GinkgoHelper()
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	Expect(err).NotTo(HaveOccurred())
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	Expect(err).NotTo(HaveOccurred())
	group, err := strconv.ParseUint(u.Gid, 10, 32)
	Expect(err).NotTo(HaveOccurred())
	return uint32(id), uint32(group)
}
