package secretstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
)

const (
	racers      = 16
	specTimeout = time.Minute
	bigValue    = 200 << 10
)

// suite is one spec's view: two handles on the same store, as two nodes have them, and a prefix of its own.
type suite struct {
	open         func() secrets.Store
	store, other secrets.Store
	prefix       string
}

// Run declares the specs that hold for every secrets.Store. Each call of open returns another handle on the same
// storage; Run closes them. The storage may be in use by others: the specs keep to paths of their own, and clean up.
func Run(description string, open func() secrets.Store) {
	ginkgo.Describe(description, func() {
		s := &suite{open: open}

		ginkgo.BeforeEach(func(ctx ginkgo.SpecContext) {
			s.prefix = "conformance/" + uuid.NewString()
			s.store, s.other = open(), open()

			ginkgo.DeferCleanup(func(ctx ginkgo.SpecContext) {
				gomega.Expect(s.destroyBelow(ctx, s.prefix)).To(gomega.Succeed())
				gomega.Expect(s.store.Close()).To(gomega.Succeed())
				gomega.Expect(s.other.Close()).To(gomega.Succeed())
			}, ginkgo.NodeTimeout(specTimeout))
		}, ginkgo.NodeTimeout(specTimeout))

		s.versions()
		s.checkAndSet()
		s.destruction()
		s.listing()
		s.refusals()
		s.lifecycle()
	})
}

func (s *suite) path(name string) string { return s.prefix + "/" + name }

func (s *suite) destroyBelow(ctx context.Context, prefix string) error {
	names, err := s.other.List(ctx, prefix)
	if err != nil {
		return err
	}

	for _, name := range names {
		path := prefix + "/" + name
		if folder, isFolder := strings.CutSuffix(path, "/"); isFolder {
			err = errors.Join(err, s.destroyBelow(ctx, folder))
		} else {
			err = errors.Join(err, s.other.Destroy(ctx, path))
		}
	}

	return err
}

func text(value string) map[string]string { return map[string]string{"text": value} }

func (s *suite) mustPut(ctx context.Context, path, value string) int {
	ginkgo.GinkgoHelper()

	version, err := s.store.Put(ctx, path, text(value))
	gomega.Expect(err).NotTo(gomega.HaveOccurred())

	return version
}

func expectValue(ctx context.Context, store secrets.Store, path string, version, newest int, want map[string]string) {
	ginkgo.GinkgoHelper()

	value, found, err := store.Get(ctx, path, version)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	gomega.Expect(found).To(gomega.Equal(newest))
	gomega.Expect(value).To(gomega.Equal(want))
}

func expectGone(ctx context.Context, store secrets.Store, path string, version int) {
	ginkgo.GinkgoHelper()

	value, found, err := store.Get(ctx, path, version)
	gomega.Expect(err).To(gomega.MatchError(secrets.ErrNotFound))
	gomega.Expect(value).To(gomega.BeNil())
	gomega.Expect(found).To(gomega.BeZero())
}

