package oidcdev_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/oidcdev"
)

var _ = Describe("the key file", func() {
	var dir string

	BeforeEach(func() { dir = filepath.Join(GinkgoT().TempDir(), "data", "oidc") })

	It("is readable by its owner only, and so is its folder", func() {
		open(dir)

		for name, mode := range map[string]fs.FileMode{"issuer.json": 0o600, ".": fs.ModeDir | 0o700} {
			info, err := os.Stat(filepath.Join(dir, name))
			Expect(err).NotTo(HaveOccurred())
			Expect(info.Mode()).To(Equal(mode), name)
		}
	})

	It("survives a restart with key and URL", func() {
		first := open(dir)
		text := token(first, claims())

		second, err := oidcdev.Open(oidcdev.Config{Dir: dir, URL: "http://localhost:9999/elsewhere"})
		Expect(err).NotTo(HaveOccurred())
		Expect(second.URL()).To(Equal(issuerURL))
		Expect(second.Keys()).To(Equal(first.Keys()))

		_, err = verify(second, text, auth.Config{})
		Expect(err).NotTo(HaveOccurred())
	})

	It("is made once by many who open the folder at once", func() {
		const callers = 16

		ids := make(chan string, callers)

		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				defer GinkgoRecover()
				ids <- open(dir).Keys()[0].KeyID
			})
		}

		group.Wait()
		close(ids)

		first := <-ids
		for id := range ids {
			Expect(id).To(Equal(first))
		}
	})

	It("is made although an earlier attempt died half-way", func() {
		Expect(os.MkdirAll(dir, 0o700)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "issuer.json.new"), []byte(`{"half`), 0o644)).To(Succeed())

		issuer := open(dir)
		Expect(issuer.Keys()).To(HaveLen(1))

		info, err := os.Stat(filepath.Join(dir, "issuer.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(fs.FileMode(0o600)))
	})

	DescribeTable(
		"is refused when it is damaged, and stays as it is",
		func(damage func(content string) string) {
			open(dir)

			path := filepath.Join(dir, "issuer.json")
			content, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())

			damaged := damage(string(content))
			Expect(os.WriteFile(path, []byte(damaged), 0o600)).To(Succeed())

			_, err = oidcdev.Open(oidcdev.Config{Dir: dir, URL: issuerURL})
			Expect(err).To(MatchError(oidcdev.ErrKeyFile))
			Expect(err.Error()).To(ContainSubstring("move it away"))
			Expect(os.ReadFile(path)).To(BeEquivalentTo(damaged))
		},
		Entry("empty", func(string) string { return "" }),
		Entry("cut off", func(content string) string { return content[:len(content)/2] }),
		Entry("without a key", func(string) string { return `{"issuer":"` + issuerURL + `"}` }),
		Entry("without an issuer", func(content string) string { return strings.Replace(content, issuerURL, "", 1) }),
		Entry("with a changed key", func(content string) string { return strings.Replace(content, `"p": "`, `"p": "____`, 1) }),
	)

	It("that vanishes while Archon runs locks nobody out, and is logged once", func() {
		log := gbytes.NewBuffer()
		issuer, err := oidcdev.Open(oidcdev.Config{Dir: dir, URL: issuerURL, Log: slog.New(slog.NewTextHandler(log, nil))})
		Expect(err).NotTo(HaveOccurred())

		text := token(issuer, claims())
		Expect(os.Remove(filepath.Join(dir, "issuer.json"))).To(Succeed())

		for range 3 {
			_, err = verify(issuer, text, auth.Config{})
			Expect(err).NotTo(HaveOccurred())
		}

		Expect(strings.Count(string(log.Contents()), "issuer key file unreadable")).To(Equal(1))
		Expect(issuer.Rotate()).To(MatchError(fs.ErrNotExist))
	})

	It("can't be made where a file stands in the way", func() {
		Expect(os.MkdirAll(filepath.Dir(dir), 0o700)).To(Succeed())
		Expect(os.WriteFile(dir, nil, 0o600)).To(Succeed())

		_, err := oidcdev.Open(oidcdev.Config{Dir: dir, URL: issuerURL})
		Expect(err).To(HaveOccurred())
	})

	It("isn't replaced where the new one can't be written", func() {
		issuer := open(dir)
		before := issuer.Keys()

		Expect(os.MkdirAll(filepath.Join(dir, "issuer.json.new", "full"), 0o700)).To(Succeed())
		Expect(issuer.Rotate()).To(MatchError(ContainSubstring("temporary key file")))
		Expect(issuer.Keys()).To(Equal(before))
	})

	It("isn't touched where the lock can't be had", func() {
		issuer := open(dir)

		Expect(os.Remove(filepath.Join(dir, "issuer.json.lock"))).To(Succeed())
		Expect(os.Mkdir(filepath.Join(dir, "issuer.json.lock"), 0o700)).To(Succeed())
		Expect(issuer.Rotate()).To(MatchError(ContainSubstring("open lock")))
	})
})
