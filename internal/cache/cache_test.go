package cache_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache"
	"github.com/archonhq/archon/internal/pgembed/loopback"
)

var _ = Describe("a Redis by URL", func() {
	It("is used as it is", func(ctx SpecContext) {
		port := freePort(ctx)
		startRedis(ctx, port, "secret")
		c := open(ctx, cache.Config{URL: "redis://:secret@" + loopback.Addr(port) + "/3?read_timeout=7s"})
		Expect(c.Kind()).To(Equal(cache.KindExternal))
		Expect(c.Check(ctx)).To(Succeed())
		Expect(c.Client().Set(ctx, "key", "value", 0).Err()).To(Succeed())
		Expect(c.Client().Get(ctx, "key").Val()).To(Equal("value"))
		Expect(c.Client().Options().DB).To(Equal(3))
		Expect(c.Client().Options().ReadTimeout).To(Equal(7 * time.Second))
		Expect(c.Close()).To(Succeed())
		Expect(clientTo(loopback.Addr(port), "secret").Ping(ctx).Err()).To(Succeed(), "it is not ours to stop")
	})

	It("may be away at first: Open succeeds, calls fail fast, and it is found when it comes", func(ctx SpecContext) {
		port := freePort(ctx)
		log := gbytes.NewBuffer()
		begun := time.Now()
		c := open(ctx, cache.Config{URL: "redis://:secret@" + loopback.Addr(port), Log: slog.New(slog.NewTextHandler(log, nil))})
		Expect(c.Check(ctx)).NotTo(Succeed())
		Expect(c.Client().Get(ctx, "key").Err()).NotTo(Succeed())
		Expect(time.Since(begun)).To(BeNumerically("<", 3*time.Second))
		Expect(log).To(gbytes.Say("redis does not answer"))
		Expect(string(log.Contents())).NotTo(ContainSubstring("secret"))

		startRedis(ctx, port, "secret")
		Eventually(c.Check).WithArguments(ctx).Should(Succeed())
	})

	It("is bounded when it accepts and says nothing", func(ctx SpecContext) {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", loopback.Addr(0))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(listener.Close)
		begun := time.Now()
		c := open(ctx, cache.Config{URL: "redis://" + listener.Addr().String()})
		Expect(c.Check(ctx)).NotTo(Succeed())
		Expect(time.Since(begun)).To(BeNumerically("<", 4*time.Second))
	})

	DescribeTable("is refused when malformed, without a word of it", func(ctx SpecContext, url string) {
		_, err := cache.Open(ctx, cache.Config{URL: url})
		Expect(err).To(MatchError(cache.ErrBadURL))
		Expect(err.Error()).NotTo(ContainSubstring("s3cr"))
	},
		Entry("another scheme", "http://:s3cret@localhost"),
		Entry("a bad escape", "redis://:s3cr%zzet@localhost"),
		Entry("a bad database", "redis://:p@ss/s3cret@localhost"),
		Entry("a path", "redis://localhost/1/s3cret"),
		Entry("no URL at all", "s3cret"),
	)
})

