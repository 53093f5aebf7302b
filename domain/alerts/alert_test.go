package alerts_test

import (
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/internal/spec"
)

func TestAlerts(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Alerts")
}

const (
	first  = "0190a1b2-0000-7000-8000-000000000001"
	second = "0190a1b2-0000-7000-8000-000000000002"
)

var _ = Describe("An alert", func() {
	alert := alerts.Unpriced("openai", "gpt-99")
	stream := alerts.Stream(alerts.UnpricedModel, "openai/gpt-99")
	raised := alerts.Raised{AlertID: first, Kind: alert.Kind, Subject: alert.Subject, Message: alert.Message, Details: alert.Details}
	resolved := alerts.Resolved{AlertID: first, Kind: alert.Kind, Subject: alert.Subject, Resolution: "priced"}
	given := func(events ...domain.Event) spec.Behaviour[alerts.State, alerts.Command] {
		return spec.Given(alerts.Decider(), events...)
	}

	It("is raised once until it is resolved, and then anew", func() {
		given().When(alerts.Raise{AlertID: first, Alert: alert}).Then(domain.To{Stream: stream, Event: raised})
		given(raised).When(alerts.Raise{AlertID: second, Alert: alert}).Then()
		again := raised
		again.AlertID = second
		given(raised, resolved).When(alerts.Raise{AlertID: second, Alert: alert}).Then(domain.To{Stream: stream, Event: again})
	})

	It("is resolved once, under its own id", func() {
		given(raised).When(alerts.Resolve{Resolution: "priced"}).Then(domain.To{Stream: stream, Event: resolved})
		given(raised, resolved).When(alerts.Resolve{Resolution: "priced"}).Then()
		given().When(alerts.Resolve{Resolution: "priced"}).Then()
		again, closed := raised, resolved
		again.AlertID, closed.AlertID = second, second
		given(raised, resolved, again).When(alerts.Resolve{Resolution: "priced"}).Then(domain.To{Stream: stream, Event: closed})
	})

	It("has a stream by kind and subject that never changes", func() {
		Expect(stream).To(Equal("alert-0a7d6c93-9059-5ddd-ac1f-5a84d0ca7b87"))
		Expect(alerts.Stream("unpriced_model", "openai/gpt-9")).NotTo(Equal(stream))
		Expect(alerts.Stream("unpriced_modelo", "penai/gpt-99")).NotTo(Equal(stream))
	})

	It("about a model says which, whatever is in its name", func() {
		for _, model := range []string{"gpt-99", "meta-llama/Llama-3", "a/b/c", ""} {
			providerType, back := alerts.ModelOf(alerts.ModelSubject("vllm", model))
			Expect([]string{providerType, back}).To(Equal([]string{"vllm", model}))
		}
	})

	DescribeTable("is refused where it makes no sense", func(field string, change func(*alerts.Alert)) {
		wrong := alert
		change(&wrong)
		given().When(alerts.Raise{AlertID: first, Alert: wrong}).ThenRefused(domain.Invalid, "validation_failed", field)
	},
		Entry("an unknown kind", "kind", func(a *alerts.Alert) { a.Kind = "weather" }),
		Entry("about nothing", "subject", func(a *alerts.Alert) { a.Subject = " " }),
		Entry("about too much", "subject", func(a *alerts.Alert) { a.Subject = strings.Repeat("s", 301) }),
		Entry("a control character", "subject", func(a *alerts.Alert) { a.Subject = "a\x1bb" }),
		Entry("no message", "message", func(a *alerts.Alert) { a.Message = "" }),
		Entry("a novel", "message", func(a *alerts.Alert) { a.Message = strings.Repeat("m", 1001) }),
	)
})
