package secrets_test

import (
	"context"
	"log/slog"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

const (
	loginRequest  = "PUT auth/approle/login"
	renewRequest  = "PUT auth/token/renew-self"
	lookupRequest = "GET auth/token/lookup-self"

	many = 50
)

var _ = Describe("Vault's tokens", func() {
	var (
		fake  *secretstest.FakeVault
		store *secrets.Vault
		log   *gbytes.Buffer
	)

	get := func(ctx context.Context) error {
		_, _, err := store.Get(ctx, "a", 0)

		return err
	}

	open := func(cfg secrets.VaultConfig) {
		cfg.Address = fake.URL()
		cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		store = openVault(cfg)
	}

	openRole := func(ttl, maxTTL time.Duration) {
		roleID, secretID := fake.AddRole(ttl, maxTTL)
		open(secrets.VaultConfig{RoleID: roleID, SecretID: secretID})
	}

	BeforeEach(func() {
		fake, log = secretstest.NewFakeVault(), gbytes.NewBuffer()
		DeferCleanup(fake.Close)
		fake.PutRaw("a", map[string]any{"api_key": secretText})
	})

	AfterEach(func() {
		Expect(string(log.Contents())).NotTo(ContainSubstring(secretText))
		Expect(string(log.Contents())).NotTo(ContainSubstring("hvs."))
	})

	It("are replaced where Vault was away while they ended", func(ctx SpecContext) {
		openRole(shortLease/2, 0)
		Expect(get(ctx)).To(Succeed())

		fake.Stop()
		Eventually(fake.LiveTokens).WithTimeout(recovery).Should(BeZero())
		Expect(fake.Start()).To(Succeed())
		Eventually(get).WithContext(ctx).WithTimeout(recovery).Should(Succeed())
	})

	It("are replaced at once, and once, when they were revoked", func(ctx SpecContext) {
		openRole(time.Hour, 0)
		Expect(get(ctx)).To(Succeed())

		// A token younger than that is not suspected.
		old := time.Now().Add(1100 * time.Millisecond)
		Eventually(time.Now).WithTimeout(patience).Should(BeTemporally(">", old))
		fake.RevokeTokens()

		results := make([]error, many)

		var group sync.WaitGroup
		for i := range many {
			group.Go(func() { results[i] = get(ctx) })
		}

		group.Wait()

		Expect(results).To(HaveEach(BeNil()))
		Expect(fake.Count(loginRequest)).To(Equal(2))
		Expect(fake.LiveTokens()).To(Equal(1))
	})

	It("are not replaced where the policy says no", func(ctx SpecContext) {
		openRole(time.Hour, 0)
		Expect(get(ctx)).To(Succeed())
		fake.Deny("secret/data/a")

		Consistently(get).WithContext(ctx).WithTimeout(2 * time.Second).Should(MatchError(secrets.ErrDenied))
		Expect(fake.Count(loginRequest)).To(Equal(1))
		Expect(fake.Count(lookupRequest)).To(BeNumerically(">", 0), "it was asked about the token")
	})

	It("are not taken in a flood where the policy says no to the lookup too", func(ctx SpecContext) {
		openRole(time.Hour, 0)
		Expect(get(ctx)).To(Succeed())
		fake.Deny("secret/")
		fake.DenyLookup(true)

		Consistently(get).WithContext(ctx).WithTimeout(2500 * time.Millisecond).Should(MatchError(secrets.ErrDenied))
		Expect(fake.Count(loginRequest)).To(And(BeNumerically(">=", 2), BeNumerically("<=", 4)))
	})

	It("are not given to a wrong AppRole, which is not tried in a loop", func(ctx SpecContext) {
		roleID, _ := fake.AddRole(time.Hour, 0)
		open(secrets.VaultConfig{RoleID: roleID, SecretID: secretText})

		Consistently(get).WithContext(ctx).WithTimeout(time.Second).Should(MatchError(secrets.ErrDenied))
		Expect(fake.Count(loginRequest)).To(BeNumerically("<=", 6))
		Expect(log).To(gbytes.Say("vault login failed"))
		Expect(log).NotTo(gbytes.Say("vault login failed"), "said once")
	})

	It("are logged in for at another mount, in a namespace", func(ctx SpecContext) {
		roleID, secretID := fake.AddRole(time.Hour, 0)
		fake.RequireNamespace("team")
		open(secrets.VaultConfig{RoleID: roleID, SecretID: secretID, Namespace: "team", AppRoleMount: "other"})

		Expect(get(ctx)).To(MatchError(secrets.ErrDenied), "there is no such mount, which Vault tells nobody without a token")
		Expect(fake.Count("PUT auth/other/login")).To(BeNumerically(">=", 1))
	})

	Describe("that were configured", func() {
		It("end where they cannot be renewed, which is said beforehand", func(ctx SpecContext) {
			open(secrets.VaultConfig{Token: fake.CreateToken(shortLease/2, 0, false)})

			Expect(get(ctx)).To(Succeed())
			Eventually(log).WithTimeout(patience).Should(gbytes.Say("vault token cannot be renewed and will end"))
			Eventually(get).WithContext(ctx).WithTimeout(recovery).Should(MatchError(secrets.ErrDenied))
			Expect(store.Check(ctx)).To(MatchError(secrets.ErrDenied))
			Eventually(log).WithTimeout(recovery).Should(gbytes.Say("vault token could not be looked up"))
		})

		It("are looked up later where Vault is away at first", func(ctx SpecContext) {
			token := fake.CreateToken(2*time.Minute, 0, true)
			fake.Stop()
			open(secrets.VaultConfig{Token: token})
			Eventually(log).WithTimeout(patience).Should(gbytes.Say("vault token could not be looked up"))

			Expect(fake.Start()).To(Succeed())
			Expect(get(ctx)).To(Succeed())
			Eventually(func() int { return fake.Count(renewRequest) }).WithTimeout(recovery).Should(BeNumerically(">=", 1))
		})
	})
})
