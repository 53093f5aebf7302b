package pgembed_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

// privateFolder is a data folder below one that only its owner can enter.
func privateFolder() helperConfig {
	GinkgoHelper()
	folder := newFolder()
	locked := filepath.Join(filepath.Dir(folder.DataDir), "locked")
	Expect(os.Mkdir(locked, 0o700)).To(Succeed())
	folder.DataDir = filepath.Join(locked, "data")
	return folder
}

var _ = Describe("a data folder that only its owner can reach", func() {
	It("serves a cluster that the server can reach, again and again", func(ctx SpecContext) {
		folder := privateFolder()
		c := start(ctx, folder.config())
		if os.Geteuid() == 0 {
			Expect(filepath.Dir(c.Dir())).To(Equal(folder.ClustersDir))
		} else {
			Expect(c.Dir()).To(Equal(filepath.Join(folder.DataDir, "postgres")))
		}
		exec1(ctx, c.OwnerDSN(), "create table kept ()")
		Expect(c.Release(ctx)).To(Succeed())

		again := start(ctx, folder.config())
		Expect(again.Dir()).To(Equal(c.Dir()))
		Expect(query[bool](ctx, again.OwnerDSN(), "select to_regclass('kept') is not null")).To(BeTrue())
	})

	It("gets a new cluster when it is made anew", func(ctx SpecContext) {
		folder := privateFolder()
		c := start(ctx, folder.config())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(os.RemoveAll(folder.DataDir)).To(Succeed())
		again := start(ctx, folder.config())
		Expect(again.Adopted()).To(BeFalse())
		Expect(again.Password("x")).NotTo(Equal(c.Password("x")))
		if os.Geteuid() == 0 {
			Expect(again.Dir()).NotTo(Equal(c.Dir()))
		}
	})

	It("says so when there is no place for root's server at all", func(ctx SpecContext) {
		folder := privateFolder()
		folder.ClustersDir = filepath.Join(filepath.Dir(folder.DataDir), "clusters")
		if os.Geteuid() != 0 {
			start(ctx, folder.config()) // the server is the folder's owner
			return
		}
		_, err := pgembed.Start(ctx, folder.config())
		Expect(err).To(MatchError(pgembed.ErrUnreachable))
	})

	It("says so when a cluster's parent was closed since", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(os.Chmod(folder.DataDir, 0o700)).To(Succeed())
		if os.Geteuid() != 0 {
			start(ctx, folder.config())
			return
		}
		_, err := pgembed.Start(ctx, folder.config())
		Expect(err).To(MatchError(pgembed.ErrUnreachable))
		Expect(os.Chmod(folder.DataDir, 0o711)).To(Succeed())
		start(ctx, folder.config())
	})
})

var _ = Describe("an ordinary user", func() {
	It("runs the server itself, below a private folder too, and root can serve that folder later", func(ctx SpecContext) {
		folder := newFolder()
		base := filepath.Dir(folder.DataDir)
		program := filepath.Join(base, "helper")
		copyProgram(os.Args[0], program)
		folder.DataDir = filepath.Join(base, "home", "data")
		Expect(os.Mkdir(filepath.Dir(folder.DataDir), 0o700)).To(Succeed())
		if os.Geteuid() == 0 {
			uid, gid := serverUser()
			Expect(os.Chown(filepath.Dir(folder.DataDir), int(uid), int(gid))).To(Succeed())
		}

		h, reports := launchHelper(folder, func(cmd *exec.Cmd) {
			cmd.Path = program
			asServerUser(cmd)
		})
		Eventually(reports).Should(Receive(&h.helperReport))
		Expect(h.Dir).To(Equal(filepath.Join(folder.DataDir, "postgres")))
		Expect(works(ctx, h.DSN)()).To(Succeed())
		info, err := os.Stat(folder.DataDir)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o700)))
		h.say("release")
		Eventually(h.exit).Should(BeClosed())
		Expect(h.err).NotTo(HaveOccurred())

		c := start(ctx, folder.config())
		Expect(c.OwnerDSN()).To(Equal(h.DSN))
		stat, ok := must(os.Stat(filepath.Join(c.Dir(), "archon.conf"))).Sys().(*syscall.Stat_t)
		Expect(ok).To(BeTrue())
		Expect(stat.Uid).NotTo(BeZero())
	})
})

var _ = Describe("the state file", func() {
	It("holds key, port and nothing that names the machine", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		raw, err := os.ReadFile(filepath.Join(folder.DataDir, "postgres.json"))
		Expect(err).NotTo(HaveOccurred())
		var content map[string]any
		Expect(json.Unmarshal(raw, &content)).To(Succeed())
		Expect(content).To(HaveKey("key"))
		Expect(content).To(HaveKeyWithValue("port", BeNumerically("==", portOf(c.OwnerDSN()))))
		Expect(content).To(HaveLen(2))
	})
})

func must[T any](value T, err error) T {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	return value
}

func copyProgram(from, to string) {
	GinkgoHelper()
	source := must(os.Open(from))
	defer func() { _ = source.Close() }()
	target := must(os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600))
	_, err := io.Copy(target, source)
	Expect(err).NotTo(HaveOccurred())
	Expect(target.Close()).To(Succeed())
	Expect(os.Chmod(to, 0o755)).To(Succeed())
}
