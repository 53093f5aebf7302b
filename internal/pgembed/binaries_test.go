package pgembed_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/pgembed"
)

// fakePrograms makes a folder of programs of a given version, as far as FindBinaries looks.
func fakePrograms(version string) string {
	GinkgoHelper()
	dir := newBase()
	writeProgram(dir, "initdb", "#!/bin/sh\n")
	writeProgram(dir, "postgres", fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version))
	return dir
}

var _ = Describe("FindBinaries", func() {
	It("takes the newest of what it finds, through links in PATH too", func(ctx SpecContext) {
		newest, linked := fakePrograms("99.3 (Debian 99.3-1)"), newBase()
		Expect(os.Symlink(filepath.Join(newest, "postgres"), filepath.Join(linked, "postgres"))).To(Succeed())
		GinkgoT().Setenv("PATH", fakePrograms("98.1")+":"+linked+":"+os.Getenv("PATH"))
		dir, major, err := pgembed.FindBinaries(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(dir).To(Equal(newest))
		Expect(major).To(Equal(99))
	})

	It("takes only the given folder", func(ctx SpecContext) {
		GinkgoT().Setenv("PATH", fakePrograms("99.3")+":"+os.Getenv("PATH"))
		given := fakePrograms("17beta1")
		dir, major, err := pgembed.FindBinaries(ctx, given)
		Expect(err).NotTo(HaveOccurred())
		Expect(dir).To(Equal(given))
		Expect(major).To(Equal(17))
	})

	DescribeTable("refuses a given folder without usable programs, and says what to do", func(ctx SpecContext, prepare func() string) {
		dir := prepare()
		_, _, err := pgembed.FindBinaries(ctx, dir)
		Expect(err).To(MatchError(pgembed.ErrNoPostgres))
		for _, hint := range []string{"apt-get install postgresql", "brew install", "ARCHON_PG_BIN=" + dir, "ARCHON_DATABASE_URL"} {
			Expect(err).To(MatchError(ContainSubstring(hint)))
		}
	},
		Entry("no such folder", func() string { return filepath.Join(newBase(), "none") }),
		Entry("too old", func() string { return fakePrograms("14.12") }),
		Entry("no version", func() string { return fakePrograms("unknown") }),
		Entry("a program that fails", func() string {
			dir := fakePrograms("16.1")
			writeProgram(dir, "postgres", "#!/bin/sh\nexit 1\n")
			return dir
		}),
		Entry("postgres alone", func() string {
			dir := fakePrograms("16.1")
			Expect(os.Remove(filepath.Join(dir, "initdb"))).To(Succeed())
			return dir
		}),
	)

	It("does not mistake a called-off search for an empty machine", func(ctx SpecContext) {
		off, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := pgembed.FindBinaries(off, "")
		Expect(err).To(MatchError(context.Canceled))
	})
})
