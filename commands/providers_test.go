package commands_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/secrets"
)

func refusal(err error) *domain.Refusal {
	GinkgoHelper()
	var refused *domain.Refusal
	Expect(errors.As(err, &refused)).To(BeTrue(), "a refusal, not %v", err)
	return refused
}

var _ = Describe("Commands on providers", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	It("register one with its events in one append, its secret in the store and nowhere else", func() {
		answer, err := f.register(as(), "OpenAI")
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusCreated))
		Expect(answer.Header).To(HaveKeyWithValue("X-Event-Position", "3"))
		Expect(answer.Header).To(HaveKeyWithValue("Etag", `"1"`))
		provider := providerIn(answer)
		Expect(provider.VaultPath).To(Equal("secret/tenants/acme/providers/" + provider.ID))
		Expect(provider.ConnectionTest.OK).To(BeTrue())
		Expect(f.types()).To(Equal([]string{"provider.registered.v1", "providername.claimed.v1", "providerhealth.probed.v1"}))
		for _, event := range f.log() {
			Expect(string(event.Data) + string(event.Meta)).NotTo(ContainSubstring("sk-of"))
			Expect(string(event.Meta)).NotTo(ContainSubstring("203.0.113.7"))
			Expect(string(event.Meta)).To(ContainSubstring(`"path":"/api/v1/router/providers"`))
		}
		secret, version, err := f.secrets.Get(context.Background(), "tenants/acme/providers/"+provider.ID, 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(version).To(Equal(1))
		Expect(secret).To(HaveKeyWithValue("credential.api_key", "sk-of-OpenAI"))
	})

	It("register one although its connection test fails", func() {
		f.wire.failure = "401: no such key"
		provider := f.registered("OpenAI")
		Expect(*provider.ConnectionTest.Error).To(Equal("401: no such key"))
		Expect(provider.HealthStatus).To(Equal(api.HealthStatus("unhealthy")))
	})

	It("refuse a taken name before a secret is written", func() {
		f.registered("OpenAI")
		_, err := f.register(as(), " OpenAI ")
		Expect(refusal(err).Code).To(Equal("name_taken"))
		ids, err := f.secrets.List(context.Background(), "tenants/acme/providers")
		Expect(err).NotTo(HaveOccurred())
		Expect(ids).To(HaveLen(1))
	})

	It("give a name to exactly one of many who want it at once, and drop the others' secrets", func() {
		var wg sync.WaitGroup
		results := make([]error, 24)
		for i := range results {
			wg.Go(func() {
				defer GinkgoRecover()
				_, results[i] = f.register(as(), "OpenAI")
			})
		}
		wg.Wait()
		won := 0
		for _, err := range results {
			if err == nil {
				won++
				continue
			}
			Expect(refusal(err).Kind).To(Equal(domain.Conflict))
		}
		Expect(won).To(Equal(1))
		ids, err := f.secrets.List(context.Background(), "tenants/acme/providers")
		Expect(err).NotTo(HaveOccurred())
		Expect(ids).To(HaveLen(1))
	})

	It("name every problem of what was sent, by field", func() {
		f.wire.problems = map[string]string{"credentials.api_key": "is required"}
		_, err := f.providers.RegisterProvider(as(), api.RegisterProviderRequestObject{Body: &api.RegisterProvider{Name: " ", Type: "openai"}})
		refused := refusal(err)
		Expect(refused.Details).To(HaveKey("credentials.api_key"))
		Expect(refused.Details).To(HaveKey("name"))
		Expect(f.log()).To(BeEmpty())
	})

	It("refuse an api_key that contradicts credentials.api_key", func() {
		key := "one"
		_, err := f.providers.RegisterProvider(as(), api.RegisterProviderRequestObject{
			Body: &api.RegisterProvider{Name: "A", Type: "openai", APIKey: &key, Credentials: &api.Credentials{"api_key": "two"}},
		})
		Expect(refusal(err).Details).To(HaveKey("api_key"))
	})

	Describe("If-Match", func() {
		rename := func(f *fixture, ctx context.Context, id, name string) (httpx.Answer, error) {
			done, err := f.providers.ChangeProvider(ctx, api.ChangeProviderRequestObject{ID: id, Body: &api.ChangeProvider{Name: &name}})
			answer, _ := done.(httpx.Answer)
			return answer, err //nolint:wrapcheck // a test
		}

		It("lets the write through at the version that was seen, and refuses it at another", func() {
			provider := f.registered("OpenAI")
			answer, err := rename(f, as(ifMatch(1)), provider.ID, "Two")
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.Header).To(HaveKeyWithValue("Etag", `"2"`))
			_, err = rename(f, as(ifMatch(1)), provider.ID, "Three")
			Expect(refusal(err).Kind).To(Equal(domain.Stale))
		})

		It("gives exactly one of many racing writers the version", func() {
			provider := f.registered("OpenAI")
			var wg sync.WaitGroup
			results := make([]error, 16)
			for i := range results {
				wg.Go(func() {
					_, results[i] = rename(f, as(ifMatch(1)), provider.ID, fmt.Sprintf("name %d", i))
				})
			}
			wg.Wait()
			won := 0
			for _, err := range results {
				if err == nil {
					won++
				} else {
					Expect(refusal(err).Kind).To(Equal(domain.Stale))
				}
			}
			Expect(won).To(Equal(1))
		})

		It("is not needed: a lost race is decided anew", func() {
			provider := f.registered("OpenAI")
			f.wire.during = func() {
				f.wire.mu.Unlock()
				defer f.wire.mu.Lock()
				_, err := rename(f, as(), provider.ID, "Renamed meanwhile")
				Expect(err).NotTo(HaveOccurred())
			}
			done, err := f.providers.ReplaceCredentials(as(), api.ReplaceCredentialsRequestObject{
				ID: provider.ID, Body: &api.ReplaceCredentials{Credentials: &api.Credentials{"api_key": "sk-new"}},
			})
			Expect(err).NotTo(HaveOccurred())
			answer, _ := done.(httpx.Answer)
			Expect(answer.Header).To(HaveKeyWithValue("Etag", `"3"`))
		})
	})

	It("change what was sent and leave the rest, including the credentials", func() {
		provider := f.registered("OpenAI")
		off := false
		done, err := f.providers.ChangeProvider(as(), api.ChangeProviderRequestObject{ID: provider.ID, Body: &api.ChangeProvider{
			IsEnabled: &off, CustomHeaders: &api.CustomHeaders{"X-Team": "core-secret"},
		}})
		Expect(err).NotTo(HaveOccurred())
		answer, _ := done.(httpx.Answer)
		changed := providerIn(answer)
		Expect(changed.Name).To(Equal("OpenAI"))
		Expect(changed.IsEnabled).To(BeFalse())
		Expect(changed.CustomHeaders).To(Equal([]string{"X-Team"}))
		Expect(string(answer.Body)).NotTo(ContainSubstring("core-secret"))
		secret, version, err := f.secrets.Get(context.Background(), "tenants/acme/providers/"+provider.ID, 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(version).To(Equal(2))
		Expect(secret).To(And(HaveKeyWithValue("credential.api_key", "sk-of-OpenAI"), HaveKeyWithValue("header.X-Team", "core-secret")))
	})

	It("append nothing where nothing changes", func() {
		provider := f.registered("OpenAI")
		name := "OpenAI"
		_, err := f.providers.ChangeProvider(as(), api.ChangeProviderRequestObject{ID: provider.ID, Body: &api.ChangeProvider{Name: &name}})
		Expect(err).NotTo(HaveOccurred())
		Expect(f.log()).To(HaveLen(3))
	})

	It("keep the old credentials where the new ones fail their test", func() {
		provider := f.registered("OpenAI")
		f.wire.failure = "401: bad key"
		_, err := f.providers.ReplaceCredentials(as(), api.ReplaceCredentialsRequestObject{
			ID: provider.ID, Body: &api.ReplaceCredentials{Credentials: &api.Credentials{"api_key": "sk-wrong"}},
		})
		refused := refusal(err)
		Expect(refused.Code).To(Equal("credential_test_failed"))
		Expect(refused.Message).To(ContainSubstring("401: bad key"))
		secret, _, err := f.secrets.Get(context.Background(), "tenants/acme/providers/"+provider.ID, 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(secret).To(HaveKeyWithValue("credential.api_key", "sk-of-OpenAI"))
		Expect(f.log()).To(HaveLen(3))
	})

	It("remove one, free its name, and destroy its secret once", func() {
		provider := f.registered("OpenAI")
		done, err := f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: provider.ID})
		Expect(err).NotTo(HaveOccurred())
		answer, _ := done.(httpx.Answer)
		Expect(answer.Status).To(Equal(http.StatusNoContent))
		Expect(answer.Body).To(BeEmpty())
		f.registered("OpenAI")

		caller := commands.SystemCaller(tenant, "jobs")
		for range 2 {
			Expect(f.providers.RemoveSecret(context.Background(), caller, provider.ID)).To(Succeed())
		}
		_, _, err = f.secrets.Get(context.Background(), "tenants/acme/providers/"+provider.ID, 0)
		Expect(err).To(MatchError(secrets.ErrNotFound))
		Expect(strings.Count(strings.Join(f.types(), " "), "provider.secret_removed.v1")).To(Equal(1))
	})

	It("leave the secret of a provider that is not deleted alone", func() {
		provider := f.registered("OpenAI")
		Expect(f.providers.RemoveSecret(context.Background(), commands.SystemCaller(tenant, "jobs"), provider.ID)).To(Succeed())
		_, _, err := f.secrets.Get(context.Background(), "tenants/acme/providers/"+provider.ID, 0)
		Expect(err).NotTo(HaveOccurred())
	})

	DescribeTable("do not find", func(id string) {
		_, err := f.providers.RemoveProvider(as(), api.RemoveProviderRequestObject{ID: id})
		Expect(refusal(err).Kind).To(Equal(domain.NotFound))
		_, err = f.providers.TestConnection(as(), api.TestConnectionRequestObject{ID: id})
		Expect(refusal(err).Kind).To(Equal(domain.NotFound))
	},
		Entry("what is not there", "0190a1b2-0000-7000-8000-000000000009"),
		Entry("what is no id", "../../etc/passwd"),
	)

	It("let calls pass a provider's breaker again once somebody has seen it work, and only then", func() {
		provider := f.registered("OpenAI")
		again := func() error {
			_, err := f.providers.TestConnection(as(), api.TestConnectionRequestObject{ID: provider.ID})
			return err
		}
		replace := func() error {
			_, err := f.providers.ReplaceCredentials(as(), api.ReplaceCredentialsRequestObject{
				ID: provider.ID, Body: &api.ReplaceCredentials{Credentials: &api.Credentials{"api_key": "sk-new"}},
			})
			return err
		}
		f.wire.failure = "401: bad key"
		Expect(again()).To(Succeed())
		Expect(refusal(replace()).Code).To(Equal("credential_test_failed"))
		f.wire.failure = ""
		_, err := f.providers.Probe(context.Background(), commands.SystemCaller(tenant, "prober"), provider.ID, providers.OnSchedule)
		Expect(err).NotTo(HaveOccurred())
		Expect(f.breakers.reset).To(BeEmpty(), "a probe says nothing of whether models can be called")

		Expect(again()).To(Succeed())
		Expect(f.breakers.reset).To(Equal([]string{tenant + " " + provider.ID}))
		Expect(replace()).To(Succeed())
		Expect(f.breakers.reset).To(HaveLen(2))
	})

	It("do not let one tenant reach another's", func() {
		provider := f.registered("OpenAI")
		other := as(func(r *httpx.Request) { r.Principal.Tenant = "rival" })
		_, err := f.providers.RemoveProvider(other, api.RemoveProviderRequestObject{ID: provider.ID})
		Expect(refusal(err)).To(Equal(providers.ErrNotFound))
	})

	It("record a probe on schedule once, and each that is asked for", func() {
		provider := f.registered("OpenAI")
		caller := commands.SystemCaller(tenant, "prober")
		_, err := f.providers.Probe(context.Background(), caller, provider.ID, providers.OnSchedule)
		Expect(err).NotTo(HaveOccurred())
		Expect(f.log()).To(HaveLen(3))
		_, err = f.providers.TestConnection(as(), api.TestConnectionRequestObject{ID: provider.ID})
		Expect(err).NotTo(HaveOccurred())
		Expect(f.log()).To(HaveLen(4))
		f.wire.failure = "timeout"
		for range 5 {
			_, err = f.providers.Probe(context.Background(), caller, provider.ID, providers.OnSchedule)
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(f.log()).To(HaveLen(7), "three failures make it unhealthy, more say nothing new")
	})

	It("say in the answer that the read tables lag", func() {
		f.waits.lagging.Store(true)
		_, err := f.register(as(), "OpenAI")
		Expect(err).NotTo(HaveOccurred())
	})

	It("do not wait where the client does not want to", func() {
		_, err := f.register(as(func(r *httpx.Request) { r.RespondAsync = true }), "OpenAI")
		Expect(err).NotTo(HaveOccurred())
		Expect(f.waits.count.Load()).To(BeZero())
	})
})
