package auth_test

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/archonhq/archon/internal/auth"
)

var _ = Describe("a verifier of a remote issuer", func() {
	var (
		key      jose.JSONWebKey
		remote   *issuer
		now      *clock
		log      *gbytes.Buffer
		verifier *auth.Verifier
	)

	// start makes the verifier; specs change the issuer before.
	start := func(ctx context.Context) {
		GinkgoHelper()

		var err error
		verifier, err = auth.NewVerifier(ctx, auth.Config{
			Issuer: remote.server.URL, Audience: "archon", Now: now.Now, Log: slog.New(slog.NewTextHandler(log, nil)),
		})
		Expect(err).NotTo(HaveOccurred())
	}

	verify := func(ctx context.Context, key jose.JSONWebKey) error {
		_, err := verifier.Verify(ctx, token(key, remote.server.URL, now.Now(), nil))

		return err
	}

	BeforeEach(func() {
		key = rsaKey("k1")
		remote = newIssuer(key)
		DeferCleanup(remote.server.Close)
		DeferCleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)

		now = newClock()
		log = gbytes.NewBuffer()
	})

	It("accepts its tokens and reads its keys once", func(ctx SpecContext) {
		start(ctx)

		for range 50 {
			Expect(verify(ctx, key)).To(Succeed())
		}

		Expect(verifier.Check(ctx)).To(Succeed())
		Expect(remote.Reads("/keys")).To(Equal(1))
	})

	DescribeTable(
		"accepts each kind of key that the issuer names",
		func(ctx SpecContext, other jose.JSONWebKey) {
			remote.Publish(key, other)
			start(ctx)
			Expect(verify(ctx, other)).To(Succeed())
			Expect(verify(ctx, key)).To(Succeed())
		},
		Entry("ES256", ecKey("ec", elliptic.P256())),
		Entry("ES384", ecKey("ec", elliptic.P384())),
		Entry("EdDSA", edKey("ed")),
		Entry("without an id", jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 2048))}),
	)

	It("reads a new key when a token is signed with it, and refuses the removed one", func(ctx SpecContext) {
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())

		next := rsaKey("k2")
		remote.Publish(next)
		Expect(verify(ctx, next)).To(Succeed())
		Expect(verify(ctx, key)).To(MatchError("the token is signed with a key that its issuer does not publish"))
	})

	It("tries all keys for a token that names none", func(ctx SpecContext) {
		remote.Publish(rsaKey("k0"), key)
		start(ctx)

		nameless := key
		nameless.KeyID = ""
		Expect(verify(ctx, nameless)).To(Succeed())
	})

	It("reads a new key under an old id", func(ctx SpecContext) {
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())

		next := rsaKey("k1")
		remote.Publish(next)
		Expect(verify(ctx, next)).To(Succeed())
		Expect(verify(ctx, key)).To(MatchError("the signature of the token is wrong"))
	})

	It("stops accepting a removed key although no token is signed with another", func(ctx SpecContext) {
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())

		remote.Publish(rsaKey("k2"))
		Expect(verify(ctx, key)).To(Succeed(), "the keys are still young")

		now.Advance(5*time.Minute + time.Second)
		Eventually(ctx, func() error { return verify(ctx, key) }).WithTimeout(5 * time.Second).
			Should(MatchError("the token is signed with a key that its issuer does not publish"))
	})

	It("asks at most once in 10 s in a flood of unknown key ids and wrong signatures", func(ctx SpecContext) {
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())

		stranger := rsaKey("x")
		flood := func() {
			var group sync.WaitGroup
			for n := range 100 {
				group.Go(func() {
					defer GinkgoRecover()

					forged := stranger
					if forged.KeyID = key.KeyID; n%2 == 0 {
						forged.KeyID = fmt.Sprintf("made-up-%d", n)
					}

					var refused *auth.Error
					Expect(errors.As(verify(ctx, forged), &refused)).To(BeTrue())
				})
			}

			group.Wait()
		}

		flood()
		Expect(remote.Reads("/keys")).To(BeNumerically("<=", 4), "the first reading and a burst of three")

		By("using up what is left of the burst, since callers at the same time share a reading")

		for range 10 {
			Expect(verify(ctx, stranger)).NotTo(Succeed())
		}

		before := remote.Reads("/keys")
		Expect(before).To(Equal(4))
		now.Advance(9 * time.Second)
		flood()
		Expect(remote.Reads("/keys")).To(Equal(before))

		By("seeing a new key after these 10 s all the same")

		next := rsaKey("k2")
		remote.Publish(key, next)
		now.Advance(time.Second)
		flood()
		Expect(remote.Reads("/keys")).To(Equal(before + 1))
		Expect(verify(ctx, next)).To(Succeed())
		Expect(verify(ctx, key)).To(Succeed())
	})

	Describe("while the issuer is away", func() {
		It("starts, says so, and recovers by itself", func(ctx SpecContext) {
			remote.GoAway(true)
			start(ctx)

			Expect(verify(ctx, key)).To(MatchError(auth.ErrUnavailable))
			Expect(verifier.Check(ctx)).To(MatchError(auth.ErrUnavailable))
			Expect(log).To(gbytes.Say("token issuer unavailable"))

			remote.GoAway(false)
			now.Advance(15 * time.Second)
			Expect(verify(ctx, key)).To(Succeed())
			Expect(verifier.Check(ctx)).To(Succeed())
			Expect(log).To(gbytes.Say("token issuer available again"))
		})

		It("asks ever more rarely, up to every 15 s", func(ctx SpecContext) {
			remote.GoAway(true)
			start(ctx)

			for range 20 {
				Expect(verify(ctx, key)).To(MatchError(auth.ErrUnavailable))
			}

			Expect(remote.Reads("/.well-known/openid-configuration")).To(Equal(1))

			// The pauses are 0.5, 1, 2, 4, 8 and then 15 s: five end within the first 16 s, and one in each 15 s after.
			for range 91 {
				now.Advance(time.Second)
				Expect(verifier.Check(ctx)).To(MatchError(auth.ErrUnavailable))
			}

			Expect(remote.Reads("/.well-known/openid-configuration")).To(BeNumerically("~", 11, 1))
		})

		It("goes on with the keys it has for a day, and says that it can't tell about others", func(ctx SpecContext) {
			start(ctx)
			Expect(verify(ctx, key)).To(Succeed())
			remote.GoAway(true)

			Expect(verify(ctx, rsaKey("k2"))).To(MatchError(auth.ErrUnavailable))
			Expect(verify(ctx, rsaKey("k1"))).To(MatchError("the signature of the token is wrong"))
			Expect(verify(ctx, key)).To(Succeed())
			Expect(verifier.Check(ctx)).To(MatchError(auth.ErrUnavailable))

			now.Advance(24 * time.Hour)
			Expect(verify(ctx, key)).To(Succeed())

			now.Advance(time.Second)
			Expect(verify(ctx, key)).To(MatchError(auth.ErrUnavailable))

			remote.GoAway(false)
			now.Advance(15 * time.Second)
			Expect(verify(ctx, key)).To(Succeed())
		})

		It("lets a health check alone notice that it is back", func(ctx SpecContext) {
			start(ctx)
			Expect(verify(ctx, key)).To(Succeed())

			remote.GoAway(true)
			now.Advance(6 * time.Minute)
			Eventually(ctx, verifier.Check).WithContext(ctx).WithTimeout(5 * time.Second).Should(MatchError(auth.ErrUnavailable))

			remote.GoAway(false)
			now.Advance(15 * time.Second)
			Eventually(ctx, verifier.Check).WithContext(ctx).WithTimeout(5 * time.Second).Should(Succeed())
		})
	})

	It("shares one slow reading, which a caller that goes away does not cancel", func(ctx SpecContext) {
		release := remote.Hang()
		DeferCleanup(release)

		gone := errors.New("client gone")
		impatient, cancel := context.WithCancelCause(ctx)
		start(impatient)
		cancel(gone)
		Expect(verify(impatient, key)).To(MatchError(gone))

		results := make(chan error)
		for range 8 {
			go func() { results <- verify(ctx, key) }()
		}

		Consistently(results).WithTimeout(50 * time.Millisecond).ShouldNot(Receive())
		release()

		for range 8 {
			Eventually(ctx, results).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
		}

		Expect(remote.Reads("/.well-known/openid-configuration")).To(Equal(1))
	})

	DescribeTable(
		"keeps an issuer that can't be used for unavailable, and says why in one line",
		func(ctx SpecContext, change func(), text string) {
			change()
			start(ctx)

			err := verify(ctx, key)
			Expect(err).To(MatchError(auth.ErrUnavailable))
			Expect(err).To(MatchError(ContainSubstring(text)))
			Expect(err.Error()).NotTo(ContainSubstring("\n"))
			Expect(len(err.Error())).To(BeNumerically("<", 500))
		},
		Entry("another issuer's document", func() { remote.Document("issuer", "https://other.example/") }, `of the issuer "https://other.example/"`),
		Entry("a document that is none", func() { remote.Document("issuer", 7) }, "discovery"),
		Entry("a document of 2 MB", func() { remote.Document("padding", strings.Repeat("x\n", 1<<20)) }, "discovery"),
		Entry("no algorithm that is accepted", func() { remote.Document("id_token_signing_alg_values_supported", []string{"HS256", "none"}) }, "no signing key and algorithm"),
		Entry("no key", func() { remote.Publish() }, "no signing key and algorithm"),
		Entry("only keys to encrypt with", func() {
			encryption := key
			encryption.Use = "enc"
			remote.Publish(encryption)
		}, "no signing key and algorithm"),
		Entry("only a symmetric key", func() { remote.Publish(jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "k1"}) }, "no signing key and algorithm"),
		Entry("only a published private key", func() { remote.PublishRaw(key) }, "no signing key and algorithm"),
		Entry("only a short key", func() {
			remote.Publish(jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 1024)), KeyID: "k1"})
		}, "no signing key and algorithm"),
		Entry("no address of keys", func() { remote.Document("jwks_uri", "") }, "fetch keys"),
		Entry("a broken address of keys", func() { remote.Document("jwks_uri", "http://[::1") }, "request for keys"),
		Entry("an address where nothing is", func() { remote.Document("jwks_uri", remote.server.URL+"/nowhere") }, "404"),
		Entry("keys that are none", func() { remote.Document("jwks_uri", remote.server.URL+"/text") }, "key set can't be read"),
		Entry("a redirect to nowhere", func() { remote.Document("jwks_uri", remote.server.URL+"/redirect") }, "fetch keys"),
		Entry("a thousand keys", func() { remote.PublishRaw(make([]any, 1000)...) }, "more than 64 keys"),
	)

	It("passes over published keys that it can't use", func(ctx SpecContext) {
		remote.PublishRaw(
			map[string]any{"kty": "OKP", "crv": "Ed448", "x": "AAAA"},
			map[string]any{"kty": "RSA", "n": "!"},
			"nonsense",
			key.Public(),
		)
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())
	})

	It("takes RS256 for the only algorithm of an issuer that names none", func(ctx SpecContext) {
		other := ecKey("ec", elliptic.P256())
		remote.Document("id_token_signing_alg_values_supported", nil)
		remote.Publish(key, other)
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())
		Expect(verify(ctx, other)).To(MatchError("the token is signed with an algorithm that is not accepted"))
	})

	It("follows an issuer that moves its keys", func(ctx SpecContext) {
		start(ctx)
		Expect(verify(ctx, key)).To(Succeed())

		elsewhere := newIssuer(rsaKey("k2"))
		DeferCleanup(elsewhere.server.Close)

		next := rsaKey("k3")
		elsewhere.Publish(next)
		remote.Document("jwks_uri", elsewhere.server.URL+"/keys")
		Expect(verify(ctx, next)).To(Succeed())
	})

	It("does not follow an https issuer to plain http", func(ctx SpecContext) {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, `{"issuer":"https://%s","jwks_uri":%q}`, r.Host, remote.server.URL+"/keys")
		}))
		DeferCleanup(secure.Close)

		var err error
		verifier, err = auth.NewVerifier(ctx, auth.Config{
			Issuer: secure.URL, Audience: "archon", HTTPClient: secure.Client(), Log: slog.New(slog.DiscardHandler),
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(verifier.Check(ctx)).To(MatchError(ContainSubstring("leads to a plain http address")))
		Expect(remote.Reads("/keys")).To(BeZero())
	})
})

var _ = Describe("a verifier of the issuer in this process", func() {
	It("is always healthy", func(ctx SpecContext) {
		verifier, _ := embedded(GinkgoTB(), newClock().Now)
		Expect(verifier.Check(ctx)).To(Succeed())
	})
})
