package secretstest

import (
	"context"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
)

func (s *suite) refusals() {
	ginkgo.DescribeTable("refuses paths that not every store could keep", func(ctx ginkgo.SpecContext, path string) {
		_, putErr := s.store.Put(ctx, path, text("x"))
		_, casErr := s.store.PutIfVersion(ctx, path, 0, text("x"))
		_, _, getErr := s.store.Get(ctx, path, 0)
		destroyErr := s.store.Destroy(ctx, path)
		versionsErr := s.store.DestroyVersions(ctx, path, 1)

		for _, err := range []error{putErr, casErr, getErr, destroyErr, versionsErr} {
			gomega.Expect(err).To(gomega.MatchError(secrets.ErrInvalid))
		}
	},
		ginkgo.Entry("none", "", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("rooted", "/a", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a folder", "a/", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("an empty segment", "a//b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("the folder itself", "a/./b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("the folder above", "a/../b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("dots", "a..b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a space", "a b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("an at sign", "a@", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a query", "a?version=1", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("an escape", "a%2fb", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("NUL", "a\x00b", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("another alphabet", "дом", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a long segment", strings.Repeat("a", secrets.MaxSegmentBytes+1), ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a deep one", strings.Repeat("a/", secrets.MaxPathDepth)+"a", ginkgo.NodeTimeout(specTimeout)),
		ginkgo.Entry("a long one", strings.Repeat(strings.Repeat("a", 99)+"/", 6)+"a", ginkgo.NodeTimeout(specTimeout)),
	)

	ginkgo.It("takes paths up to the limits", func(ctx ginkgo.SpecContext) {
		deep := s.prefix + strings.Repeat("/d", secrets.MaxPathDepth-2)
		long := s.path(strings.Repeat("x", secrets.MaxSegmentBytes))
		long += "/" + strings.Repeat("y", secrets.MaxSegmentBytes)
		long += "/" + strings.Repeat("z", secrets.MaxPathBytes-len(long)-1)

		for _, path := range []string{deep, long} {
			s.mustPut(ctx, path, "x")
			expectValue(ctx, s.other, path, 0, 1, text("x"))
		}
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("refuses values that would not come back the same, without telling them", func(ctx ginkgo.SpecContext) {
		const secret = "sk-very-secret"

		for _, value := range []map[string]string{
			text(secret + "\xff"),
			{secret + "\xfe": secret},
			{"": secret},
			text(secret + strings.Repeat("x", secrets.MaxValueBytes)),
		} {
			_, err := s.store.Put(ctx, s.path("a"), value)
			gomega.Expect(err).To(gomega.MatchError(secrets.ErrInvalid))
			gomega.Expect(err.Error()).NotTo(gomega.ContainSubstring(secret))
		}

		expectGone(ctx, s.store, s.path("a"), 0)
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("refuses versions and prefixes that cannot be", func(ctx ginkgo.SpecContext) {
		_, casErr := s.store.PutIfVersion(ctx, s.path("a"), -1, text("x"))
		_, _, getErr := s.store.Get(ctx, s.path("a"), -1)
		_, listErr := s.store.List(ctx, "../a")
		destroyErr := s.store.DestroyVersions(ctx, s.path("a"), 0)

		for _, err := range []error{casErr, getErr, listErr, destroyErr} {
			gomega.Expect(err).To(gomega.MatchError(secrets.ErrInvalid))
		}
	}, ginkgo.NodeTimeout(specTimeout))
}

func (s *suite) lifecycle() {
	ginkgo.It("is in order", func(ctx ginkgo.SpecContext) {
		gomega.Expect(s.store.Check(ctx)).To(gomega.Succeed())
		gomega.Expect(s.store.Kind()).To(gomega.BeElementOf(secrets.KindEmbedded, secrets.KindVault))
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("heeds a caller who went away", func(ctx ginkgo.SpecContext) {
		gone, cancel := context.WithCancel(ctx)
		cancel()

		s.each(gone, func(err error) { gomega.Expect(err).To(gomega.MatchError(context.Canceled)) })
		expectGone(ctx, s.other, s.path("a"), 0)
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("answers nothing after Close, which may come twice", func(ctx ginkgo.SpecContext) {
		closed := s.open()
		gomega.Expect(closed.Close()).To(gomega.Succeed())
		gomega.Expect(closed.Close()).To(gomega.Succeed())

		before := s.store
		s.store = closed
		s.each(ctx, func(err error) { gomega.Expect(err).To(gomega.MatchError(secrets.ErrUnavailable)) })
		s.store = before
	}, ginkgo.NodeTimeout(specTimeout))

	ginkgo.It("shows another handle what is there", func(ctx ginkgo.SpecContext) {
		s.mustPut(ctx, s.path("a"), "one")

		later := s.open()
		defer later.Close()

		expectValue(ctx, later, s.path("a"), 0, 1, text("one"))
	}, ginkgo.NodeTimeout(specTimeout))
}

// each passes the error of every call that takes a context to check.
func (s *suite) each(ctx context.Context, check func(error)) {
	ginkgo.GinkgoHelper()

	_, putErr := s.store.Put(ctx, s.path("a"), text("x"))
	_, casErr := s.store.PutIfVersion(ctx, s.path("a"), 0, text("x"))
	_, _, getErr := s.store.Get(ctx, s.path("a"), 0)
	_, listErr := s.store.List(ctx, s.prefix)

	for _, err := range []error{
		putErr, casErr, getErr, listErr, s.store.Check(ctx),
		s.store.Destroy(ctx, s.path("a")), s.store.DestroyVersions(ctx, s.path("a"), 1),
	} {
		check(err)
	}
}
