package secrets_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/archonhq/archon/internal/secrets"
)

// destroyRounds is how often a race of microseconds is tried.
const destroyRounds = 30

var _ = Describe("the embedded store on disk", func() {
	var (
		dir   string
		store *secrets.Embedded
	)

	value := map[string]string{"api_key": secretText}

	open := func() *secrets.Embedded {
		GinkgoHelper()

		opened, err := secrets.OpenEmbedded(dir)
		Expect(err).NotTo(HaveOccurred())

		return opened
	}

	put := func(path string) {
		GinkgoHelper()

		_, err := store.Put(context.Background(), path, value)
		Expect(err).NotTo(HaveOccurred())
	}

	file := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }

	expectCorrupt := func(ctx context.Context, path string) {
		GinkgoHelper()

		_, _, err := store.Get(ctx, path, 0)
		Expect(err).To(MatchError(secrets.ErrCorrupt))
		Expect(err.Error()).NotTo(ContainSubstring(secretText))
	}

	BeforeEach(func() {
		dir = filepath.Join(GinkgoT().TempDir(), "data", "secrets")
		store = open()
	})

	It("is laid out as documented, readable by the owner alone, and shows no value", func() {
		put("tenants/acme/providers/p1")
		put("tenants/acme/providers/p1")

		Expect(file("secrets/tenants/acme/providers/p1@/0000000001.age")).To(BeARegularFile())
		Expect(file("secrets/tenants/acme/providers/p1@/0000000002.age")).To(BeARegularFile())

		err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			Expect(err).NotTo(HaveOccurred())

			info, err := entry.Info()
			Expect(err).NotTo(HaveOccurred())
			Expect(info.Mode().Perm()&0o077).To(BeZero(), name)

			if entry.Type().IsRegular() {
				content, err := os.ReadFile(name)
				Expect(err).NotTo(HaveOccurred())
				Expect(bytes.Contains(content, []byte(secretText))).To(BeFalse(), name)
			}

			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(os.ReadFile(file("identity.age-key"))).To(ContainSubstring("\nAGE-SECRET-KEY-1"))
	})

	It("drops the versions that are too old", func(ctx SpecContext) {
		put("a")
		put("a")
		Expect(store.DestroyVersions(ctx, "a", 2)).To(Succeed())

		for range secrets.KeptVersions + 3 {
			put("a")
		}

		names, err := os.ReadDir(file("secrets/a@"))
		Expect(err).NotTo(HaveOccurred())
		Expect(names).To(HaveLen(secrets.KeptVersions))

		_, _, err = store.Get(ctx, "a", 3)
		Expect(err).To(MatchError(secrets.ErrNotFound))
	})

	It("leaves nothing of what was destroyed", func(ctx SpecContext) {
		put("a")
		put("a")
		put("b")
		Expect(store.DestroyVersions(ctx, "a", 1)).To(Succeed())
		Expect(file("secrets/a@/0000000001.age")).NotTo(BeAnExistingFile())
		Expect(file("secrets/a@/0000000001.gone")).To(BeARegularFile())

		Expect(store.Destroy(ctx, "a")).To(Succeed())
		Expect(file("secrets/a@")).NotTo(BeAnExistingFile())
		Expect(os.ReadDir(file("trash"))).To(BeEmpty())
	})

	It("shows no older version while a path is being destroyed", func(ctx SpecContext) {
		for range destroyRounds {
			for range secrets.KeptVersions {
				put("a")
			}

			destroyed := make(chan error, 1)
			go func() { destroyed <- store.Destroy(ctx, "a") }()

			for {
				_, version, err := store.Get(ctx, "a", 0)
				if err != nil {
					Expect(err).To(MatchError(secrets.ErrNotFound))

					break
				}

				Expect(version).To(Equal(secrets.KeptVersions))
			}

			Expect(<-destroyed).NotTo(HaveOccurred())
		}
	})

	Describe("after a process was killed", func() {
		It("in a write", func(ctx SpecContext) {
			put("a")
			temp := file("secrets/a@/.tmp-LEFT")
			Expect(os.WriteFile(temp, []byte("half"), 0o600)).To(Succeed())
			Expect(os.MkdirAll(file("secrets/never@"), 0o700)).To(Succeed())
			Expect(os.WriteFile(file("secrets/never@/.tmp-LEFT"), []byte("half"), 0o600)).To(Succeed())

			store = open()
			Expect(store.List(ctx, "")).To(Equal([]string{"a"}))
			_, _, err := store.Get(ctx, "never", 0)
			Expect(err).To(MatchError(secrets.ErrNotFound))

			put("a")
			Expect(temp).NotTo(BeAnExistingFile())
			Expect(store.PutIfVersion(ctx, "never", 0, value)).To(Equal(1))
			Expect(file("secrets/never@/.tmp-LEFT")).NotTo(BeAnExistingFile())
		})

		It("between a write's last two steps, and the version is destroyed then", func(ctx SpecContext) {
			put("a")
			live, temp := file("secrets/a@/0000000001.age"), file("secrets/a@/.tmp-LEFT")
			Expect(os.Link(live, temp)).To(Succeed())

			Expect(store.DestroyVersions(ctx, "a", 1)).To(Succeed())
			Expect(temp).NotTo(BeAnExistingFile())
		})

		It("in the destruction of a version", func(ctx SpecContext) {
			put("a")
			put("a")
			live := file("secrets/a@/0000000002.age")
			Expect(os.WriteFile(file("secrets/a@/0000000002.gone"), nil, 0o600)).To(Succeed())

			_, _, err := store.Get(ctx, "a", 0)
			Expect(err).To(MatchError(secrets.ErrNotFound))

			Expect(store.DestroyVersions(ctx, "a", 2)).To(Succeed())
			Expect(live).NotTo(BeAnExistingFile())
		})

		It("in the destruction of a path", func(ctx SpecContext) {
			put("a")
			Expect(os.Rename(file("secrets/a@"), file("trash/LEFT"))).To(Succeed())
			Expect(store.Destroy(ctx, "a")).To(Succeed(), "as its caller tries again")
			Expect(file("trash/LEFT")).NotTo(BeAnExistingFile())

			put("b")
			Expect(os.Rename(file("secrets/b@"), file("trash/LEFT"))).To(Succeed())

			store = open()
			Expect(file("trash/LEFT")).NotTo(BeAnExistingFile())
		})
	})

	It("does not mind files of others", func(ctx SpecContext) {
		put("a")

		for _, name := range []string{"notes.txt", "0000000009", "0.age", "x.age", "-1.gone"} {
			Expect(os.WriteFile(file("secrets/a@", name), []byte("x"), 0o600)).To(Succeed())
		}

		_, version, err := store.Get(ctx, "a", 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(version).To(Equal(1))
	})

	Describe("with damage", func() {
		const first = "secrets/a@/0000000001.age"

		BeforeEach(func() { put("a") })

		It("to any byte", func(ctx SpecContext) {
			whole, err := os.ReadFile(file(first))
			Expect(err).NotTo(HaveOccurred())

			for i := range whole {
				damaged := bytes.Clone(whole)
				damaged[i] ^= 1
				Expect(os.WriteFile(file(first), damaged, 0o600)).To(Succeed())
				expectCorrupt(ctx, "a")
			}

			for i := range whole {
				Expect(os.WriteFile(file(first), whole[:i], 0o600)).To(Succeed())
				expectCorrupt(ctx, "a")
			}
		})

		It("by a file that was moved to another version or path", func(ctx SpecContext) {
			Expect(os.Link(file(first), file("secrets/a@/0000000002.age"))).To(Succeed())
			expectCorrupt(ctx, "a")

			Expect(os.Rename(file("secrets/a@"), file("secrets/b@"))).To(Succeed())
			Expect(os.Remove(file("secrets/b@/0000000002.age"))).To(Succeed())
			expectCorrupt(ctx, "b")
		})

		It("by another identity", func(ctx SpecContext) {
			Expect(os.Remove(file("identity.age-key"))).To(Succeed())
			Expect(os.Rename(file("secrets"), file("away"))).To(Succeed())

			old := store
			store = open()
			Expect(old.Check(ctx)).To(MatchError(ContainSubstring("identity was replaced")))
			Expect(os.Remove(file("secrets"))).To(Succeed())
			Expect(os.Rename(file("away"), file("secrets"))).To(Succeed())
			expectCorrupt(ctx, "a")
		})

		It("by a file that is far too large", func(ctx SpecContext) {
			Expect(os.Truncate(file(first), 100<<20)).To(Succeed())
			expectCorrupt(ctx, "a")
		})
	})

	Describe("refuses to open", func() {
		expectRefusal := func(want string) {
			GinkgoHelper()

			_, err := secrets.OpenEmbedded(dir)
			Expect(err).To(MatchError(ContainSubstring(want)))
			Expect(err.Error()).NotTo(ContainSubstring("SECRET-KEY"))
		}

		It("without the identity of the secrets that it holds", func() {
			put("a")
			Expect(os.Remove(file("identity.age-key"))).To(Succeed())
			expectRefusal("put the file back from a backup")
			Expect(file("identity.age-key")).NotTo(BeAnExistingFile())
			Expect(store.Check(context.Background())).To(MatchError(secrets.ErrUnavailable))
		})

		It("with an identity that others may read", func() {
			Expect(os.Chmod(file("identity.age-key"), 0o640)).To(Succeed())
			expectRefusal("run chmod 600")
		})

		DescribeTable("with an identity that is none", func(content string) {
			Expect(os.WriteFile(file("identity.age-key"), []byte(content), 0o600)).To(Succeed())
			expectRefusal("does not hold")
		},
			Entry("empty", ""),
			Entry("damaged", "AGE-SECRET-KEY-1QQQQ\n"),
			Entry("two", "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"+
				"AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"),
			Entry("of another kind", "AGE-SECRET-KEY-PQ-1XXXX\n"),
		)

		It("with an identity that is far too large", func() {
			Expect(os.WriteFile(file("identity.age-key"), []byte(strings.Repeat("#\n", 3<<20)), 0o600)).To(Succeed())
			expectRefusal("larger than")
		})

		It("where there is no room for its folders", func() {
			Expect(os.RemoveAll(dir)).To(Succeed())
			Expect(os.WriteFile(dir, nil, 0o600)).To(Succeed())
			expectRefusal("make folder")
		})
	})

	It("is unavailable where the file system fails", func(ctx SpecContext) {
		put("a")
		Expect(os.RemoveAll(file("secrets"))).To(Succeed())
		Expect(os.WriteFile(file("secrets"), nil, 0o600)).To(Succeed())

		_, putErr := store.Put(ctx, "a", value)
		_, _, getErr := store.Get(ctx, "a", 0)
		_, listErr := store.List(ctx, "")

		for _, err := range []error{
			putErr, getErr, listErr, store.Destroy(ctx, "a"), store.DestroyVersions(ctx, "a", 1),
		} {
			Expect(err).To(MatchError(secrets.ErrUnavailable))
		}

		Expect(os.RemoveAll(file("locks"))).To(Succeed())
		Expect(store.Destroy(ctx, "a")).To(MatchError(secrets.ErrUnavailable))
	})

	It("waits for a writer in another process, for as long as its caller does", func(ctx SpecContext) {
		put("a")

		locks, err := filepath.Glob(file("locks/*.lock"))
		Expect(err).NotTo(HaveOccurred())
		Expect(locks).To(HaveLen(1))

		lock, err := os.Open(locks[0])
		Expect(err).NotTo(HaveOccurred())
		Expect(unix.Flock(int(lock.Fd()), unix.LOCK_EX)).To(Succeed())

		short, cancel := context.WithTimeout(ctx, shortTimeout)
		defer cancel()

		_, err = store.Put(short, "a", value)
		Expect(err).To(MatchError(context.DeadlineExceeded))
		_, err = store.Put(short, "a", value)
		Expect(err).To(MatchError(context.DeadlineExceeded), "also behind the one that gave up")

		_, _, err = store.Get(ctx, "a", 0)
		Expect(err).NotTo(HaveOccurred(), "readers need no lock")

		time.AfterFunc(shortTimeout, func() { _ = lock.Close() })
		Expect(store.PutIfVersion(ctx, "a", 1, value)).To(Equal(2), "the lock came back, and nobody else wrote")
	})
})