var _ = Describe("an embedded redis-server", func() {
	It("is private, bounded and leaves no trace", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		c := open(ctx, cache.Config{DataDir: dir})
		Expect(c.Kind()).To(Equal(cache.KindServer))
		Expect(c.Check(ctx)).To(Succeed())
		for name, want := range map[string]string{
			"save": "", "appendonly": "no", "bind": "127.0.0.1", "maxmemory": strconv.Itoa(128 << 20), "maxmemory-policy": "allkeys-lru",
		} {
			Expect(c.Client().ConfigGet(ctx, name).Val()).To(HaveKeyWithValue(name, want))
		}
		Expect(clientTo(c.Client().Options().Addr, "").Ping(ctx).Err()).To(MatchError(ContainSubstring("NOAUTH")))

		pid := pidOf(ctx, c)
		args, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(args)).To(ContainSubstring("redis-server"))
		Expect(string(args)).NotTo(ContainSubstring(c.Client().Options().Password))
		group, err := syscall.Getpgid(pid)
		Expect(err).NotTo(HaveOccurred())
		Expect(group).To(Equal(pid))

		Expect(records(dir)).To(HaveLen(1))
		info, err := os.Stat(records(dir)[0])
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))

		Expect(c.Close()).To(Succeed())
		Expect(alive(pid)).To(BeFalse())
		Expect(records(dir)).To(BeEmpty())
		Expect(c.Close()).To(Succeed(), "a second Close does nothing")
	})

	It("comes back on its port after kill -9, and the client finds it", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		for range 2 {
			pid := pidOf(ctx, c)
			Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
			Eventually(alive).WithArguments(pid).Should(BeFalse())
			Eventually(c.Check).WithArguments(ctx).Should(Succeed())
			Expect(pidOf(ctx, c)).NotTo(Equal(pid))
		}
	})

	It("comes back as soon as its port is free again", func(ctx SpecContext) {
		log := gbytes.NewBuffer()
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir(), Log: slog.New(slog.NewTextHandler(log, nil))})
		var config net.ListenConfig
		for attempt := 0; ; attempt++ {
			Expect(attempt).To(BeNumerically("<", 20), "the listener never won the race for the port")
			pid := pidOf(ctx, c)
			Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
			Eventually(alive).WithArguments(pid).WithPolling(time.Millisecond).Should(BeFalse())
			if listener, err := config.Listen(ctx, "tcp", c.Client().Options().Addr); err == nil {
				Eventually(log).Should(gbytes.Say("could not be restarted"))
				Expect(listener.Close()).To(Succeed())
				break
			}
			Eventually(c.Check).WithArguments(ctx).Should(Succeed())
		}
		Eventually(c.Check).WithArguments(ctx).Should(Succeed())
	})

	It("can be closed while it is down", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		pid := pidOf(ctx, c)
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		Eventually(alive).WithArguments(pid).WithPolling(time.Millisecond).Should(BeFalse())
		Expect(c.Close()).To(Succeed())
		Expect(loopbackFree(ctx, c)).To(BeTrue())
	})

	It("is stopped by force when it hangs", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		pid := pidOf(ctx, c)
		Expect(syscall.Kill(pid, syscall.SIGSTOP)).To(Succeed())
		Expect(c.Close()).To(Succeed())
		Expect(alive(pid)).To(BeFalse())
	})

	It("needs a data folder", func(ctx SpecContext) {
		_, err := cache.Open(ctx, cache.Config{})
		Expect(err).To(MatchError(cache.ErrNoDataDir))
		file := filepath.Join(GinkgoT().TempDir(), "file")
		Expect(os.WriteFile(file, nil, 0o600)).To(Succeed())
		_, err = cache.Open(ctx, cache.Config{DataDir: filepath.Join(file, "data")})
		Expect(err).To(MatchError(syscall.ENOTDIR))
	})
})

var _ = Describe("processes that share a data folder", func() {
	It("leave no server behind when they are killed", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		h := startHelper(dir)
		h.kill()
		if runtime.GOOS == "linux" {
			Eventually(ping(ctx, h.client())).ShouldNot(Succeed(), "the kernel ends it")
		}
		c := open(ctx, cache.Config{DataDir: dir})
		Eventually(ping(ctx, h.client())).ShouldNot(Succeed(), "the next start ends it elsewhere")
		Expect(c.Check(ctx)).To(Succeed())
		Expect(records(dir)).To(HaveLen(1))
	})

	It("shut down an orphan", func(ctx SpecContext) {
		dir, port := GinkgoT().TempDir(), freePort(ctx)
		orphan := startRedis(ctx, port, "orphan")
		leave(dir, `{"port":`+strconv.Itoa(port)+`,"password":"orphan"}`)
		open(ctx, cache.Config{DataDir: dir})
		Eventually(alive).WithArguments(orphan.Pid).Should(BeFalse())
		Expect(records(dir)).To(HaveLen(1))
	})

	It("leave each other's servers alone while both live", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		h := startHelper(dir)
		c := open(ctx, cache.Config{DataDir: dir})
		Expect(c.Client().Options().Addr).NotTo(Equal(h.Addr))
		Expect(h.client().Ping(ctx).Err()).To(Succeed())
		Expect(records(dir)).To(HaveLen(2))
		Expect(c.Close()).To(Succeed())
		Expect(h.client().Ping(ctx).Err()).To(Succeed())
	})

	It("leave a stranger alone that took an orphan's port", func(ctx SpecContext) {
		dir, port := GinkgoT().TempDir(), freePort(ctx)
		startRedis(ctx, port, "stranger")
		leave(dir, `{"port":`+strconv.Itoa(port)+`,"password":"orphan"}`)
		open(ctx, cache.Config{DataDir: dir})
		Expect(clientTo(loopback.Addr(port), "stranger").Ping(ctx).Err()).To(Succeed())
		Expect(records(dir)).To(HaveLen(1), "the record of the one that is gone is removed")
	})

	It("clean up records of servers that never were", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		leave(dir, "")
		leave(dir, `{"port":`+strconv.Itoa(freePort(ctx))+`,"password":"x"}`)
		open(ctx, cache.Config{DataDir: dir})
		Expect(records(dir)).To(HaveLen(1))
	})

	It("do not wait for ever for an orphan that hangs, and try it again later", func(ctx SpecContext) {
		dir, port := GinkgoT().TempDir(), freePort(ctx)
		orphan := startRedis(ctx, port, "s3cret")
		leave(dir, `{"port":`+strconv.Itoa(port)+`,"password":"s3cret"}`)
		Expect(orphan.Signal(syscall.SIGSTOP)).To(Succeed())
		log := gbytes.NewBuffer()
		begun := time.Now()
		c := open(ctx, cache.Config{DataDir: dir, Log: slog.New(slog.NewTextHandler(log, nil))})
		Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second))
		Expect(log).To(gbytes.Say("orphaned redis-server could not be shut down"))
		Expect(string(log.Contents())).NotTo(ContainSubstring("s3cret"))
		Expect(records(dir)).To(HaveLen(2))
		Expect(c.Close()).To(Succeed())

		Expect(orphan.Signal(syscall.SIGCONT)).To(Succeed())
		open(ctx, cache.Config{DataDir: dir})
		Eventually(alive).WithArguments(orphan.Pid).Should(BeFalse())
		Expect(records(dir)).To(HaveLen(1))
	})
})

