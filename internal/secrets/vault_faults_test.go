package secrets_test

import (
	"context"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gleak"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

const (
	// shortTimeout is what the specs of a Vault that hangs give a call; the others have the default.
	shortTimeout = 300 * time.Millisecond
	// patience is what a call may take in all: the default timeout, and some for a machine that is busy.
	patience   = 5 * time.Second
	recovery   = 10 * time.Second
	secretText = "sk-live-0123456789"
)

var _ = Describe("Vault with faults", func() {
	var (
		fake  *secretstest.FakeVault
		store *secrets.Vault
	)

	value := map[string]string{"api_key": secretText}

	get := func(ctx context.Context) error {
		_, _, err := store.Get(ctx, "a", 0)

		return err
	}

	// quickly expects an answer in time, and nothing in the error that must stay secret.
	quickly := func(call func() error) error {
		GinkgoHelper()

		begin := time.Now()
		err := call()
		Expect(time.Since(begin)).To(BeNumerically("<", patience))

		if err != nil {
			Expect(err.Error()).NotTo(ContainSubstring(secretText))
			Expect(err.Error()).NotTo(ContainSubstring(fake.RootToken()))
		}

		return err
	}

	everyCall := func(ctx context.Context) map[string]func() error {
		return map[string]func() error{
			"put":              func() error { _, err := store.Put(ctx, "a", value); return err },
			"cas":              func() error { _, err := store.PutIfVersion(ctx, "a", 1, value); return err },
			"get":              func() error { return get(ctx) },
			"destroy":          func() error { return store.Destroy(ctx, "b") },
			"destroy versions": func() error { return store.DestroyVersions(ctx, "b", 1) },
			"list":             func() error { _, err := store.List(ctx, ""); return err },
			"check":            func() error { return store.Check(ctx) },
		}
	}

	BeforeEach(func(ctx SpecContext) {
		fake = secretstest.NewFakeVault()
		DeferCleanup(fake.Close)

		store = openVault(secrets.VaultConfig{Address: fake.URL(), Token: fake.RootToken()})
		_, err := store.Put(ctx, "a", value)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() int { return fake.Count(lookupRequest) }).WithTimeout(patience).Should(Equal(1),
			"requests are counted below, and this one comes in the background")
	})

	It("is down, and comes back", func(ctx SpecContext) {
		fake.Stop()

		for name, call := range everyCall(ctx) {
			Expect(quickly(call)).To(MatchError(secrets.ErrUnavailable), name)
		}

		Expect(fake.Start()).To(Succeed())
		Expect(get(ctx)).To(Succeed())
	})

	It("is down when it is opened, and is used as soon as it is there", func(ctx SpecContext) {
		fake.Stop()

		roleID, secretID := fake.AddRole(time.Hour, 0)
		store = openVault(secrets.VaultConfig{
			Address: fake.URL(), RoleID: roleID, SecretID: secretID,
		})

		for name, call := range everyCall(ctx) {
			Expect(quickly(call)).To(MatchError(secrets.ErrUnavailable), name)
		}

		Expect(fake.Start()).To(Succeed())
		Eventually(get).WithContext(ctx).WithTimeout(recovery).Should(Succeed())
		Expect(store.Check(ctx)).To(Succeed())
	})

	It("is sealed, and unsealed", func(ctx SpecContext) {
		fake.Seal(true)

		for name, call := range everyCall(ctx) {
			err := quickly(call)
			Expect(err).To(MatchError(secrets.ErrUnavailable), name)
			Expect(err).To(MatchError(ContainSubstring("vault is sealed")), name)
		}

		fake.Seal(false)
		Expect(get(ctx)).To(Succeed())
	})

	It("does not answer", func(ctx SpecContext) {
		fake.Delay(time.Minute)
		store = openVault(secrets.VaultConfig{Address: fake.URL(), Token: fake.RootToken(), Timeout: shortTimeout})

		for name, call := range everyCall(ctx) {
			err := quickly(call)
			Expect(err).To(MatchError(secrets.ErrUnavailable), name)
			Expect(err).NotTo(MatchError(context.DeadlineExceeded), "%s: the deadline was not the caller's", name)
		}
	})

	It("does not answer within the caller's time", func(ctx SpecContext) {
		fake.Delay(time.Minute)

		short, cancel := context.WithTimeout(ctx, shortTimeout/3)
		defer cancel()

		err := quickly(func() error { return get(short) })
		Expect(err).To(MatchError(secrets.ErrUnavailable))
		Expect(err).To(MatchError(context.DeadlineExceeded))
	})

	It("does not answer before the caller goes away", func(ctx SpecContext) {
		fake.Delay(time.Minute)

		leaving, leave := context.WithCancel(ctx)
		time.AfterFunc(shortTimeout/3, leave)

		err := quickly(func() error { return get(leaving) })
		Expect(err).To(MatchError(context.Canceled))
		Expect(err).NotTo(MatchError(secrets.ErrUnavailable))
	})

	DescribeTable("answers with a status", func(ctx SpecContext, status int, want error, reads, writes int) {
		fake.Answer(status, `{"errors":["`+secretText+`"]}`)

		before := fake.Count(secretstest.AllRequests)
		Expect(quickly(func() error { return get(ctx) })).To(MatchError(want))
		Expect(fake.Count(secretstest.AllRequests)-before).To(Equal(reads), "requests of a read")

		before = fake.Count(secretstest.AllRequests)
		Expect(quickly(func() error { _, err := store.Put(ctx, "a", value); return err })).To(MatchError(want))
		Expect(fake.Count(secretstest.AllRequests)-before).To(Equal(writes), "requests of a write")
	},
		Entry("too many requests", http.StatusTooManyRequests, secrets.ErrUnavailable, 2, 2),
		Entry("no service", http.StatusServiceUnavailable, secrets.ErrUnavailable, 2, 2),
		Entry("a fault, which may have written", http.StatusInternalServerError, secrets.ErrUnavailable, 2, 1),
		Entry("a proxy's fault", http.StatusBadGateway, secrets.ErrUnavailable, 2, 1),
		Entry("a proxy's wait", http.StatusGatewayTimeout, secrets.ErrUnavailable, 2, 1),
		Entry("a DR secondary", 472, secrets.ErrUnavailable, 1, 1),
		Entry("malformed", http.StatusBadRequest, secrets.ErrUnavailable, 1, 1),
		Entry("too large", http.StatusRequestEntityTooLarge, secrets.ErrInvalid, 1, 1),
		Entry("a 404 with errors", http.StatusNotFound, secrets.ErrUnavailable, 1, 1),
	)

	DescribeTable("is not Vault at all", func(ctx SpecContext, status int, body string) {
		fake.Answer(status, body)

		for name, call := range everyCall(ctx) {
			if strings.HasPrefix(name, "destroy") && status == http.StatusOK {
				continue // no answer to understand
			}

			Expect(quickly(call)).To(MatchError(secrets.ErrUnavailable), name)
		}
	},
		Entry("a page", http.StatusOK, "<html>"+secretText),
		Entry("a page that is not found", http.StatusNotFound, "<html>"+secretText),
		Entry("other JSON", http.StatusOK, `{"`+secretText+`": 1}`),
		Entry("nothing", http.StatusOK, ""),
	)

	It("never takes a missing mount for a missing secret", func(ctx SpecContext) {
		store = openVault(secrets.VaultConfig{Address: fake.URL(), Token: fake.RootToken(), Mount: "kv/other"})

		err := get(ctx)
		Expect(err).To(MatchError(secrets.ErrUnavailable))
		Expect(err).NotTo(MatchError(secrets.ErrNotFound))
		Expect(store.Check(ctx)).To(MatchError(secrets.ErrDenied), "as Vault has it")
	})

	It("has a KV version 1 engine at the mount", func(ctx SpecContext) {
		fake.BecomeVersion1()

		_, err := store.Put(ctx, "a", value)
		Expect(err).To(MatchError(ContainSubstring("not KV version 2")))
		Expect(store.Check(ctx)).To(MatchError(ContainSubstring("not KV version 2")))
	})

	It("has no such namespace", func(ctx SpecContext) {
		fake.RequireNamespace("team")
		Expect(get(ctx)).To(MatchError(secrets.ErrUnavailable))
	})

	It("loses the answer to a write, which is not sent again", func(ctx SpecContext) {
		fake.LoseAnswers(1)

		_, err := store.PutIfVersion(ctx, "a", 1, value)
		Expect(err).To(MatchError(secrets.ErrUnavailable))
		Expect(err).NotTo(MatchError(secrets.ErrVersionMismatch))

		_, version, err := store.Get(ctx, "a", 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(version).To(Equal(2), "it was written, once")
	})

	It("loses the answer to a read, which is sent again", func(ctx SpecContext) {
		fake.LoseAnswers(1)
		Expect(get(ctx)).To(Succeed())
	})

	It("holds what others wrote by hand", func(ctx SpecContext) {
		Expect(fake.PutRaw("byhand", map[string]any{"port": 8200, "tls": true, "name": "x"})).To(Equal(1))

		found, _, err := store.Get(ctx, "byhand", 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(Equal(map[string]string{"port": "8200", "tls": "true", "name": "x"}))

		Expect(fake.PutRaw("byhand", map[string]any{"list": []any{secretText}})).To(Equal(2))
		_, _, err = store.Get(ctx, "byhand", 0)
		Expect(err).To(MatchError(secrets.ErrCorrupt))
		Expect(err.Error()).NotTo(ContainSubstring(secretText))
	})

	It("leaves nothing running after Close", func(ctx SpecContext) {
		Expect(store.Close()).To(Succeed())

		before := gleak.Goroutines()
		roleID, secretID := fake.AddRole(time.Hour, 0)
		store = openVault(secrets.VaultConfig{Address: fake.URL(), RoleID: roleID, SecretID: secretID})
		Expect(get(ctx)).To(Succeed())
		Expect(store.Close()).To(Succeed())
		Eventually(gleak.Goroutines).WithTimeout(patience).ShouldNot(gleak.HaveLeaked(before))
	})
})
