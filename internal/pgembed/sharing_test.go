package pgembed_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

var _ = Describe("leaving", func() {
	It("stops the server when the last one releases it, and keeps everything for the next start", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		exec1(ctx, c.OwnerDSN(), "create table kept as select 42 as answer")
		dsn, pid := c.OwnerDSN(), pidIn(c.Dir())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(worksIn(pid, c.Dir())).To(BeFalse())
		Expect(pidIn(c.Dir())).To(BeZero())
		Expect(c.Done()).To(BeClosed())

		again := start(ctx, folder.config())
		Expect(again.Adopted()).To(BeFalse())
		Expect(again.OwnerDSN()).To(Equal(dsn), "port and password are kept")
		Expect(query[int](ctx, dsn, "select answer from kept")).To(Equal(42))
	})

	It("lets the last of several processes stop the server, whoever started it", func(ctx SpecContext) {
		folder := newFolder()
		first := startHelper(folder)
		c := start(ctx, folder.config())
		Expect(c.Adopted()).To(BeTrue())
		first.say("release")
		Eventually(first.exit).Should(BeClosed())
		Expect(first.err).NotTo(HaveOccurred())
		Expect(works(ctx, c.OwnerDSN())()).To(Succeed())

		third := startHelper(folder)
		Expect(c.Release(ctx)).To(Succeed())
		Expect(works(ctx, third.DSN)()).To(Succeed())
		third.say("release")
		Eventually(third.exit).Should(BeClosed())
		Expect(works(ctx, third.DSN)()).NotTo(Succeed())
	})

	It("can leave the server running", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		h.say("leave")
		Eventually(h.exit).Should(BeClosed())
		Expect(h.err).NotTo(HaveOccurred())
		Expect(works(ctx, h.DSN)()).To(Succeed())
		c := start(ctx, folder.config())
		Expect(c.Adopted()).To(BeTrue())
		Expect(c.OwnerDSN()).To(Equal(h.DSN))
	})

	It("does it once", func(ctx SpecContext) {
		folder := newFolder()
		stays := start(ctx, folder.config())
		c := start(ctx, folder.config())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(c.Leave()).To(Succeed())
		Expect(works(ctx, stays.OwnerDSN())()).To(Succeed())
		Expect(stays.Leave()).To(Succeed())
		Expect(stays.Release(ctx)).To(Succeed())
		Expect(works(ctx, stays.OwnerDSN())()).To(Succeed(), "Release after Leave must not stop the server")
	})

	It("removes a cluster that nobody needs, but not from under others", func(ctx SpecContext) {
		folder := privateFolder()
		stays := start(ctx, folder.config())
		goes := start(ctx, folder.config())
		Expect(goes.Remove(ctx)).To(MatchError(pgembed.ErrInUse))
		Expect(works(ctx, stays.OwnerDSN())()).To(Succeed())

		Expect(stays.Remove(ctx)).To(Succeed())
		Expect(works(ctx, stays.OwnerDSN())()).NotTo(Succeed())
		Expect(stays.Dir()).NotTo(BeAnExistingFile())
		again := start(ctx, folder.config())
		Expect(again.Adopted()).To(BeFalse())
		Expect(again.Password("x")).NotTo(Equal(stays.Password("x")))
	})

	It("stops the server by force when its time is up", func(ctx SpecContext) {
		cfg := newFolder().config()
		cfg.StopTimeout = time.Second
		c := start(ctx, cfg)
		pid := pidIn(c.Dir())
		Expect(syscall.Kill(pid, syscall.SIGSTOP)).To(Succeed())
		over, cancel := context.WithCancel(ctx)
		cancel()
		Expect(c.Release(over)).To(Succeed())
		Expect(worksIn(pid, c.Dir())).To(BeFalse())
	})
})

var _ = Describe("starting at the same moment", func() {
	It("ends in one server for all", func(ctx SpecContext) {
		folder := newFolder()
		a, reportA := launchHelper(folder, nil)
		b, reportB := launchHelper(folder, nil)
		here := start(ctx, folder.config())
		Eventually(reportA).Should(Receive(&a.helperReport))
		Eventually(reportB).Should(Receive(&b.helperReport))

		starters := 0
		for _, adopted := range []bool{here.Adopted(), a.Adopted, b.Adopted} {
			if !adopted {
				starters++
			}
		}
		Expect(starters).To(Equal(1))
		Expect([]string{a.DSN, b.DSN}).To(HaveEach(here.OwnerDSN()))
		Expect(works(ctx, here.OwnerDSN())()).To(Succeed())
	})

	It("is safe while others leave", func(ctx SpecContext) {
		folder := newFolder()
		for range 3 {
			h := startHelper(folder)
			h.say("release")
			c := start(ctx, folder.config())
			Eventually(h.exit).Should(BeClosed())
			Expect(h.err).NotTo(HaveOccurred())
			Expect(works(ctx, c.OwnerDSN())()).To(Succeed())
			Expect(c.Release(ctx)).To(Succeed())
		}
	})
})

var _ = Describe("ports", func() {
	It("moves when the last port was taken meanwhile", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		before := portOf(c.OwnerDSN())
		Expect(c.Release(ctx)).To(Succeed())
		listenOn(ctx, before)

		again := start(ctx, folder.config())
		Expect(portOf(again.OwnerDSN())).NotTo(Equal(before))
		Expect(works(ctx, again.OwnerDSN())()).To(Succeed())
	})

	It("does not move under processes that hold the old port", func(ctx SpecContext) {
		folder := newFolder()
		h := startHelper(folder)
		// A frozen process keeps its lease but restarts nothing.
		Expect(h.cmd.Process.Signal(syscall.SIGSTOP)).To(Succeed())
		Expect(syscall.Kill(pidIn(h.Dir), syscall.SIGKILL)).To(Succeed())
		Eventually(works(ctx, h.DSN)).ShouldNot(Succeed())
		closeListener := listenOn(ctx, portOf(h.DSN))
		_, err := pgembed.Start(ctx, folder.config())
		Expect(err).To(MatchError(pgembed.ErrPortTaken))

		closeListener()
		c := start(ctx, folder.config())
		Expect(c.OwnerDSN()).To(Equal(h.DSN))
		Expect(h.cmd.Process.Signal(syscall.SIGCONT)).To(Succeed())
		h.say("release")
		Eventually(h.exit).Should(BeClosed())
		Expect(h.err).NotTo(HaveOccurred())
		Expect(works(ctx, c.OwnerDSN())()).To(Succeed(), "the frozen process left; it must not stop our server")
	})
})

var _ = Describe("a copied data folder", func() {
	It("is a cluster of its own, also when the copy names the first one's live server", func(ctx SpecContext) {
		folder, twin := newFolder(), newFolder()
		c := start(ctx, folder.config())
		exec1(ctx, c.OwnerDSN(), "create table copied ()")
		Expect(c.Release(ctx)).To(Succeed())
		out, err := exec.Command("cp", "-a", folder.DataDir, twin.DataDir).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		c = start(ctx, folder.config())
		raw, err := os.ReadFile(filepath.Join(c.Dir(), "postmaster.pid"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(twin.DataDir, "postgres", "postmaster.pid"), raw, 0o600)).To(Succeed())

		copied := start(ctx, twin.config())
		Expect(copied.Adopted()).To(BeFalse())
		Expect(portOf(copied.OwnerDSN())).NotTo(Equal(portOf(c.OwnerDSN())))
		exec1(ctx, copied.OwnerDSN(), "drop table copied")
		Expect(query[bool](ctx, c.OwnerDSN(), "select to_regclass('copied') is not null")).To(BeTrue())
	})
})
