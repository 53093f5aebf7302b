package pgembed_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

var _ = Describe("after kill -9 of Archon", func() {
	It("adopts the orphaned server", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		exec1(ctx, h.DSN, "create table kept as select 42 as answer")
		pid := pidIn(h.Dir)
		h.kill()
		Expect(works(ctx, h.DSN)()).To(Succeed(), "the server must survive Archon")

		c := start(ctx, folder.config())
		Expect(c.Adopted()).To(BeTrue())
		Expect(pidIn(c.Dir())).To(Equal(pid))
		Expect(c.OwnerDSN()).To(Equal(h.DSN))
		Expect(query[int](ctx, c.OwnerDSN(), "select answer from kept")).To(Equal(42))

		Expect(c.Release(ctx)).To(Succeed())
		Expect(worksIn(pid, c.Dir())).To(BeFalse(), "the last lease stops an adopted server too")
	})

	It("recovers what was committed when the server was killed as well", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		exec1(ctx, h.DSN, "create table kept as select 42 as answer")
		h.kill()
		Expect(syscall.Kill(pidIn(h.Dir), syscall.SIGKILL)).To(Succeed())
		c := start(ctx, folder.config())
		Expect(c.Adopted()).To(BeFalse())
		Expect(query[int](ctx, c.OwnerDSN(), "select answer from kept")).To(Equal(42))
	})

	It("replaces an orphan that does not answer", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		pid := pidIn(h.Dir)
		h.kill()
		Expect(syscall.Kill(pid, syscall.SIGSTOP)).To(Succeed())

		cfg := folder.config()
		cfg.AnswerTimeout, cfg.StopTimeout = time.Second, time.Second
		c := start(ctx, cfg)
		Expect(c.Adopted()).To(BeFalse())
		Expect(pidIn(c.Dir())).NotTo(Equal(pid))
		Expect(works(ctx, c.OwnerDSN())()).To(Succeed())
	})

	It("stops, and does not use, an orphan that refuses the password", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		exec1(ctx, h.DSN, "alter role "+pgembed.Superuser+" password 'other'")
		pid := pidIn(h.Dir)
		h.kill()
		cfg := folder.config()
		cfg.AnswerTimeout = time.Second
		_, err := pgembed.Start(ctx, cfg)
		Expect(err).To(MatchError(ContainSubstring("password authentication failed")))
		Expect(worksIn(pid, h.Dir)).To(BeFalse())
		Expect(pidIn(h.Dir)).To(BeZero(), "a server that can't be used must not stay")
	})

	It("starts beside the remains of a first start that was killed at any stage", func(ctx SpecContext) {
		for _, stage := range []string{
			"postgres.json", "postgres.init-*", "postgres.init-*/data/PG_VERSION", "postgres.init-*/data/base/1/PG_VERSION",
			"postgres", "postgres/postmaster.pid",
		} {
			folder := newFolder()
			h, _ := launchHelper(folder, nil)
			Eventually(func() []string { return glob(folder.DataDir, stage) }).WithPolling(time.Millisecond).ShouldNot(BeEmpty(), stage)
			h.kill()
			c := start(ctx, folder.config())
			Expect(works(ctx, c.OwnerDSN())()).To(Succeed(), stage)
			Expect(c.Release(ctx)).To(Succeed())
		}
	})

	It("removes what an interrupted initdb left", func(ctx SpecContext) {
		folder := newFolder()
		folder.BinDir = hangingInitdb(ctx)
		h, _ := launchHelper(folder, nil)
		Eventually(func() []string { return glob(folder.DataDir, "postgres.init-*/data/half-done") }).ShouldNot(BeEmpty())
		h.kill()
		folder.BinDir = ""
		c := start(ctx, folder.config())
		Expect(works(ctx, c.OwnerDSN())()).To(Succeed())
		Expect(glob(folder.DataDir, "postgres.init-*")).To(BeEmpty())
	})
})

