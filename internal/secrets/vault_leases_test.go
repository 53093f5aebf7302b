package secrets_test

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

const (
	// shortLease leaves a second between its renewal and its end, for a machine that is busy with other tests.
	shortLease = 4 * time.Second
	// watchFor is long enough for several leases.
	watchFor  = 3 * shortLease
	pollLease = 20 * time.Millisecond
)

// tenancy is one store that is used without pause over several leases of its token.
type tenancy struct {
	fake                      *secretstest.FakeVault
	calls, failures           int
	logins, renewals, lookups int
	liveTokens                int
	prepare                   func(fake *secretstest.FakeVault) secrets.VaultConfig
	firstFailure              error
}

// use reads from the store until ctx ends.
func (t *tenancy) use(ctx context.Context, store secrets.Store) {
	tick := time.NewTicker(pollLease)
	defer tick.Stop()

	for ctx.Err() == nil {
		if _, _, err := store.Get(context.WithoutCancel(ctx), "a", 0); err != nil {
			t.failures++
			t.firstFailure = cmpErr(t.firstFailure, err)
		}

		t.calls++

		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}

	t.logins, t.renewals = t.fake.Count(loginRequest), t.fake.Count(renewRequest)
	t.lookups, t.liveTokens = t.fake.Count(lookupRequest), t.fake.LiveTokens()
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}

	return second
}

func roleConfig(fake *secretstest.FakeVault, ttl, maxTTL time.Duration) secrets.VaultConfig {
	roleID, secretID := fake.AddRole(ttl, maxTTL)

	return secrets.VaultConfig{RoleID: roleID, SecretID: secretID}
}

var _ = Describe("Vault's leases", Ordered, ContinueOnFailure, func() {
	renewed := &tenancy{prepare: func(fake *secretstest.FakeVault) secrets.VaultConfig {
		return roleConfig(fake, shortLease, 0)
	}}
	limited := &tenancy{prepare: func(fake *secretstest.FakeVault) secrets.VaultConfig {
		return roleConfig(fake, shortLease, shortLease+time.Second)
	}}
	refused := &tenancy{prepare: func(fake *secretstest.FakeVault) secrets.VaultConfig {
		fake.Deny("auth/token/renew-self")

		return roleConfig(fake, shortLease, 0)
	}}
	configured := &tenancy{prepare: func(fake *secretstest.FakeVault) secrets.VaultConfig {
		return secrets.VaultConfig{Token: fake.CreateToken(shortLease, 0, true)}
	}}
	endless := &tenancy{prepare: func(fake *secretstest.FakeVault) secrets.VaultConfig {
		return secrets.VaultConfig{Token: fake.RootToken()}
	}}

	// All at once: each needs the same few seconds.
	BeforeAll(func(ctx SpecContext) {
		watch, cancel := context.WithTimeout(ctx, watchFor)
		defer cancel()

		var group sync.WaitGroup

		for _, t := range []*tenancy{renewed, limited, refused, configured, endless} {
			t.fake = secretstest.NewFakeVault()
			DeferCleanup(t.fake.Close)
			t.fake.PutRaw("a", map[string]any{"api_key": secretText})

			cfg := t.prepare(t.fake)
			cfg.Address = t.fake.URL()
			store := openVault(cfg)

			group.Go(func() { t.use(watch, store) })
		}

		group.Wait()
	})

	DescribeTable("never let a call meet a dead token", func(t *tenancy) {
		Expect(t.calls).To(BeNumerically(">", 50))
		Expect(t.failures).To(BeZero(), "%v", t.firstFailure)
		Expect(t.liveTokens).To(BeNumerically("<=", 2))
	},
		Entry("renewed", renewed),
		Entry("at the end of its longest time", limited),
		Entry("refused to renew", refused),
		Entry("configured", configured),
		Entry("without end", endless),
	)

	It("are renewed before they end", func() {
		Expect(renewed.renewals).To(BeNumerically(">=", 3))
		Expect(renewed.logins).To(Equal(1))
		Expect(configured.renewals).To(BeNumerically(">=", 3))
		Expect(endless.renewals).To(BeZero())
	})

	It("are replaced by another login where they cannot be renewed", func() {
		Expect(limited.logins).To(BeNumerically(">=", 2))
		Expect(limited.lookups).To(BeZero(), "what asks after a 403")
		Expect(refused.logins).To(BeNumerically(">=", 3))
		Expect(refused.lookups).To(BeZero(), "what asks after a 403")
	})
})
