package secrets_test

import (
	"context"
	"fmt"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

var _ = Describe("conformance", func() {
	Describe("of the embedded store", func() {
		var dir string

		BeforeEach(func() { dir = GinkgoT().TempDir() })

		secretstest.Run("embedded", func() secrets.Store {
			store, err := secrets.OpenEmbedded(dir)
			Expect(err).NotTo(HaveOccurred())
			Expect(store.Kind()).To(Equal(secrets.KindEmbedded))

			return store
		})
	})

	Describe("of Vault", Ordered, func() {
		var server secretstest.Server

		BeforeAll(func(ctx SpecContext) {
			var err error
			server, err = secretstest.StartVault(ctx)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(server.Stop)

			AddReportEntry("secrets: the Vault conformance ran against", server.Variant)
			fmt.Fprintln(os.Stdout, "secrets: the Vault conformance runs against", server.Variant)
		})

		secretstest.Run("vault", func() secrets.Store {
			return openVault(secrets.VaultConfig{Address: server.Address, Token: server.Token})
		})
	})

	Describe("of Vault with an AppRole, in a namespace, where check-and-set is required", func() {
		var fake *secretstest.FakeVault

		BeforeEach(func() {
			fake = secretstest.NewFakeVault()
			DeferCleanup(fake.Close)
			fake.RequireNamespace("team/a")
			fake.RequireCAS(true)
		})

		secretstest.Run("vault", func() secrets.Store {
			roleID, secretID := fake.AddRole(0, 0)

			return openVault(secrets.VaultConfig{
				Address: fake.URL(), RoleID: roleID, SecretID: secretID, Namespace: "team/a",
			})
		})
	})
})

func openVault(cfg secrets.VaultConfig) *secrets.Vault {
	GinkgoHelper()

	store, err := secrets.OpenVault(context.Background(), cfg)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(store.Close)
	Expect(store.Kind()).To(Equal(secrets.KindVault))

	return store
}
