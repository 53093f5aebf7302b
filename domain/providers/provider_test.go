package providers_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/spec"
)

const (
	first  = "0190a1b2-0000-7000-8000-000000000001"
	second = "0190a1b2-0000-7000-8000-000000000002"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func secretAt(version int) providers.Secret {
	return providers.Secret{VaultPath: "secret/tenants/acme/providers/" + first, SecretVersion: version}
}

func configured(change ...func(*providers.Config)) providers.Config {
	config := providers.Config{
		Name: "OpenAI", Type: "openai", BaseURL: "https://api.openai.com", IsEnabled: true,
		SupportedModels: []string{"gpt-4o"}, Capabilities: []string{"vision"}, CustomHeaders: []string{},
	}
	for _, c := range change {
		c(&config)
	}
	return config
}

func named(name string) func(*providers.Config) {
	return func(c *providers.Config) { c.Name = name }
}

var _ = Describe("A provider", func() {
	registered := providers.Registered{ProviderID: first, Config: configured(), Secret: secretAt(1)}
	claimed := providers.NameClaimed{ProviderID: first, Name: "OpenAI"}
	deleted := providers.Deleted{ProviderID: first, Name: "OpenAI", VaultPath: secretAt(1).VaultPath}
	stream, nameStream, healthStream := providers.Stream(first), providers.NameStream("OpenAI"), providers.HealthStream(first)
	probe := providers.Probed{OK: true, LatencyMS: 12, ModelsFound: 3, CheckedAt: noon}

	given := func(events ...domain.Event) spec.Behaviour[providers.State, providers.Command] {
		return spec.Given(providers.Decider(), events...)
	}

	It("is registered under a name that it claims, with its first probe", func() {
		first1 := probe
		first1.ProviderID, first1.Trigger = first, providers.OnRegistration
		given().When(providers.Register{ProviderID: first, Config: configured(), Secret: secretAt(1), Probe: probe}).Then(
			domain.To{Stream: stream, Event: registered},
			domain.To{Stream: nameStream, Event: claimed},
			domain.To{Stream: healthStream, Event: first1},
		)
	})

	It("is registered although its first probe failed, which is its first failure", func() {
		failed := providers.Probed{ProviderID: first, Error: "401", Failures: 1, CheckedAt: noon, Trigger: providers.OnRegistration}
		given().When(providers.Register{ProviderID: first, Config: configured(), Secret: secretAt(1), Probe: providers.Probed{Error: "401", CheckedAt: noon}}).Then(
			domain.To{Stream: stream, Event: registered},
			domain.To{Stream: nameStream, Event: claimed},
			domain.To{Stream: healthStream, Event: failed},
		)
	})

	It("is refused under a name that another one has", func() {
		given(providers.NameClaimed{ProviderID: second, Name: "OpenAI"}).
			When(providers.Register{ProviderID: first, Config: configured()}).
			ThenRefused(domain.Conflict, "name_taken")
	})

	It("may take a name that was released", func() {
		outcome := given(providers.NameClaimed{ProviderID: second, Name: "OpenAI"}, providers.NameReleased{ProviderID: second, Name: "OpenAI"}).
			When(providers.Register{ProviderID: first, Config: configured(named("  OpenAI ")), Secret: secretAt(1), Probe: probe})
		p := probe
		p.ProviderID, p.Trigger = first, providers.OnRegistration
		outcome.Then(domain.To{Stream: stream, Event: registered}, domain.To{Stream: nameStream, Event: claimed}, domain.To{Stream: healthStream, Event: p})
	})

	DescribeTable("is refused with a configuration that makes no sense",
		func(change func(*providers.Config), field string) {
			given().When(providers.Register{ProviderID: first, Config: configured(change)}).ThenRefused(domain.Invalid, "validation_failed", field)
			given(registered, claimed).When(providers.Update{Config: configured(change), Secret: secretAt(1)}).ThenRefused(domain.Invalid, "validation_failed", field)
		},
		Entry("no name", named(" \t "), "name"),
		Entry("a name that is too long", named(strings.Repeat("é", 201)), "name"),
		Entry("a name with a control character", named("a\x1bb"), "name"),
		Entry("an unknown type", func(c *providers.Config) { c.Type = "skynet" }, "type"),
		Entry("no URL", func(c *providers.Config) { c.BaseURL = "" }, "base_url"),
		Entry("a rate of zero", func(c *providers.Config) { c.RateLimitRPM = new(int64) }, "rate_limit_rpm"),
		Entry("a token rate of zero", func(c *providers.Config) { c.RateLimitTPM = new(int64) }, "rate_limit_tpm"),
		Entry("an empty model", func(c *providers.Config) { c.SupportedModels = []string{""} }, "supported_models"),
		Entry("a model twice", func(c *providers.Config) { c.SupportedModels = []string{"a", "a"} }, "supported_models"),
		Entry("an unknown capability", func(c *providers.Config) { c.Capabilities = []string{"telepathy"} }, "capabilities"),
	)

	It("is updated with the names of what changed", func() {
		limit := int64(60)
		change := func(c *providers.Config) { c.RateLimitRPM, c.IsEnabled = &limit, false }
		given(registered, claimed).When(providers.Update{Config: configured(change), Secret: secretAt(1)}).Then(domain.To{
			Stream: stream,
			Event:  providers.Updated{ProviderID: first, Config: configured(change), Secret: secretAt(1), Changed: []string{"is_enabled", "rate_limit_rpm"}},
		})
	})

	It("is not updated where nothing changed", func() {
		given(registered, claimed).When(providers.Update{Config: configured(), Secret: secretAt(1)}).Then()
	})

	It("is updated where only a header's value changed, which is another version of the secret", func() {
		given(registered, claimed).When(providers.Update{Config: configured(), Secret: secretAt(2)}).Then(domain.To{
			Stream: stream,
			Event:  providers.Updated{ProviderID: first, Config: configured(), Secret: secretAt(2), Changed: []string{"custom_headers"}},
		})
	})

	It("claims its new name and releases the old one", func() {
		given(registered, claimed).When(providers.Update{Config: configured(named("Azure")), Secret: secretAt(1)}).Then(
			domain.To{Stream: stream, Event: providers.Updated{ProviderID: first, Config: configured(named("Azure")), Secret: secretAt(1), Changed: []string{"name"}}},
			domain.To{Stream: providers.NameStream("Azure"), Event: providers.NameClaimed{ProviderID: first, Name: "Azure"}},
			domain.To{Stream: nameStream, Event: providers.NameReleased{ProviderID: first, Name: "OpenAI"}},
		)
	})

	It("keeps its name where the new one is taken", func() {
		given(registered, claimed, providers.NameClaimed{ProviderID: second, Name: "Azure"}).
			When(providers.Update{Config: configured(named("Azure")), Secret: secretAt(1)}).
			ThenRefused(domain.Conflict, "name_taken")
	})

	It("rotates to another version of its secret", func() {
		given(registered).When(providers.RotateCredentials{Secret: secretAt(2)}).Then(
			domain.To{Stream: stream, Event: providers.CredentialsRotated{ProviderID: first, Secret: secretAt(2)}})
	})

	It("is deleted and gives its present name back", func() {
		given(registered, claimed, providers.Updated{ProviderID: first, Config: configured(named("Azure")), Secret: secretAt(1)}).
			When(providers.Delete{}).Then(
			domain.To{Stream: stream, Event: providers.Deleted{ProviderID: first, Name: "Azure", VaultPath: secretAt(1).VaultPath}},
			domain.To{Stream: providers.NameStream("Azure"), Event: providers.NameReleased{ProviderID: first, Name: "Azure"}},
		)
	})

	DescribeTable("is not found",
		func(command providers.Command) {
			given().When(command).ThenRefused(domain.NotFound, "not_found")
			given(registered, claimed, deleted).When(command).ThenRefused(domain.NotFound, "not_found")
		},
		Entry("to update", providers.Update{Config: configured()}),
		Entry("to rotate", providers.RotateCredentials{}),
		Entry("to delete", providers.Delete{}),
	)

	It("has its secret removed once, after it was deleted", func() {
		given(registered).When(providers.RemoveSecret{}).Then()
		removed := providers.SecretRemoved{ProviderID: first, VaultPath: secretAt(1).VaultPath}
		given(registered, deleted).When(providers.RemoveSecret{}).Then(domain.To{Stream: stream, Event: removed})
		given(registered, deleted, removed).When(providers.RemoveSecret{}).Then()
	})

	It("does not share what it has folded between states", func() {
		decider := providers.Decider()
		before := decider.Fold(registered, claimed)
		after := decider.Evolve(before, providers.NameReleased{ProviderID: first, Name: "OpenAI"})
		Expect(before.Holder("OpenAI")).To(Equal(first))
		Expect(after.Holder("OpenAI")).To(BeEmpty())
	})
})
