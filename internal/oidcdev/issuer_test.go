package oidcdev_test

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/oidcdev"
)

const issuerURL = "http://localhost:8080/oidc"

// open returns the issuer of dir, which must open.
func open(dir string) *oidcdev.Issuer {
	GinkgoHelper()

	issuer, err := oidcdev.Open(oidcdev.Config{Dir: dir, URL: issuerURL})
	Expect(err).NotTo(HaveOccurred())

	return issuer
}

// claims are good ones, for specs to change.
func claims() oidcdev.Claims {
	return oidcdev.Claims{Tenant: "acme", User: "ada", Name: "Ada Lovelace", Roles: []auth.Role{auth.RoleAdmin, auth.RoleAuditor}}
}

func token(issuer *oidcdev.Issuer, c oidcdev.Claims) string {
	GinkgoHelper()

	text, err := issuer.Token(c)
	Expect(err).NotTo(HaveOccurred())

	return text
}

// verify judges a token as the server does.
func verify(issuer *oidcdev.Issuer, text string, cfg auth.Config) (auth.Principal, error) {
	GinkgoHelper()

	cfg.Audience = "archon"
	verifier, err := auth.NewEmbeddedVerifier(issuer, cfg)
	Expect(err).NotTo(HaveOccurred())

	return verifier.Verify(context.Background(), text)
}

var _ = DescribeTable(
	"a configuration that can't work",
	func(change func(*oidcdev.Config)) {
		cfg := oidcdev.Config{Dir: GinkgoT().TempDir(), URL: issuerURL}
		change(&cfg)

		_, err := oidcdev.Open(cfg)
		Expect(err).To(MatchError(oidcdev.ErrConfig))
	},
	Entry("no URL", func(c *oidcdev.Config) { c.URL = "" }),
	Entry("another scheme", func(c *oidcdev.Config) { c.URL = "ftp://localhost/oidc" }),
	Entry("no host", func(c *oidcdev.Config) { c.URL = "http:///oidc" }),
	Entry("credentials", func(c *oidcdev.Config) { c.URL = "http://a:b@localhost/oidc" }),
	Entry("a query", func(c *oidcdev.Config) { c.URL = "http://localhost/oidc?a" }),
	Entry("a pattern", func(c *oidcdev.Config) { c.URL = "http://localhost/{oidc}" }),
	Entry("dots", func(c *oidcdev.Config) { c.URL = "http://localhost/a/../oidc" }),
	Entry("a tenant claim with another meaning", func(c *oidcdev.Config) { c.TenantClaim = "sub" }),
	Entry("a roles claim with another meaning", func(c *oidcdev.Config) { c.RolesClaim = "aud" }),
	Entry("a department claim with another meaning", func(c *oidcdev.Config) { c.DepartmentClaim = "name" }),
	Entry("one claim for tenant and department", func(c *oidcdev.Config) { c.DepartmentClaim = "tenant_id" }),
	Entry("one claim for both", func(c *oidcdev.Config) { c.TenantClaim, c.RolesClaim = "x", "x" }),
)

var _ = Describe("rotation", func() {
	It("keeps tokens of the old key good until the last has expired", func() {
		now := time.Date(2025, 2, 1, 12, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }

		issuer, err := oidcdev.Open(oidcdev.Config{Dir: GinkgoT().TempDir(), URL: issuerURL, Now: clock})
		Expect(err).NotTo(HaveOccurred())

		long := claims()
		long.TTL = oidcdev.MaxTTL
		old := token(issuer, long)
		oldID := issuer.Keys()[0].KeyID

		Expect(issuer.Rotate()).To(Succeed())
		Expect(issuer.Keys()).To(HaveLen(2))
		Expect(issuer.Keys()[0].KeyID).NotTo(Equal(oldID))

		for _, text := range []string{old, token(issuer, claims())} {
			_, err = verify(issuer, text, auth.Config{Now: clock})
			Expect(err).NotTo(HaveOccurred())
		}

		now = now.Add(oidcdev.MaxTTL)
		Expect(issuer.Keys()).To(HaveLen(1))

		Expect(issuer.Rotate()).To(Succeed())
		Expect(issuer.Rotate()).To(Succeed())
		Expect(issuer.Keys()).To(HaveLen(3), "the present key and two that were retired just now")
	})

	It("by another process is seen at once", func() {
		dir := GinkgoT().TempDir()
		server, other := open(dir), open(dir)

		Expect(server.Keys()).To(HaveLen(1))
		Expect(other.Rotate()).To(Succeed())
		Expect(server.Keys()).To(Equal(other.Keys()))

		_, err := verify(server, token(other, claims()), auth.Config{})
		Expect(err).NotTo(HaveOccurred())
	})

	It("by many at once loses no key", func() {
		const callers = 6

		issuer := open(GinkgoT().TempDir())

		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				defer GinkgoRecover()
				Expect(issuer.Rotate()).To(Succeed())
			})
		}

		group.Wait()
		Expect(issuer.Keys()).To(HaveLen(callers + 1))
	})

	It("never publishes a private key", func() {
		issuer := open(GinkgoT().TempDir())
		Expect(issuer.Rotate()).To(Succeed())

		for _, key := range issuer.Keys() {
			Expect(key.IsPublic()).To(BeTrue())
		}
	})
})

