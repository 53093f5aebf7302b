package cli_test

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("Credentials that a provider refuses", Label("e2e"), Ordered, ContinueOnFailure, func() {
	var (
		running  *archon
		c        *customer
		upstream *gatewaytest.Server
		id, key  string
	)

	BeforeAll(func() { running = install().start() })

	BeforeEach(func() {
		c = running.customer()
		upstream = chatting(gateway.OpenAI, "hello")
		id = c.registers("A", "openai", upstream.URL)
		key, _ = c.makesKey(nil)
	})

	// alerts are the tenant's, of a status.
	alerts := func(status string) func() []map[string]any {
		return func() []map[string]any {
			return c.must(http.MethodGet, alertsPath+"?status="+status, c.admin, nil).list()
		}
	}
	dies := func() {
		GinkgoHelper()
		upstream.Behave(gatewaytest.Failing(http.StatusUnauthorized))
		Expect(c.mustChat(key, talk("hello")).status).NotTo(Equal(http.StatusOK))
		Eventually(alerts("open")).WithTimeout(bound).Should(HaveExactElements(And(
			HaveKeyWithValue("kind", "dead_credentials"), HaveKeyWithValue("subject", id), HaveKeyWithValue("message", ContainSubstring("credentials")),
			HaveKeyWithValue("details", Equal(object{"provider_id": id, "provider_name": "A"})))))
	}

	It("are told in an alert, each time anew, until a connection test works or credentials are sent anew", func() {
		dies()
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello"}))
		Expect(c.must(http.MethodPost, providersPath+"/"+id+"/test-connection", c.admin, nil).status).To(Equal(http.StatusOK))
		Eventually(alerts("open")).WithTimeout(bound).Should(BeEmpty())
		Eventually(alerts("resolved")).WithTimeout(bound).Should(HaveLen(1))

		dies()
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello"}))
		rotated := c.must(http.MethodPut, providersPath+"/"+id+"/credentials", c.admin, object{"api_key": canary})
		Expect(rotated.status).To(Equal(http.StatusOK), rotated.body)
		Eventually(alerts("resolved")).WithTimeout(bound).Should(HaveLen(2))
		Expect(alerts("open")()).To(BeEmpty())
	})

	It("are no matter any more once the provider is deleted", func() {
		dies()
		Expect(c.must(http.MethodDelete, providersPath+"/"+id, c.admin, nil).status).To(Equal(http.StatusNoContent))
		Eventually(alerts("resolved")).WithTimeout(bound).Should(HaveLen(1))
		Expect(alerts("open")()).To(BeEmpty())
	})
})