var _ = Describe("after a crash of the machine", func() {
	It("sees through a pid file whose number belongs to another program now", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		port := portOf(c.OwnerDSN())
		Expect(c.Release(ctx)).To(Succeed())

		foreign := exec.Command("sleep", "600")
		asServerUser(foreign) // PostgreSQL itself would believe in a process of its own user's
		Expect(foreign.Start()).To(Succeed())
		DeferCleanup(func() {
			_ = foreign.Process.Kill()
			_ = foreign.Wait()
		})
		content := strconv.Itoa(foreign.Process.Pid) + "\n" + c.Dir() + "\n1700000000\n" + strconv.Itoa(port) + "\n\n127.0.0.1\n  1 1\nready   \n"
		Expect(os.WriteFile(filepath.Join(c.Dir(), "postmaster.pid"), []byte(content), 0o600)).To(Succeed())

		again := start(ctx, folder.config())
		Expect(again.Adopted()).To(BeFalse())
		Expect(works(ctx, again.OwnerDSN())()).To(Succeed())
		Expect(foreign.Process.Signal(syscall.Signal(0))).To(Succeed(), "the other program is none of our business")
	})

	It("survives a torn pid file", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(c.Dir(), "postmaster.pid"), nil, 0o600)).To(Succeed())
		start(ctx, folder.config())
	})
})

var _ = Describe("a server that dies under a running Archon", func() {
	dies := func(ctx context.Context, c *pgembed.Cluster) {
		GinkgoHelper()
		exec1(ctx, c.OwnerDSN(), "create table kept as select 42 as answer")
		for range 2 {
			pid, done := pidIn(c.Dir()), c.Done()
			Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
			Eventually(done).Should(BeClosed())
			Eventually(works(ctx, c.OwnerDSN())).Should(Succeed(), "same port, same password")
			Expect(pidIn(c.Dir())).NotTo(Equal(pid))
			Eventually(c.Done).ShouldNot(BeClosed())
		}
		Expect(query[int](ctx, c.OwnerDSN(), "select answer from kept")).To(Equal(42))
	}

	It("comes back if it was our child", func(ctx SpecContext) {
		dies(ctx, start(ctx, newFolder().config()))
	})

	It("comes back if it was adopted", func(ctx SpecContext) {
		folder := newFolder()
		startHelper(folder).kill()
		c := start(ctx, folder.config())
		Expect(c.Adopted()).To(BeTrue())
		dies(ctx, c)
	})

	It("comes back once for all processes that share it", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		c := start(ctx, folder.config())
		dies(ctx, c)
		h.say("release")
		Eventually(h.exit).Should(BeClosed())
		Expect(h.err).NotTo(HaveOccurred())
		Expect(works(ctx, c.OwnerDSN())()).To(Succeed())
	})

	It("comes back as soon as its port is free again", func(ctx SpecContext) {
		c := start(ctx, newFolder().config())
		dsn := c.OwnerDSN()
		for attempt := 0; ; attempt++ {
			Expect(attempt).To(BeNumerically("<", 20), "the listener never won the race for the port")
			done := c.Done()
			Expect(syscall.Kill(pidIn(c.Dir()), syscall.SIGKILL)).To(Succeed())
			Eventually(done).WithPolling(time.Millisecond).Should(BeClosed())
			if listener, err := tryListen(ctx, portOf(dsn)); err == nil {
				Expect(works(ctx, dsn)()).NotTo(Succeed())
				Expect(listener.Close()).To(Succeed())
				break
			}
			Eventually(works(ctx, dsn)).Should(Succeed())
		}
		Eventually(works(ctx, dsn)).Should(Succeed())
	})

	It("is not brought back once the cluster was released", func(ctx SpecContext) {
		c := start(ctx, newFolder().config())
		Expect(c.Leave()).To(Succeed())
		Expect(syscall.Kill(pidIn(c.Dir()), syscall.SIGKILL)).To(Succeed())
		Eventually(c.Done()).Should(BeClosed())
		Consistently(works(ctx, c.OwnerDSN()), 500*time.Millisecond).ShouldNot(Succeed())
	})

	It("can be released while it is down", func(ctx SpecContext) {
		c := start(ctx, newFolder().config())
		done := c.Done()
		Expect(syscall.Kill(pidIn(c.Dir()), syscall.SIGKILL)).To(Succeed())
		Eventually(done).WithPolling(time.Millisecond).Should(BeClosed())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(works(ctx, c.OwnerDSN())()).NotTo(Succeed())
	})
})

var _ = Describe("the guard of the cluster's folder", func() {
	It("keeps a second server out, whatever the pid file says", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		pid := pidIn(h.Dir)
		h.kill()
		DeferCleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		// As if the server ran in another container: nothing here tells of it but its lock.
		Expect(os.Remove(filepath.Join(h.Dir, "postmaster.pid"))).To(Succeed())
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := pgembed.Start(short, folder.config())
		Expect(err).To(MatchError(pgembed.ErrFolderBusy))
		Expect(works(ctx, h.DSN)()).To(Succeed())
	})
})
