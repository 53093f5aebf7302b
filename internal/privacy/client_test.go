package privacy_test

import (
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/secrets"
)

var _ = Describe("Keeper", func() {
	var (
		store  *faultyStore
		keeper *privacy.Keeper
	)

	BeforeEach(func() {
		embedded, err := secrets.OpenEmbedded(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())

		store = &faultyStore{Store: embedded}
		keeper = privacy.NewKeeper(store)
	})

	Describe("of clients", func() {
		It("gives back what it was given", func(ctx SpecContext) {
			for _, client := range []privacy.Client{
				{IP: "203.0.113.7", UserAgent: `curl/8.5.0 "<&>"`},
				{IP: "2001:db8::1"},
				{},
			} {
				envelope, err := keeper.SealClient(ctx, tenant, subject, client)
				Expect(err).NotTo(HaveOccurred())
				Expect(keeper.OpenClient(ctx, tenant, envelope)).To(Equal(client))
			}
		})

		It("keeps a user agent within bounds", func(ctx SpecContext) {
			envelope, err := keeper.SealClient(ctx, tenant, subject, privacy.Client{
				UserAgent: "\xff" + strings.Repeat("日", 100_000),
			})
			Expect(err).NotTo(HaveOccurred())

			client, err := keeper.OpenClient(ctx, tenant, envelope)
			Expect(err).NotTo(HaveOccurred())
			Expect(client.UserAgent).To(HavePrefix("\uFFFD日"))
			Expect(client.UserAgent).To(HaveSuffix("日"))
			Expect(len(client.UserAgent)).To(BeNumerically("~", 1023, 1))
		})

		It("says that it is something else, or nothing any more", func(ctx SpecContext) {
			other, err := keeper.Seal(ctx, tenant, subject, []byte("203.0.113.7"))
			Expect(err).NotTo(HaveOccurred())
			_, err = keeper.OpenClient(ctx, tenant, other)
			Expect(err).To(MatchError(privacy.ErrMalformed))
			Expect(err.Error()).NotTo(ContainSubstring("203"))

			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			_, err = keeper.OpenClient(ctx, tenant, other)
			Expect(err).To(MatchError(privacy.ErrErased))

			_, err = keeper.OpenClient(ctx, tenant, privacy.Envelope{})
			Expect(err).To(MatchError(privacy.ErrMalformed), "none is not an erased one")
		})
	})

	Describe("beside the fingerprint key", func() {
		It("is one for all nodes", func(ctx SpecContext) {
			keys := make([][]byte, many)

			var group sync.WaitGroup
			for i := range keys {
				group.Go(func() {
					defer GinkgoRecover()

					var err error
					keys[i], err = privacy.FingerprintKey(ctx, store)
					Expect(err).NotTo(HaveOccurred())
				})
			}

			group.Wait()
			Expect(keys[0]).To(HaveLen(32))
			Expect(keys).To(HaveEach(keys[0]))
			Expect(store.List(ctx, "system")).To(Equal([]string{"fingerprint"}))
		})

		It("loses a race as well as it wins one", func(ctx SpecContext) {
			var winner []byte

			store.set(func(f *faultyStore) {
				f.beforePut = func() {
					defer GinkgoRecover()

					var err error
					winner, err = privacy.FingerprintKey(ctx, store)
					Expect(err).NotTo(HaveOccurred())
				}
			})
			Expect(privacy.FingerprintKey(ctx, store)).To(Equal(winner))
		})

		It("says what is wrong", func(ctx SpecContext) {
			store.fail(secrets.ErrUnavailable)
			_, err := privacy.FingerprintKey(ctx, store)
			Expect(err).To(MatchError(secrets.ErrUnavailable))

			store.fail(nil)
			_, err = store.Put(ctx, "system/fingerprint", map[string]string{"key": "AAAA"})
			Expect(err).NotTo(HaveOccurred())
			_, err = privacy.FingerprintKey(ctx, store)
			Expect(err).To(MatchError(secrets.ErrCorrupt))
		})
	})
})
