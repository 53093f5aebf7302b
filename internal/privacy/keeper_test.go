package privacy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/secrets"
)

const (
	tenant  = "acme"
	subject = "auth0|5f7c8ec7c33c6c004bbafe82"
	many    = 50
)

var _ = Describe("Keeper", func() {
	var (
		store  *faultyStore
		keeper *privacy.Keeper
	)

	text := []byte("203.0.113.7")

	seal := func(ctx context.Context, k *privacy.Keeper) privacy.Envelope {
		GinkgoHelper()

		envelope, err := k.Seal(ctx, tenant, subject, text)
		Expect(err).NotTo(HaveOccurred())

		return envelope
	}

	expectOpens := func(ctx context.Context, k *privacy.Keeper, envelope privacy.Envelope) {
		GinkgoHelper()

		plaintext, err := k.Open(ctx, tenant, envelope)
		Expect(err).NotTo(HaveOccurred())
		Expect(plaintext).To(Equal(text))
	}

	expectErased := func(ctx context.Context, k *privacy.Keeper, envelope privacy.Envelope) {
		GinkgoHelper()

		plaintext, err := k.Open(ctx, tenant, envelope)
		Expect(err).To(MatchError(privacy.ErrErased))
		Expect(plaintext).To(BeNil())
	}

	BeforeEach(func() {
		embedded, err := secrets.OpenEmbedded(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())

		store = &faultyStore{Store: embedded}
		keeper = privacy.NewKeeper(store)
	})

	It("seals what another node opens", func(ctx SpecContext) {
		first, second := seal(ctx, keeper), seal(ctx, keeper)

		Expect(first.KeyID).To(Equal(privacy.KeyID(tenant, subject, 0)))
		Expect(second.KeyID).To(Equal(first.KeyID))
		Expect(second.Nonce).NotTo(Equal(first.Nonce))
		Expect(second.Ciphertext).NotTo(Equal(first.Ciphertext))

		stored, err := json.Marshal(first)
		Expect(err).NotTo(HaveOccurred())
		Expect(bytes.Contains(stored, text)).To(BeFalse())

		var read privacy.Envelope
		Expect(json.Unmarshal(stored, &read)).To(Succeed())

		other := privacy.NewKeeper(store)
		expectOpens(ctx, other, read)
		expectOpens(ctx, keeper, read)
		expectOpens(ctx, keeper, seal(ctx, other))
	})

	It("gives each subject and tenant a key of its own", func(ctx SpecContext) {
		seen := map[string]bool{}

		for _, name := range [][2]string{{"acme", "a"}, {"acme", "b"}, {"globex", "a"}, {"acme", "0"}, {"acme", "0\x00a"}} {
			envelope, err := keeper.Seal(ctx, name[0], name[1], text)
			Expect(err).NotTo(HaveOccurred())

			seen[envelope.KeyID.String()], seen[fmt.Sprint(envelope.Commitment)] = true, true
		}

		Expect(seen).To(HaveLen(10))
		Expect(store.List(ctx, "tenants/globex/subjects")).To(Equal([]string{privacy.KeyID("globex", "a", 0).String()}))
	})

	It("refuses to open in another tenant", func(ctx SpecContext) {
		envelope := seal(ctx, keeper)

		_, err := keeper.Open(ctx, "globex", envelope)
		Expect(err).To(MatchError(privacy.ErrErased), "the other tenant has no such key")

		// Even where the other tenant has a key of that id.
		value, _, err := store.Get(ctx, privacy.KeyPath(tenant, envelope.KeyID), 0)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.Put(ctx, privacy.KeyPath("initech", envelope.KeyID), value)
		Expect(err).NotTo(HaveOccurred())

		_, err = keeper.Open(ctx, "initech", envelope)
		Expect(err).To(MatchError(privacy.ErrTampered))
	})

	It("notices a change", func(ctx SpecContext) {
		for _, change := range []func(*privacy.Envelope){
			func(e *privacy.Envelope) { e.Commitment[0] ^= 1 },
			func(e *privacy.Envelope) { e.Nonce[0] ^= 1 },
			func(e *privacy.Envelope) { e.Ciphertext[0] ^= 1 },
			func(e *privacy.Envelope) { e.Ciphertext = e.Ciphertext[:len(e.Ciphertext)-1] },
		} {
			envelope := seal(ctx, keeper)
			change(&envelope)

			_, err := keeper.Open(ctx, tenant, envelope)
			Expect(err).To(MatchError(privacy.ErrTampered))
		}
	})

	It("agrees with all nodes on one key", func(ctx SpecContext) {
		envelopes := make([]privacy.Envelope, many)

		var group sync.WaitGroup
		for i := range envelopes {
			node := privacy.NewKeeper(store)
			group.Go(func() {
				defer GinkgoRecover()

				envelopes[i] = seal(ctx, node)
			})
		}

		group.Wait()

		for _, envelope := range envelopes {
			Expect(envelope.Commitment).To(Equal(envelopes[0].Commitment))
			expectOpens(ctx, keeper, envelope)
		}
	})

	It("asks the store once for all who seal at once, and not again", func(ctx SpecContext) {
		store.set(func(f *faultyStore) { f.hang = 50 * time.Millisecond })

		var group sync.WaitGroup
		for range many {
			group.Go(func() {
				defer GinkgoRecover()

				expectOpens(ctx, keeper, seal(ctx, keeper))
			})
		}

		group.Wait()
		Expect(store.gets.Load()).To(BeEquivalentTo(1))
		Expect(store.puts.Load()).To(BeEquivalentTo(1))
	})

	It("does not make others suffer for a caller who went away", func(ctx SpecContext) {
		store.set(func(f *faultyStore) { f.hang = 200 * time.Millisecond })

		leaving, leave := context.WithCancel(ctx)
		gone := make(chan error, 1)

		go func() {
			_, err := keeper.Seal(leaving, tenant, subject, text)
			gone <- err
		}()

		Eventually(store.gets.Load).Should(BeEquivalentTo(1))

		stays := make(chan error, 1)

		go func() {
			_, err := keeper.Seal(ctx, tenant, subject, text)
			stays <- err
		}()

		leave()
		Eventually(gone).Should(Receive(MatchError(context.Canceled)))
		Eventually(stays).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
	})

	It("remembers a bounded number of keys", func(ctx SpecContext) {
		keeper = privacy.NewKeeperWith(store, privacy.Config{CacheSize: 2})
		for _, name := range []string{"a", "b", "c", "a"} {
			_, err := keeper.Seal(ctx, tenant, name, text)
			Expect(err).NotTo(HaveOccurred())
		}

		Expect(store.gets.Load()).To(BeEquivalentTo(4), "the first was forgotten")
		Expect(func() { privacy.NewKeeperWith(store, privacy.Config{CacheSize: -1}) }).To(Panic())
	})

	It("refuses what cannot have a key", func(ctx SpecContext) {
		for _, name := range [][2]string{{"", "s"}, {"a/b", "s"}, {"..", "s"}, {"a\x00b", "s"}, {tenant, ""}} {
			_, sealErr := keeper.Seal(ctx, name[0], name[1], text)
			Expect(sealErr).To(MatchError(privacy.ErrInvalid))
			Expect(keeper.Erase(ctx, name[0], name[1])).To(MatchError(privacy.ErrInvalid))
		}

		_, err := keeper.Open(ctx, "a/b", seal(ctx, keeper))
		Expect(err).To(MatchError(privacy.ErrInvalid))

		_, err = keeper.Seal(ctx, tenant, subject, make([]byte, privacy.MaxPlaintextBytes+1))
		Expect(err).To(MatchError(privacy.ErrTooLarge))

		envelope, err := keeper.Seal(ctx, tenant, subject, make([]byte, privacy.MaxPlaintextBytes))
		Expect(err).NotTo(HaveOccurred())
		stored, err := json.Marshal(envelope)
		Expect(err).NotTo(HaveOccurred())
		Expect(privacy.ParseEnvelope(stored)).To(Equal(envelope))
	})

	Describe("erases", func() {
		It("all that was sealed, and starts anew", func(ctx SpecContext) {
			old := seal(ctx, keeper)
			other, err := keeper.Seal(ctx, tenant, "another", text)
			Expect(err).NotTo(HaveOccurred())

			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			expectErased(ctx, keeper, old)
			expectErased(ctx, privacy.NewKeeper(store), old)
			expectOpens(ctx, keeper, other)

			_, _, err = store.Get(ctx, privacy.KeyPath(tenant, old.KeyID), 1)
			Expect(err).To(MatchError(secrets.ErrNotFound), "the key itself is destroyed")

			again := seal(ctx, keeper)
			Expect(again.KeyID).To(Equal(privacy.KeyID(tenant, subject, 1)))
			expectOpens(ctx, privacy.NewKeeper(store), again)
			expectErased(ctx, keeper, old)

			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			expectErased(ctx, keeper, again)
			Expect(seal(ctx, keeper).KeyID).To(Equal(privacy.KeyID(tenant, subject, 2)))
		})

		It("twice as once, and what was never there", func(ctx SpecContext) {
			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			Expect(store.List(ctx, "tenants")).To(BeEmpty(), "nothing is written for a stranger")

			old := seal(ctx, keeper)

			for range 3 {
				Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			}

			expectErased(ctx, keeper, old)
			Expect(seal(ctx, keeper).KeyID).To(Equal(privacy.KeyID(tenant, subject, 1)))
		})

		It("the rest where it was interrupted", func(ctx SpecContext) {
			old := seal(ctx, keeper)
			path := privacy.KeyPath(tenant, old.KeyID)

			failure := errors.New("killed")
			store.set(func(f *faultyStore) { f.destroyFailure = failure })
			Expect(keeper.Erase(ctx, tenant, subject)).To(MatchError(failure))
			expectErased(ctx, keeper, old)
			_, _, err := store.Get(ctx, path, 1)
			Expect(err).NotTo(HaveOccurred(), "the key is still there")

			store.set(func(f *faultyStore) { f.destroyFailure = nil })
			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			_, _, err = store.Get(ctx, path, 1)
			Expect(err).To(MatchError(secrets.ErrNotFound))
		})

		It("also past a key that somebody destroyed by hand", func(ctx SpecContext) {
			old := seal(ctx, keeper)
			Expect(store.DestroyVersions(ctx, privacy.KeyPath(tenant, old.KeyID), 1)).To(Succeed())

			keeper = privacy.NewKeeper(store)
			expectErased(ctx, keeper, old)
			next := seal(ctx, keeper)
			Expect(next.KeyID).To(Equal(privacy.KeyID(tenant, subject, 1)))

			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			expectErased(ctx, keeper, next)
		})

		It("a key that is damaged", func(ctx SpecContext) {
			old := seal(ctx, keeper)
			path := privacy.KeyPath(tenant, old.KeyID)

			for _, key := range []string{"", "AAAA", "!"} {
				_, err := store.Put(ctx, path, map[string]string{"key": key})
				Expect(err).NotTo(HaveOccurred())

				_, err = privacy.NewKeeper(store).Open(ctx, tenant, old)
				Expect(err).To(MatchError(secrets.ErrCorrupt))
				_, err = privacy.NewKeeper(store).Seal(ctx, tenant, subject, text)
				Expect(err).To(MatchError(secrets.ErrCorrupt))
			}

			Expect(keeper.Erase(ctx, tenant, subject)).To(Succeed())
			expectErased(ctx, keeper, old)
			Expect(seal(ctx, keeper).KeyID).To(Equal(privacy.KeyID(tenant, subject, 1)))
		})

		It("while another node makes the key", func(ctx SpecContext) {
			store.set(func(f *faultyStore) {
				f.beforePut = func() {
					defer GinkgoRecover()

					other := privacy.NewKeeper(store)
					seal(ctx, other)
					Expect(other.Erase(ctx, tenant, subject)).To(Succeed())
				}
			})

			envelope := seal(ctx, keeper)
			Expect(envelope.KeyID).To(Equal(privacy.KeyID(tenant, subject, 1)), "never the one that is gone")
			expectOpens(ctx, privacy.NewKeeper(store), envelope)
		})

		It("nothing where the store is away, and says so", func(ctx SpecContext) {
			old := seal(ctx, keeper)

			store.fail(secrets.ErrUnavailable)
			Expect(keeper.Erase(ctx, tenant, subject)).To(MatchError(secrets.ErrUnavailable))

			store.fail(nil)
			expectOpens(ctx, keeper, old)
		})
	})

	Describe("without its store", func() {
		It("cannot seal for somebody new, nor open what it does not know", func(ctx SpecContext) {
			envelope := seal(ctx, privacy.NewKeeper(store))

			store.fail(fmt.Errorf("get secret: %w", secrets.ErrUnavailable))

			_, err := keeper.Seal(ctx, tenant, subject, text)
			Expect(err).To(MatchError(secrets.ErrUnavailable))

			_, err = keeper.Open(ctx, tenant, envelope)
			Expect(err).To(MatchError(secrets.ErrUnavailable))
			Expect(err).NotTo(MatchError(privacy.ErrErased))

			store.fail(nil)
			expectOpens(ctx, keeper, envelope)
		})
	})
})
