package costsettings_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/internal/spec"
)

func TestCostSettings(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Cost settings")
}

var _ = Describe("Cost settings", func() {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	url, other := "https://example.com/alerts", "https://example.com/other"
	first := costsettings.Webhook{URL: url, VaultPath: "secret/p", SecretVersion: 1}
	set := func(settings costsettings.Settings, changed ...string) costsettings.Changed {
		return costsettings.Changed{Settings: settings, Changed: changed}
	}
	berlin := set(costsettings.Settings{TimeZone: "Europe/Berlin", Webhook: &first}, "time_zone", "alert_webhook_url", "alert_webhook_secret")
	given := func(events ...domain.Event) spec.Behaviour[costsettings.State, costsettings.Change] {
		return spec.Given(costsettings.Decider(), events...)
	}
	then := func(event costsettings.Changed) domain.To { return domain.To{Stream: "costs-settings", Event: event} }

	It("are UTC and no webhook until they are set", func() {
		Expect(costsettings.Decider().Fold().Current()).To(Equal(costsettings.Settings{TimeZone: "UTC"}))
		given().When(costsettings.Change{TimeZone: "UTC"}).Then()
	})

	It("are set as a whole", func() {
		given().When(costsettings.Change{TimeZone: "Europe/Berlin", URL: &url, Secret: &costsettings.Secret{VaultPath: "secret/p", Version: 1}, Now: now}).Then(then(berlin))
		Expect(costsettings.Decider().Fold(berlin).Current()).To(Equal(berlin.Settings))
		given(berlin).When(costsettings.Change{TimeZone: "UTC"}).Then(then(set(costsettings.Settings{TimeZone: "UTC"}, "time_zone", "alert_webhook_url", "alert_webhook_secret")))
	})

	It("keep the secret where none comes, whatever the URL", func() {
		given(berlin).When(costsettings.Change{TimeZone: "Europe/Berlin", URL: &url, Now: now}).Then()
		moved := first
		moved.URL = other
		given(berlin).When(costsettings.Change{TimeZone: "Europe/Berlin", URL: &other, Now: now}).Then(
			then(set(costsettings.Settings{TimeZone: "Europe/Berlin", Webhook: &moved}, "alert_webhook_url")))
		given().When(costsettings.Change{TimeZone: "UTC", URL: &url, Now: now}).ThenRefused(domain.Invalid, "validation_failed", "alert_webhook_secret")
	})

	It("sign with both secrets for a day after a change of it", func() {
		rotated := first
		rotated.SecretVersion, rotated.PreviousVersion, rotated.RotatedAt = 2, 1, &now
		given(berlin).When(costsettings.Change{TimeZone: "Europe/Berlin", URL: &url, Secret: &costsettings.Secret{VaultPath: "secret/p", Version: 2}, Now: now}).Then(
			then(set(costsettings.Settings{TimeZone: "Europe/Berlin", Webhook: &rotated}, "alert_webhook_secret")))
		Expect(first.SigningVersions(now)).To(Equal([]int{1}))
		Expect(rotated.SigningVersions(now.Add(costsettings.SecretOverlap - 1))).To(Equal([]int{2, 1}))
		Expect(rotated.SigningVersions(now.Add(costsettings.SecretOverlap))).To(Equal([]int{2}))
	})
})
