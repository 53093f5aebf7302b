package pgembed_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

var _ = Describe("the first start", func() {
	It("makes a private, durable cluster", func(ctx SpecContext) {
		folder := newFolder()
		begun := time.Now()
		c := start(ctx, folder.config())
		AddReportEntry("first start", time.Since(begun).String())

		Expect(c.Adopted()).To(BeFalse())
		Expect(c.Version()).To(BeNumerically(">=", 15))
		Expect(c.Dir()).To(Equal(filepath.Join(folder.DataDir, "postgres")))
		Expect(c.Done()).NotTo(BeClosed())

		for setting, want := range map[string]string{
			"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "jit": "off", "max_connections": "120",
			"shared_buffers": "128MB", "max_wal_size": "2GB", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
			"data_checksums": "on", "server_encoding": "UTF8", "TimeZone": "UTC", "log_min_messages": "warning",
			"password_encryption": "scram-sha-256",
		} {
			Expect(query[string](ctx, c.OwnerDSN(), "select current_setting($1)", setting)).To(Equal(want), setting)
		}
		Expect(query[string](ctx, c.OwnerDSN(), "select current_database()")).To(Equal(pgembed.Database))
		Expect(query[string](ctx, c.OwnerDSN(), "select datcollate from pg_database where datname = 'archon'")).To(Equal("C"))
		Expect(query[int](ctx, c.OwnerDSN(), "select count(*)::int from pg_hba_file_rules where auth_method <> 'scram-sha-256'")).To(BeZero())
	})

	It("lets nobody in without the password", func(ctx SpecContext) {
		c := start(ctx, newFolder().config())
		Expect(c.Password(pgembed.Superuser)).To(HaveLen(64))
		Expect(c.Password("archon_app")).NotTo(Equal(c.Password(pgembed.Superuser)))

		_, err := query[int](ctx, c.DSN("archon_app"), "select 1")
		Expect(err).To(MatchError(ContainSubstring("password authentication failed")))
		exec1(ctx, c.OwnerDSN(), "create role archon_app login password '"+c.Password("archon_app")+"'")
		Expect(query[string](ctx, c.DSN("archon_app"), "select current_user::text")).To(Equal("archon_app"))
	})

	It("keeps what it wrote private and leaves nothing behind", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		for _, name := range []string{"postgres.json", "postgres.lock", "postgres.startlock", "postgres/server.log", "postgres/archon.conf"} {
			info, err := os.Stat(filepath.Join(folder.DataDir, name))
			Expect(err).NotTo(HaveOccurred())
			Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)), name)
		}
		entries, err := os.ReadDir(folder.DataDir)
		Expect(err).NotTo(HaveOccurred())
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		Expect(names).To(ConsistOf("postgres", "postgres.json", "postgres.lock", "postgres.startlock"))
		info, err := os.Stat(c.Dir())
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o700)))
	})

	It("runs the server in a process group of its own", func(ctx SpecContext) {
		c := start(ctx, newFolder().config())
		group, err := syscall.Getpgid(pidIn(c.Dir()))
		Expect(err).NotTo(HaveOccurred())
		Expect(group).NotTo(Equal(syscall.Getpgrp()))
	})

	It("applies extra settings over its own", func(ctx SpecContext) {
		cfg := newFolder().config()
		cfg.ExtraSettings = map[string]string{"work_mem": "7MB", "max_connections": "33", "search_path": `"it's", a\b`}
		c := start(ctx, cfg)
		Expect(query[string](ctx, c.OwnerDSN(), "show work_mem")).To(Equal("7MB"))
		Expect(query[string](ctx, c.OwnerDSN(), "show max_connections")).To(Equal("33"))
		Expect(query[string](ctx, c.OwnerDSN(), "show search_path")).To(Equal(`"it's", a\b`))
	})

	It("serves several data folders side by side", func(ctx SpecContext) {
		one, two := start(ctx, newFolder().config()), start(ctx, newFolder().config())
		exec1(ctx, one.OwnerDSN(), "create table only_in_one ()")
		Expect(query[bool](ctx, one.OwnerDSN(), "select to_regclass('only_in_one') is not null")).To(BeTrue())
		Expect(query[bool](ctx, two.OwnerDSN(), "select to_regclass('only_in_one') is not null")).To(BeFalse())
		Expect(one.Password("x")).NotTo(Equal(two.Password("x")))
	})

	It("makes do with plain C where the system does not know C.UTF-8", func(ctx SpecContext) {
		folder := newFolder()
		var genuine string
		folder.BinDir, genuine = programsWithout(ctx, "initdb")
		writeProgram(folder.BinDir, "initdb", `#!/bin/sh
case "$*" in *C.UTF-8*) mkdir -p "${1#--pgdata=}/half"; exit 1 ;; esac
exec '`+filepath.Join(genuine, "initdb")+`' "$@"
`)
		c := start(ctx, folder.config())
		Expect(query[string](ctx, c.OwnerDSN(), "select datctype from pg_database where datname = 'archon'")).To(Equal("C"))
	})

	It("makes the database again when it was dropped", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		exec1(ctx, strings.Replace(c.OwnerDSN(), "/archon?", "/postgres?", 1), "drop database archon")
		Expect(works(ctx, c.OwnerDSN())()).NotTo(Succeed())
		again := start(ctx, folder.config())
		Expect(again.Adopted()).To(BeTrue())
		Expect(works(ctx, again.OwnerDSN())()).To(Succeed())
	})

	It("takes a relative data folder", func(ctx SpecContext) {
		folder := newFolder()
		GinkgoT().Chdir(filepath.Dir(folder.DataDir))
		c := start(ctx, pgembed.Config{DataDir: "data", ClustersDir: "clusters"})
		Expect(c.Dir()).To(HaveSuffix("/data/postgres"))
		Expect(filepath.IsAbs(c.Dir())).To(BeTrue())
	})
})

