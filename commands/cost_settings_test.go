package commands_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/internal/webhook"
)

func (f *fixture) putSettings(ctx context.Context, sent api.ReplaceCostSettings) (httpx.Answer, error) {
	done, err := f.settings.ReplaceCostSettings(ctx, api.ReplaceCostSettingsRequestObject{Body: &sent})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func settingsIn(answer httpx.Answer) api.ReplacedCostSettings {
	GinkgoHelper()
	var envelope api.ReplacedCostSettingsEnvelope
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
	return envelope.Data
}

// away is a secret store that can't be written to.
type away struct{ secrets.Store }

func (away) Put(context.Context, string, map[string]string) (int, error) {
	return 0, secrets.ErrUnavailable
}

var _ = Describe("The settings of costs", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })
	url := new("https://example.com/alerts")
	webhooked := func() api.ReplaceCostSettings {
		return api.ReplaceCostSettings{TimeZone: "UTC", AlertWebhookURL: url}
	}
	own := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	const path = "tenants/" + tenant + "/alert-webhook"
	// keys are what a message would be signed with now.
	keys := func(ctx context.Context) ([][]byte, error) {
		settings, err := f.settings.Current(ctx, tenant)
		Expect(err).NotTo(HaveOccurred())
		return f.settings.Keys(ctx, *settings.Webhook)
	}

	It("keep the secret in the secret store alone, and show one that was made once", func(ctx context.Context) {
		answer, err := f.putSettings(as(), webhooked())
		Expect(err).NotTo(HaveOccurred())
		made := settingsIn(answer).AlertWebhookSecret
		Expect(made).NotTo(BeNil())
		event := f.log()[0]
		Expect(event.Stream).To(Equal("costs-settings"))
		Expect(string(event.Data) + string(event.Meta)).NotTo(ContainSubstring(strings.TrimPrefix(*made, "whsec_")))
		key, err := webhook.ParseSecret(*made)
		Expect(err).NotTo(HaveOccurred())
		Expect(keys(ctx)).To(Equal([][]byte{key}))

		again, err := f.putSettings(as(), webhooked())
		Expect(err).NotTo(HaveOccurred())
		Expect(settingsIn(again)).To(And(HaveField("AlertWebhookSecret", BeNil()), HaveField("Version", BeEquivalentTo(1))))
		Expect(keys(ctx)).To(Equal([][]byte{key}))
		Expect(f.types()).To(HaveLen(1))
	})

	It("sign with both secrets after a change, and with the new one where the old one is gone", func(ctx context.Context) {
		_, err := f.putSettings(as(), webhooked())
		Expect(err).NotTo(HaveOccurred())
		before, err := keys(ctx)
		Expect(err).NotTo(HaveOccurred())
		rotated := webhooked()
		rotated.AlertWebhookSecret = &own
		_, err = f.putSettings(as(), rotated)
		Expect(err).NotTo(HaveOccurred())
		after, err := webhook.ParseSecret(own)
		Expect(err).NotTo(HaveOccurred())
		Expect(keys(ctx)).To(Equal([][]byte{after, before[0]}))
		same, err := f.putSettings(as(), rotated)
		Expect(err).NotTo(HaveOccurred())
		Expect(settingsIn(same).Version).To(BeEquivalentTo(2), "the same secret is no change")
		Expect(f.secrets.DestroyVersions(ctx, path, 1)).To(Succeed())
		Expect(keys(ctx)).To(Equal([][]byte{after}))
		Expect(f.secrets.DestroyVersions(ctx, path, 2)).To(Succeed())
		_, err = keys(ctx)
		Expect(err).To(MatchError(secrets.ErrNotFound))
	})

	It("keep the present secret and the one before it, and no other", func(ctx context.Context) {
		sent := webhooked()
		for _, char := range []string{"a", "b", "c"} {
			sent.AlertWebhookSecret = new("whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(char, 32))))
			_, err := f.putSettings(as(), sent)
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(keys(ctx)).To(HaveLen(2))
		_, _, err := f.secrets.Get(ctx, path, 1)
		Expect(err).To(MatchError(secrets.ErrNotFound))
	})

	It("destroy the secrets with the webhook, and never use their versions again", func(ctx context.Context) {
		for version := 1; version <= 2; version++ {
			_, err := f.putSettings(as(), webhooked())
			Expect(err).NotTo(HaveOccurred())
			settings, err := f.settings.Current(ctx, tenant)
			Expect(err).NotTo(HaveOccurred())
			Expect(settings.Webhook.SecretVersion).To(Equal(version))
			_, err = f.putSettings(as(), api.ReplaceCostSettings{TimeZone: "UTC"})
			Expect(err).NotTo(HaveOccurred())
			_, _, err = f.secrets.Get(ctx, path, version)
			Expect(err).To(MatchError(secrets.ErrNotFound))
		}
	})

	It("leave no secret behind where they are not set", func(ctx context.Context) {
		sent := webhooked()
		sent.AlertWebhookSecret = &own
		_, err := f.putSettings(as(ifMatch(7)), sent)
		Expect(err).To(Equal(error(commands.ErrStale)))
		_, _, err = f.secrets.Get(ctx, path, 0)
		Expect(err).To(MatchError(secrets.ErrNotFound))

		f.settings.Secrets = away{f.secrets}
		_, err = f.putSettings(as(), sent)
		Expect(errors.Is(err, secrets.ErrUnavailable)).To(BeTrue())
		Expect(f.log()).To(BeEmpty())
	})

	It("send what an alert says as of an event, the same bytes each time, and nothing without a webhook", func(ctx context.Context) {
		var sent []webhook.Message
		delivery := &commands.AlertDelivery{Settings: f.settings, LoadUntil: f.store.LoadUntil, Send: func(_ context.Context, message webhook.Message) error {
			sent = append(sent, message)
			return nil
		}}
		raise := &commands.Alerts{Handler: f.settings.Handler}
		alert := alerts.Unpriced("openai", "gpt-99")
		Expect(raise.Raise(ctx, tenant, alert)).To(Succeed())
		Expect(raise.Resolve(ctx, commands.SystemCaller(tenant, "test"), alert.Kind, alert.Subject, "priced")).To(Succeed())
		stream := alerts.Stream(alert.Kind, alert.Subject)
		Expect(delivery.Deliver(ctx, tenant, stream, 1, "m-1")).To(Succeed())
		Expect(sent).To(BeEmpty())

		_, err := f.putSettings(as(), webhooked())
		Expect(err).NotTo(HaveOccurred())
		for _, position := range []int64{1, 2, 1} {
			Expect(delivery.Deliver(ctx, tenant, stream, position, "m-1")).To(Succeed())
		}
		Expect(sent).To(HaveLen(3))
		Expect(sent[2]).To(Equal(sent[0]))
		Expect(sent[0]).To(And(HaveField("URL", *url), HaveField("ID", "m-1"), HaveField("Keys", HaveLen(1))))
		Expect(string(sent[0].Body)).To(And(HavePrefix(`{"type":"alert.raised","timestamp":"`), ContainSubstring(`"tenant_id":"acme"`), ContainSubstring(`"status":"open"`), ContainSubstring(`"model":"gpt-99"`)))
		Expect(string(sent[1].Body)).To(And(HavePrefix(`{"type":"alert.resolved","timestamp":"`), ContainSubstring(`"status":"resolved"`), ContainSubstring(`"resolution":"priced"`), ContainSubstring(`"model":"gpt-99"`)))
	})
})
