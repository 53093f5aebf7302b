package cache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/archonhq/archon/internal/cache"
	"github.com/archonhq/archon/internal/pgembed/loopback"
)

const (
	// helperEnv makes the test binary act as a process of Archon's with an embedded Redis; its value is the data folder.
	helperEnv = "ARCHON_TEST_CACHE_HELPER"

	// bound is for waits that take well under a second on an idle machine.
	bound = 20 * time.Second
)

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(helperEnv); ok {
		if err := runHelper(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	logging.Disable() // go-redis reports every refused connection on stderr
	os.Exit(m.Run())
}

func TestCache(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(bound)
	RunSpecs(t, "cache")
}

var _ = BeforeSuite(func() {
	program, err := exec.LookPath("redis-server")
	Expect(err).NotTo(HaveOccurred(), "these tests need a real redis-server: apt-get install redis-server, or brew install redis")
	out, err := exec.Command(program, "--version").Output()
	Expect(err).NotTo(HaveOccurred())
	AddReportEntry("variant", strings.TrimSpace(string(out)), ReportEntryVisibilityAlways)
})

type helperReport struct {
	Addr, Password string
	PID            int
}

// runHelper opens an embedded Redis, reports, and closes it when a line comes on stdin.
func runHelper(dir string) error {
	ctx := context.Background()
	c, err := cache.Open(ctx, cache.Config{DataDir: dir})
	if err != nil {
		return err
	}
	pid, err := serverPID(ctx, c.Client())
	if err != nil {
		return err
	}
	options := c.Client().Options()
	err = json.NewEncoder(os.Stdout).Encode(helperReport{Addr: options.Addr, Password: options.Password, PID: pid})
	if err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return c.Close()
}

// helper is another process of Archon's.
type helper struct {
	helperReport
	cmd  *exec.Cmd
	exit chan struct{}
}

func startHelper(dir string) *helper {
	GinkgoHelper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	cmd.Stderr = GinkgoWriter
	stdin, err := cmd.StdinPipe()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	Expect(cmd.Start()).To(Succeed())
	h := &helper{cmd: cmd, exit: make(chan struct{})}
	reports := make(chan helperReport, 1)
	go func() {
		defer close(h.exit)
		var report helperReport
		if json.NewDecoder(stdout).Decode(&report) == nil {
			reports <- report
		}
		_ = cmd.Wait()
	}()
	DeferCleanup(h.kill)
	Eventually(reports).Should(Receive(&h.helperReport))
	// The server must not outlive the test, whatever the test does to it.
	DeferCleanup(func() { _ = syscall.Kill(h.PID, syscall.SIGKILL) })
	return h
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	<-h.exit
}

// client is one to the helper's server.
func (h *helper) client() *redis.Client { return clientTo(h.Addr, h.Password) }

func clientTo(addr, password string) *redis.Client {
	GinkgoHelper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, Password: password, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: time.Second,
	})
	DeferCleanup(client.Close)
	return client
}

func open(ctx context.Context, cfg cache.Config) *cache.Cache {
	GinkgoHelper()
	c, err := cache.Open(ctx, cfg)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(c.Close)
	return c
}

// serverPID asks a server for its process id.
func serverPID(ctx context.Context, client *redis.Client) (int, error) {
	info, err := client.InfoMap(ctx, "server").Result()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(info["Server"]["process_id"])
}

func pidOf(ctx context.Context, c *cache.Cache) int {
	GinkgoHelper()
	pid, err := serverPID(ctx, c.Client())
	Expect(err).NotTo(HaveOccurred())
	return pid
}

// ping is a condition for Eventually.
func ping(ctx context.Context, client *redis.Client) func() error {
	return func() error { return client.Ping(ctx).Err() }
}

// urlOf is the address of a cache's server, as a user would give it to another node.
func urlOf(c *cache.Cache) string {
	options := c.Client().Options()
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", options.Password), Host: options.Addr}
	return u.String()
}

func records(dir string) []string {
	GinkgoHelper()
	matches, err := filepath.Glob(filepath.Join(dir, "redis-*.json"))
	Expect(err).NotTo(HaveOccurred())
	return matches
}

// startRedis runs a server that no living Archon knows of.
func startRedis(ctx context.Context, port int, password string) *os.Process {
	GinkgoHelper()
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", loopback.Host, "--requirepass", password, "--save", "", "--dir", GinkgoT().TempDir())
	cmd.Stdout, cmd.Stderr = GinkgoWriter, GinkgoWriter
	Expect(cmd.Start()).To(Succeed())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	DeferCleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	Eventually(ping(ctx, clientTo(loopback.Addr(port), password))).Should(Succeed())
	return cmd.Process
}

func freePort(ctx context.Context) int {
	GinkgoHelper()
	port, err := loopback.FreePort(ctx)
	Expect(err).NotTo(HaveOccurred())
	return port
}

func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