var _ = Describe("a start that cannot be", func() {
	refused := func(ctx context.Context, cfg pgembed.Config) error {
		c, err := pgembed.Start(ctx, cfg)
		Expect(c).To(BeNil())
		return err
	}

	It("names a missing data folder", func(ctx SpecContext) {
		Expect(refused(ctx, pgembed.Config{})).To(MatchError(pgembed.ErrNoDataDir))
	})

	It("says which major version an existing cluster needs", func(ctx SpecContext) {
		folder := newFolder()
		dir := filepath.Join(folder.DataDir, "postgres")
		Expect(os.MkdirAll(dir, 0o711)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(folder.DataDir, "postgres.json"), []byte(validState), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("9876\n"), 0o600)).To(Succeed())
		Expect(refused(ctx, folder.config())).To(And(MatchError(pgembed.ErrWrongMajor), MatchError(ContainSubstring("postgresql-9876"))))
	})

	DescribeTable("does not guess at a broken state file", func(ctx SpecContext, content string) {
		folder := newFolder()
		Expect(os.MkdirAll(folder.DataDir, 0o711)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(folder.DataDir, "postgres.json"), []byte(content), 0o600)).To(Succeed())
		Expect(refused(ctx, folder.config())).To(MatchError(pgembed.ErrBadState))
	},
		Entry("not JSON", `{"key": `),
		Entry("no key", `{}`),
		Entry("a short key", `{"key":"00ff"}`),
		Entry("a cluster elsewhere", `{"key":"`+validKey+`","cluster":"../../elsewhere"}`),
	)

	It("does not lock itself out of a cluster whose key is gone", func(ctx SpecContext) {
		folder := newFolder()
		c := start(ctx, folder.config())
		Expect(c.Release(ctx)).To(Succeed())
		Expect(os.Remove(filepath.Join(folder.DataDir, "postgres.json"))).To(Succeed())
		Expect(refused(ctx, folder.config())).To(MatchError(pgembed.ErrKeyMissing))
	})

	DescribeTable("refuses malformed settings", func(ctx SpecContext, name, value string) {
		cfg := newFolder().config()
		cfg.ExtraSettings = map[string]string{name: value}
		Expect(refused(ctx, cfg)).To(MatchError(pgembed.ErrBadSetting))
		Expect(cfg.DataDir).NotTo(BeADirectory())
	},
		Entry("a name that is none", "work_mem = 1; x", "1"),
		Entry("a value with a line break", "work_mem", "1MB'\nfsync = off"),
	)

	It("tells in the server's words why it does not run", func(ctx SpecContext) {
		cfg := newFolder().config()
		cfg.ExtraSettings = map[string]string{"no_such_setting": "1"}
		Expect(refused(ctx, cfg)).To(MatchError(ContainSubstring(`unrecognized configuration parameter "no_such_setting"`)))
	})

	It("repeats what initdb complained about, and cleans up", func(ctx SpecContext) {
		folder := newFolder()
		folder.BinDir, _ = programsWithout(ctx, "initdb")
		writeProgram(folder.BinDir, "initdb", "#!/bin/sh\necho 'no space left' >&2; exit 1\n")
		Expect(refused(ctx, folder.config())).To(MatchError(ContainSubstring("no space left")))
		Expect(glob(folder.DataDir, "postgres*init*")).To(BeEmpty())
		folder.BinDir = ""
		start(ctx, folder.config())
	})

	It("leaves no server when the start is called off", func(ctx SpecContext) {
		folder := newFolder()
		off, cancel := context.WithCancel(ctx)
		cancel()
		Expect(refused(off, folder.config())).To(MatchError(context.Canceled))
		Expect(pidIn(filepath.Join(folder.DataDir, "postgres"))).To(BeZero())
		start(ctx, folder.config())
	})
})

const (
	validKey   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	validState = `{"key":"` + validKey + `","port":0}`
)