var _ = Describe("Redis in process", func() {
	var c *cache.Cache
	BeforeEach(func(ctx SpecContext) {
		GinkgoT().Setenv("PATH", GinkgoT().TempDir())
		dir := GinkgoT().TempDir()
		c = open(ctx, cache.Config{DataDir: dir})
		Expect(records(dir)).To(BeEmpty())
	})

	It("serves where there is no redis-server", func(ctx SpecContext) {
		Expect(c.Kind()).To(Equal(cache.KindInProcess))
		Expect(c.Check(ctx)).To(Succeed())
		Expect(c.Client().Incr(ctx, "counter").Val()).To(Equal(int64(1)))
		Expect(clientTo(c.Client().Options().Addr, "").Ping(ctx).Err()).To(MatchError(ContainSubstring("NOAUTH")))
		Expect(c.Close()).To(Succeed())
		Expect(c.Close()).To(Succeed())
	})

	It("lets keys expire", func(ctx SpecContext) {
		Expect(c.Client().Set(ctx, "short", "1", 30*time.Millisecond).Err()).To(Succeed())
		Expect(c.Client().Set(ctx, "long", "1", time.Hour).Err()).To(Succeed())
		Eventually(func() error { return c.Client().Get(ctx, "short").Err() }, 3*time.Second).Should(MatchError(redis.Nil))
		Expect(c.Client().TTL(ctx, "long").Val()).To(And(BeNumerically(">", 59*time.Minute), BeNumerically("<=", time.Hour)))
		Expect(c.Client().Get(ctx, "long").Val()).To(Equal("1"))
	})

	It("takes a pipeline longer than a write", func(ctx SpecContext) {
		value := strings.Repeat("x", 1<<10)
		results, err := c.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 200 {
				p.Set(ctx, strconv.Itoa(i), value, 0)
				p.Get(ctx, strconv.Itoa(i))
			}
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(results).To(HaveLen(400))
	})
})

var _ = Describe("a redis-server that does not run", func() {
	It("is replaced by one in process, with a warning that says why", func(ctx SpecContext) {
		bin, dir := GinkgoT().TempDir(), GinkgoT().TempDir()
		program := filepath.Join(bin, "redis-server")
		Expect(os.WriteFile(program, []byte("#!/bin/sh\necho 'illegal instruction' >&2\nexit 1\n"), 0o600)).To(Succeed())
		Expect(os.Chmod(program, 0o755)).To(Succeed())
		GinkgoT().Setenv("PATH", bin)
		var log bytes.Buffer
		c := open(ctx, cache.Config{DataDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		Expect(c.Kind()).To(Equal(cache.KindInProcess))
		Expect(c.Check(ctx)).To(Succeed())
		Expect(log.String()).To(ContainSubstring("illegal instruction"))
		Expect(records(dir)).To(BeEmpty())
	})
})

func leave(dir, content string) {
	GinkgoHelper()
	file, err := os.CreateTemp(dir, "redis-*.json")
	Expect(err).NotTo(HaveOccurred())
	_, err = file.WriteString(content)
	Expect(err).NotTo(HaveOccurred())
	Expect(file.Close()).To(Succeed())
}

func loopbackFree(ctx context.Context, c *cache.Cache) bool {
	GinkgoHelper()
	_, text, err := net.SplitHostPort(c.Client().Options().Addr)
	Expect(err).NotTo(HaveOccurred())
	port, err := strconv.Atoi(text)
	Expect(err).NotTo(HaveOccurred())
	return loopback.IsFree(ctx, port)
}
