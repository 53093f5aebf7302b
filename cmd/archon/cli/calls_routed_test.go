package cli_test

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const (
	routePath = "/api/v1/router/route"
	tryPath   = "/api/v1/router/route/visual"
)

var _ = Describe("Routing a request over Archon's own API", Label("e2e"), Ordered, ContinueOnFailure, func() {
	var (
		running        *archon
		c              *customer
		first, second  *gatewaytest.Server
		one, two       string
		viewer, caller string
	)
	asked := func() int { return len(posts(first)) + len(posts(second)) }
	token := func(role string) string {
		GinkgoHelper()
		stdout, stderr, code := running.inProcess("token", "--tenant", c.name, "--user", role, "--role", role)
		Expect(code).To(Equal(good), stderr)
		return strings.TrimSpace(stdout)
	}

	BeforeAll(func() { running = install().start() })

	BeforeEach(func() {
		c = running.customer()
		viewer, caller = token("viewer"), token("operator")
		first, second = chatting(gateway.OpenAI, "from one"), chatting(gateway.OpenAI, "from two")
		one = c.registers("One", "openai", first.URL)
		two = c.registers("Two", "openai", second.URL, object{"supported_models": []string{"gpt-4o", cheapModel}})
		put := c.must(http.MethodPut, rulesPath, c.admin, object{"rules": []object{
			{
				"name": "Images", "priority": 1, "conditions": []object{{"field": "model_capability", "operator": "includes", "value": "vision"}},
				"action": object{"type": "direct", "providers": []object{{"provider_id": two, "model": "gpt-4o"}}},
			},
			{"name": "All", "priority": 2, "action": object{"type": "direct", "providers": []object{{"provider_id": one}}}},
		}})
		Expect(put.status).To(Equal(http.StatusOK), put.body)
		c.chains(5, 60, 1, allTriggers, one, two)
	})

	It("is tried out without calling or recording anything, and says why", func() {
		tried := c.must(http.MethodPost, tryPath, viewer, object{"prompt": "hello", "requirements": object{"model": cheapModel}})
		Expect(tried.status).To(Equal(http.StatusOK), tried.body)
		Expect(tried.data()).To(And(
			HaveKeyWithValue("selected_provider", Equal(object{"id": one, "name": "One", "type": "openai"})),
			HaveKeyWithValue("selected_model", cheapModel), HaveKeyWithValue("fallback_used", false),
			HaveKeyWithValue("matched_rule", HaveKeyWithValue("name", "All")), HaveKeyWithValue("estimated_cost_usd", BeNumerically(">", 0)),
			HaveKeyWithValue("alternatives", ConsistOf(And(
				HaveKeyWithValue("provider", HaveKeyWithValue("id", two)), HaveKeyWithValue("reason_not_chosen", "in_reserve"))))))
		trace, _ := tried.data()["trace"].([]any)
		Expect(trace).To(HaveExactElements(
			And(HaveKeyWithValue("name", "Images"), HaveKeyWithValue("matched", false), HaveKeyWithValue("failed_condition", Not(BeEmpty()))),
			And(HaveKeyWithValue("name", "All"), HaveKeyWithValue("matched", true), HaveKeyWithValue("failed_condition", BeNil()))))

		seen := c.must(http.MethodPost, tryPath, viewer, object{"prompt": "hello", "requirements": object{"vision": true}})
		Expect(seen.data()).To(And(HaveKeyWithValue("selected_provider", HaveKeyWithValue("id", two)), HaveKeyWithValue("selected_model", "gpt-4o")))

		dear := c.must(http.MethodPost, tryPath, viewer, object{"prompt": "hello", "requirements": object{"max_cost_per_1k": 0.0000001}})
		Expect(dear.status).To(Equal(http.StatusOK), dear.body)
		Expect(dear.data()).To(And(HaveKeyWithValue("selected_provider", BeNil()), HaveKeyWithValue("alternatives",
			ContainElement(HaveKeyWithValue("reason_not_chosen", "over_max_cost")))))

		Expect(asked()).To(BeZero())
		Expect(c.calls()).To(BeEmpty())
	})

	It("is answered, recorded and charged, with the messages in place of the prompt", func() {
		routed := c.must(http.MethodPost, routePath, caller, object{
			"prompt": "not this", "messages": []object{{"role": "user", "content": "but this"}}, "requirements": object{"model": cheapModel}, "department_id": "d-1",
		})
		Expect(routed.status).To(Equal(http.StatusOK), routed.body)
		Expect(routed.data()).To(And(
			HaveKeyWithValue("content", "from one"), HaveKeyWithValue("model", cheapModel), HaveKeyWithValue("cost_usd", BeNumerically(">", 0)),
			HaveKeyWithValue("provider", HaveKeyWithValue("id", one)), HaveKeyWithValue("usage", HaveKeyWithValue("total_tokens", BeNumerically(">", 0))),
			HaveKeyWithValue("attempts", HaveExactElements(And(HaveKeyWithValue("provider_id", one), HaveKeyWithValue("outcome", "succeeded"))))))
		Expect(string(posts(first)[0].Body)).To(And(ContainSubstring("but this"), Not(ContainSubstring("not this"))))
		calls := c.calls()
		Expect(calls).To(HaveLen(1))
		Expect(calls[0].Recorded).To(And(HaveField("UserID", "operator"), HaveField("DepartmentID", "d-1"), HaveField("Outcome", BeEquivalentTo("succeeded"))))
		Expect(routed.eventPosition()).To(BeNumerically(">", 0))
	})

	It("is made once under an Idempotency-Key, and its answer is not kept", func() {
		sent, named := object{"prompt": "hello"}, header{"Idempotency-Key": "once"}
		original := c.must(http.MethodPost, routePath, caller, sent, named)
		Expect(original.status).To(Equal(http.StatusOK), original.body)
		again := c.must(http.MethodPost, routePath, caller, sent, named)
		Expect(again.status).To(Equal(http.StatusOK), again.body)
		Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"))
		Expect(again.data()).To(And(HaveKeyWithValue("content", BeNil()), HaveKeyWithValue("attempts", original.data()["attempts"])))
		Expect(again.eventPosition()).To(Equal(original.eventPosition()))
		other := c.must(http.MethodPost, routePath, caller, object{"prompt": "something else"}, named)
		Expect(other.status).To(Equal(http.StatusUnprocessableEntity))
		Expect(other.code()).To(Equal("idempotency_key_reused"))
		Expect(asked()).To(Equal(1))
		Expect(c.calls()).To(HaveLen(1))
	})

	It("goes down the chain, and tells of each attempt where that is in vain", func() {
		first.Behave(gatewaytest.Failing(http.StatusInternalServerError))
		routed := c.must(http.MethodPost, routePath, caller, object{"prompt": "hello"})
		Expect(routed.data()).To(And(HaveKeyWithValue("content", "from two"), HaveKeyWithValue("attempts",
			HaveExactElements(HaveKeyWithValue("outcome", "server_error"), HaveKeyWithValue("outcome", "succeeded")))))

		second.Behave(gatewaytest.Failing(http.StatusInternalServerError))
		failed := c.must(http.MethodPost, routePath, caller, object{"prompt": "hello"})
		Expect(failed.status).To(Equal(http.StatusBadGateway), failed.body)
		_, details := failed.failure()
		Expect(details).To(HaveKeyWithValue("attempts", HaveExactElements(
			HaveKeyWithValue("provider_id", one), HaveKeyWithValue("provider_id", two), HaveKeyWithValue("provider_id", two))))
		Expect(c.calls()).To(HaveLen(2))
	})

	It("takes the role operator, and something to say", func() {
		refused := c.must(http.MethodPost, routePath, viewer, object{"prompt": "hello"})
		Expect(refused.status).To(Equal(http.StatusForbidden), refused.body)
		for what, sent := range map[string]object{
			"nothing": {}, "an empty prompt": {"prompt": ""}, "no messages": {"messages": []object{}},
			"a message without a role": {"messages": []object{{"content": "hello"}}},
		} {
			r := c.must(http.MethodPost, routePath, caller, sent)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), what+" "+r.body)
		}
		Expect(asked()).To(BeZero())
		Expect(c.calls()).To(BeEmpty())
	})
})