func (s *suite) versions() {
	ginkgo.It("numbers versions from 1 and keeps each as it was written", func(ctx ginkgo.SpecContext) {
		path := s.path("a")
		gomega.Expect(s.mustPut(ctx, path, "one")).To(gomega.Equal(1))
		gomega.Expect(s.mustPut(ctx, path, "two")).To(gomega.Equal(2))

		expectValue(ctx, s.store, path, 0, 2, text("two"))
		expectValue(ctx, s.store, path, 1, 1, text("one"))
		expectValue(ctx, s.other, path, 2, 2, text("two"))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("says that something is not there", func(ctx ginkgo.SpecContext) {
		expectGone(ctx, s.store, s.path("never"), 0)
		expectGone(ctx, s.store, s.path("never"), 1)

		s.mustPut(ctx, s.path("a/b"), "x")
		expectGone(ctx, s.store, s.path("a"), 0)
		expectGone(ctx, s.store, s.path("a/b"), 2)
		expectGone(ctx, s.store, s.path("a/b/c"), 0)
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.DescribeTable("gives back values byte for byte", func(ctx ginkgo.SpecContext, value map[string]string) {
		_, err := s.store.Put(ctx, s.path("v"), value)
		gomega.Expect(err).NotTo(gomega.HaveOccurred())

		if value == nil {
			value = map[string]string{}
		}

		expectValue(ctx, s.other, s.path("v"), 0, 1, value)
	},
		ginkgo.Entry("none", nil, ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("an empty one", map[string]string{}, ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("several fields", map[string]string{"api_key": "sk-1", "a b": "", "ключ": "日本"}, ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("what JSON escapes", text("\"\\/\x00\x1f\u2028<&>\u007f\n"), ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("what looks like a number", text("1e400"), ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a big one", text(strings.Repeat("x", bigValue)), ginkgo.NodeTimeout(specTimeout)),
	)

	ginkgo.It("keeps the newest versions readable", func(ctx ginkgo.SpecContext) {
		path := s.path("a")
		for i := 1; i <= secrets.KeptVersions+3; i++ {
			gomega.Expect(s.mustPut(ctx, path, fmt.Sprint(i))).To(gomega.Equal(i))
		}

		for i := 4; i <= secrets.KeptVersions+3; i++ {
			expectValue(ctx, s.other, path, i, i, text(fmt.Sprint(i)))
		}
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("gives no version to two writers", func(ctx ginkgo.SpecContext) {
		versions := make([]int, racers)
		s.race(func(i int, store secrets.Store) {
			defer ginkgo.GinkgoRecover()

			var err error
			versions[i], err = store.Put(ctx, s.path("raced"), text(fmt.Sprint(i)))
			gomega.Expect(err).NotTo(gomega.HaveOccurred())
		})

		newest := slices.Index(versions, racers)
		expectValue(ctx, s.store, s.path("raced"), 0, racers, text(fmt.Sprint(newest)))

		slices.Sort(versions)
		for i, version := range versions {
			gomega.Expect(version).To(gomega.Equal(i + 1))
		}
	}, ginkgo.NodeTimeout(specTimeout))
}

// race runs body for each racer at once, half of them on the other handle.
func (s *suite) race(body func(i int, store secrets.Store)) {
	var group sync.WaitGroup
	for i := range racers {
		store := s.store
		if i%2 == 1 {
			store = s.other
		}

		group.Go(func() { body(i, store) })
	}

	group.Wait()
}

func (s *suite) checkAndSet() {
	ginkgo.It("writes only after the expected version", func(ctx ginkgo.SpecContext) {
		path := s.path("a")

		_, err := s.store.PutIfVersion(ctx, path, 3, text("x"))
		gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))

		gomega.Expect(s.store.PutIfVersion(ctx, path, 0, text("one"))).To(gomega.Equal(1))

		_, err = s.other.PutIfVersion(ctx, path, 0, text("x"))
		gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))

		gomega.Expect(s.other.PutIfVersion(ctx, path, 1, text("two"))).To(gomega.Equal(2))

		_, err = s.store.PutIfVersion(ctx, path, 1, text("x"))
		gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))

		expectValue(ctx, s.store, path, 0, 2, text("two"))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("lets one of many win", func(ctx ginkgo.SpecContext) {
		path := s.path("raced")
		for expected := range 3 {
			results := make([]error, racers)
			s.race(func(i int, store secrets.Store) {
				_, results[i] = store.PutIfVersion(ctx, path, expected, text(fmt.Sprint(i)))
			})

			winner := slices.Index(results, nil)
			gomega.Expect(winner).To(gomega.BeNumerically(">=", 0), "somebody wins: %v", results)

			for i, err := range results {
				if i != winner {
					gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))
				}
			}

			expectValue(ctx, s.store, path, 0, expected+1, text(fmt.Sprint(winner)))
		}
	}, ginkgo.NodeTimeout(specTimeout))
}

func (s *suite) destruction() {
	ginkgo.It("destroys a path with all it had, and starts again at 1", func(ctx ginkgo.SpecContext) {
		path := s.path("a")
		s.mustPut(ctx, path, "one")
		s.mustPut(ctx, path, "two")
		s.mustPut(ctx, s.path("a/below"), "stays")
		s.mustPut(ctx, s.path("ab"), "stays")

		gomega.Expect(s.other.Destroy(ctx, path)).To(gomega.Succeed())
		gomega.Expect(s.store.Destroy(ctx, path)).To(gomega.Succeed(), "a second time")

		for version := range 3 {
			expectGone(ctx, s.store, path, version)
		}

		expectValue(ctx, s.store, s.path("a/below"), 0, 1, text("stays"))
		expectValue(ctx, s.store, s.path("ab"), 0, 1, text("stays"))

		gomega.Expect(s.store.PutIfVersion(ctx, path, 0, text("new"))).To(gomega.Equal(1))
		expectGone(ctx, s.other, path, 2)
		expectValue(ctx, s.other, path, 1, 1, text("new"))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("destroys what was never there", func(ctx ginkgo.SpecContext) {
		gomega.Expect(s.store.Destroy(ctx, s.path("never"))).To(gomega.Succeed())
		gomega.Expect(s.store.DestroyVersions(ctx, s.path("never"), 1)).To(gomega.Succeed())
		expectGone(ctx, s.store, s.path("never"), 0)
		gomega.Expect(s.store.PutIfVersion(ctx, s.path("never"), 0, text("x"))).To(gomega.Equal(1))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("destroys single versions and goes on counting", func(ctx ginkgo.SpecContext) {
		path := s.path("a")
		for i := 1; i <= 4; i++ {
			s.mustPut(ctx, path, fmt.Sprint(i))
		}

		gomega.Expect(s.other.DestroyVersions(ctx, path)).To(gomega.Succeed())
		gomega.Expect(s.other.DestroyVersions(ctx, path, 2, 4, 77)).To(gomega.Succeed())
		gomega.Expect(s.other.DestroyVersions(ctx, path, 2)).To(gomega.Succeed(), "a second time")

		expectGone(ctx, s.store, path, 0)
		expectGone(ctx, s.store, path, 4)
		expectGone(ctx, s.store, path, 2)
		expectValue(ctx, s.store, path, 1, 1, text("1"))
		expectValue(ctx, s.store, path, 3, 3, text("3"))

		for _, expected := range []int{0, 3} {
			_, err := s.store.PutIfVersion(ctx, path, expected, text("x"))
			gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))
		}

		gomega.Expect(s.store.PutIfVersion(ctx, path, 4, text("5"))).To(gomega.Equal(5))
		expectValue(ctx, s.other, path, 0, 5, text("5"))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("remembers a path whose versions were all destroyed", func(ctx ginkgo.SpecContext) {
		path := s.path("a")
		s.mustPut(ctx, path, "one")
		gomega.Expect(s.store.DestroyVersions(ctx, path, 1)).To(gomega.Succeed())

		_, err := s.other.PutIfVersion(ctx, path, 0, text("x"))
		gomega.Expect(err).To(gomega.MatchError(secrets.ErrVersionMismatch))
		gomega.Expect(s.store.List(ctx, s.prefix)).To(gomega.Equal([]string{"a"}))
		gomega.Expect(s.mustPut(ctx, path, "two")).To(gomega.Equal(2))
	}, ginkgo.NodeTimeout(specTimeout))
}

func (s *suite) listing() {
	ginkgo.It("lists the names directly below a prefix", func(ctx ginkgo.SpecContext) {
		for _, name := range []string{"b", "a", "a/x", "a/y/z", "c.d-e_F/1", "b2"} {
			s.mustPut(ctx, s.path(name), "x")
		}

		for _, store := range []secrets.Store{s.store, s.other} {
			gomega.Expect(store.List(ctx, s.prefix)).To(gomega.Equal([]string{"a", "a/", "b", "b2", "c.d-e_F/"}))
			gomega.Expect(store.List(ctx, s.prefix+"/")).To(gomega.HaveLen(5))
			gomega.Expect(store.List(ctx, s.path("a"))).To(gomega.Equal([]string{"x", "y/"}))
			gomega.Expect(store.List(ctx, s.path("a/y"))).To(gomega.Equal([]string{"z"}))
			gomega.Expect(store.List(ctx, s.path("b"))).To(gomega.Equal([]string{}))
			gomega.Expect(store.List(ctx, s.path("never"))).To(gomega.Equal([]string{}))
			gomega.Expect(store.List(ctx, "")).To(gomega.ContainElement("conformance/"))
		}
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("lists nothing of what was destroyed", func(ctx ginkgo.SpecContext) {
		s.mustPut(ctx, s.path("a/b/c"), "x")
		s.mustPut(ctx, s.path("d"), "x")
		gomega.Expect(s.store.Destroy(ctx, s.path("a/b/c"))).To(gomega.Succeed())

		gomega.Expect(s.other.List(ctx, s.prefix)).To(gomega.Equal([]string{"d"}))
		gomega.Expect(s.other.List(ctx, s.path("a"))).To(gomega.BeEmpty())
	}, ginkgo.NodeTimeout(specTimeout))
}