var _ = Describe("a token", func() {
	It("says who its user is to the embedded verifier", func() {
		principal, err := verify(open(GinkgoT().TempDir()), "", auth.Config{})
		Expect(err).To(HaveOccurred())
		Expect(principal).To(BeZero())

		issuer := open(GinkgoT().TempDir())
		principal, err = verify(issuer, token(issuer, claims()), auth.Config{})
		Expect(err).NotTo(HaveOccurred())
		Expect(principal.ExpiresAt).To(BeTemporally("~", time.Now().Add(time.Hour), 2*time.Second))

		principal.ExpiresAt = time.Time{}
		Expect(principal).To(Equal(auth.Principal{
			Tenant: "acme", UserID: "ada", Name: "Ada Lovelace", Roles: []auth.Role{auth.RoleAdmin, auth.RoleAuditor},
		}))
	})

	It("follows the configured claim names, with dots too", func() {
		names := auth.Config{TenantClaim: "org.tenant", RolesClaim: "realm_access.roles"}
		issuer, err := oidcdev.Open(oidcdev.Config{
			Dir: GinkgoT().TempDir(), URL: issuerURL, TenantClaim: names.TenantClaim, RolesClaim: names.RolesClaim,
		})
		Expect(err).NotTo(HaveOccurred())

		principal, err := verify(issuer, token(issuer, claims()), names)
		Expect(err).NotTo(HaveOccurred())
		Expect(principal.Tenant).To(Equal("acme"))
		Expect(principal.Has(auth.RoleAdmin)).To(BeTrue())
	})

	It("names a department where it is told one", func() {
		names := auth.Config{DepartmentClaim: "org.unit"}
		issuer, err := oidcdev.Open(oidcdev.Config{Dir: GinkgoT().TempDir(), URL: issuerURL, DepartmentClaim: names.DepartmentClaim})
		Expect(err).NotTo(HaveOccurred())
		c := claims()
		c.Department = "sales"

		principal, err := verify(issuer, token(issuer, c), names)
		Expect(err).NotTo(HaveOccurred())
		Expect(principal.Department).To(Equal("sales"))
	})

	It("is never the same twice, and may have no role", func() {
		issuer, c := open(GinkgoT().TempDir()), claims()
		c.Roles, c.Name = nil, ""
		Expect(token(issuer, c)).NotTo(Equal(token(issuer, c)))

		principal, err := verify(issuer, token(issuer, c), auth.Config{})
		Expect(err).NotTo(HaveOccurred())
		Expect(principal.Roles).To(BeEmpty())
		Expect(principal.Name).To(Equal("ada"))
	})

	It("for another audience is refused by Archon's", func() {
		issuer, c := open(GinkgoT().TempDir()), claims()
		c.Audience = "elsewhere"

		_, err := verify(issuer, token(issuer, c), auth.Config{})
		Expect(err).To(MatchError("the token is for another audience"))
	})

	DescribeTable(
		"is not made of claims that would be refused",
		func(change func(*oidcdev.Claims), text string) {
			c := claims()
			change(&c)

			_, err := open(GinkgoT().TempDir()).Token(c)
			Expect(err).To(MatchError(oidcdev.ErrClaims))
			Expect(err).To(MatchError(ContainSubstring(text)))
		},
		Entry("no tenant", func(c *oidcdev.Claims) { c.Tenant = "" }, "the tenant"),
		Entry("a bad tenant", func(c *oidcdev.Claims) { c.Tenant = "Acme Inc" }, "the tenant"),
		Entry("no user", func(c *oidcdev.Claims) { c.User = "" }, "the user"),
		Entry("a bad user", func(c *oidcdev.Claims) { c.User = "a\nb" }, "the user"),
		Entry("a bad department", func(c *oidcdev.Claims) { c.Department = "a\nb" }, "the department"),
		Entry("an unknown role", func(c *oidcdev.Claims) { c.Roles = []auth.Role{"root"} }, `the role "root"`),
		Entry("a negative life", func(c *oidcdev.Claims) { c.TTL = -time.Hour }, "the time to live"),
		Entry("a life under a second", func(c *oidcdev.Claims) { c.TTL = time.Millisecond }, "the time to live"),
		Entry("a life beyond the keys'", func(c *oidcdev.Claims) { c.TTL = oidcdev.MaxTTL + time.Second }, "the time to live"),
	)
})
