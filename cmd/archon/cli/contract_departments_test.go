package cli_test

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// tokenFor is a token of the embedded issuer for a user of a department.
func (c *customer) tokenFor(user, role, department string) string {
	GinkgoHelper()
	stdout, stderr, code := c.inProcess("token", "--tenant", c.name, "--user", user, "--role", role, "--department", department)
	Expect(code).To(Equal(good), stderr)
	return strings.TrimSpace(stdout)
}

// departmentsContract is the contract of departments, and of whose account calls are on.
func departmentsContract(shared func() *surface) {
	var s *surface
	var c *customer
	var viewer string

	BeforeEach(func() {
		s = shared()
		c = s.customer()
		viewer = s.token(c.name, "vic", "viewer")
	})
	create := func(body any, headers ...header) reply {
		GinkgoHelper()
		return s.ask(http.MethodPost, departmentsPath, c.admin, body, headers...)
	}

	It("creates them with an id that is chosen or made, and lists them by name", func() {
		made := create(object{"name": " Research  &\u00a0more "})
		Expect(made.status).To(Equal(http.StatusCreated), made.body)
		id, _ := made.data()["id"].(string)
		Expect(id).To(MatchRegexp(uuidPattern))
		Expect(made.data()).To(Equal(object{"id": id, "name": "Research & more", "created_at": made.data()["created_at"], "version": 1.0}))
		Expect(made.header.Get("Location")).To(Equal(departmentsPath + "/" + id))
		chosen := create(object{"id": "CC-4711.eu:west_1@acme", "name": "Legal"})
		Expect(chosen.status).To(Equal(http.StatusCreated), chosen.body)

		one := s.get(departmentsPath+"/"+id, viewer)
		Expect(one.header.Get("ETag")).To(Equal(`"1"`))
		Expect(one.data()).To(Equal(made.data()))
		all := s.pageThrough(departmentsPath+"?limit=1", viewer, func(int) {})
		Expect(all).To(Equal([]map[string]any{chosen.data(), made.data()}))
		Expect(s.entries(c.admin, "resource_type=department&resource_id=CC-4711.eu:west_1@acme&outcome=succeeded")).To(HaveLen(1))
	})

	It("creates one once, whoever repeats it, and none under an id or a name that there is", func() {
		sent, once := object{"id": "support", "name": "Support"}, header{"Idempotency-Key": uuid.NewString()}
		first := create(sent, once)
		again := create(sent, once)
		Expect(again.data()).To(Equal(first.data()))
		Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"))
		for _, taken := range []struct {
			body object
			code string
		}{
			{object{"id": "support", "name": "Other"}, "id_taken"},
			{object{"name": "SUPPORT"}, "name_taken"},
			{object{"id": "second", "name": " support "}, "name_taken"},
		} {
			r := create(taken.body)
			Expect(r.status).To(Equal(http.StatusConflict), r.body)
			Expect(r.code()).To(Equal(taken.code))
		}
		for field, values := range map[string][]any{"id": {"", "a b", "a/b", "-a", strings.Repeat("a", 101), "é", 1}, "name": {nil, "", " ", "a\n", strings.Repeat("n", 201), 1}} {
			for _, value := range values {
				body := object{"id": "fresh", "name": "Fresh"}
				body[field] = value
				r := create(body)
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
				_, details := r.failure()
				Expect(details).To(HaveKey(field))
			}
		}
		Expect(s.get(departmentsPath, viewer).list()).To(HaveLen(1))
	})

	It("renames them, for who has seen the present version, and knows what they were called", func() {
		create(object{"id": "support", "name": "Support"})
		create(object{"id": "sales", "name": "Sales"})
		path := departmentsPath + "/support"
		rename := func(name string, headers ...header) reply {
			GinkgoHelper()
			return s.ask(http.MethodPatch, path, c.admin, object{"name": name}, headers...)
		}
		before := time.Now().UTC()
		Expect(rename("Care", header{"If-Match": `"7"`}).status).To(Equal(http.StatusPreconditionFailed))
		Expect(rename("SALES").code()).To(Equal("name_taken"))
		renamed := rename("Care", header{"If-Match": `"1"`})
		Expect(renamed.status).To(Equal(http.StatusOK), renamed.body)
		Expect(renamed.header.Get("ETag")).To(Equal(`"2"`))
		Expect(renamed.data()).To(Equal(s.get(path, viewer).data()))
		Expect(rename("Care").eventPosition()).To(Equal(renamed.eventPosition()), "nothing changed")
		Expect(create(object{"id": "new", "name": "support"}).status).To(Equal(http.StatusCreated), "the name is free again")

		then := "?as_of=" + before.Format(time.RFC3339Nano)
		Expect(s.get(path+then, viewer).data()).To(And(HaveKeyWithValue("name", "Support"), HaveKeyWithValue("version", 1.0)))
		Expect(namesOf(s.get(departmentsPath+then, viewer).list(), "name")).To(Equal([]any{"Sales", "Support"}))
		Expect(namesOf(s.get(departmentsPath, viewer).list(), "name")).To(Equal([]any{"Care", "Sales", "support"}))
		early := "?as_of=2000-01-01T00:00:00Z"
		Expect(s.ask(http.MethodGet, path+early, viewer, nil).status).To(Equal(http.StatusNotFound))
		Expect(s.get(departmentsPath+early, viewer).list()).To(BeEmpty())
		Expect(s.ask(http.MethodPatch, departmentsPath+"/nobody", c.admin, object{"name": "X"}).status).To(Equal(http.StatusNotFound))
		Expect(s.entries(c.admin, "resource_type=department&resource_id=support&outcome=rejected")).To(HaveLen(2))
	})

	It("are who calls are on the account of: the key's, else the token's, else the request's", func() {
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "hello"}))
		other := chatting(gateway.OpenAI, "from the other")
		first := c.registers("one", "openai", upstream.URL)
		second := c.registers("two", "openai", other.URL)
		Expect(s.ask(http.MethodPut, rulesPath, c.admin, object{"rules": []object{{
			"name": "Sales", "priority": 1, "conditions": []object{{"field": "department", "operator": "eq", "value": "sales"}},
			"action": object{"type": "direct", "providers": []object{{"provider_id": second}}},
		}}}).status).To(Equal(http.StatusOK))
		of := map[string]string{}
		for _, id := range []string{"support", "sales", "legal"} {
			of[id], _ = c.makesKey(object{"department_id": id})
			c.hasDepartment(id, id)
		}
		open, _ := c.makesKey(object{})
		claims, plain := c.tokenFor("ada", "operator", "unheard-of"), s.token(c.name, "ada", "operator")
		named := header{"X-Archon-Department": "sales"}

		var last completion
		account := func(token string, headers ...header) string {
			GinkgoHelper()
			last = c.chat(GinkgoT().Context(), token, talk("hi"), headers...)
			Expect(last.status).To(Equal(http.StatusOK), last.body)
			recorded := c.calls()
			call := recorded[len(recorded)-1]
			Expect(call.CallID).To(Equal(last.callID()))
			wanted := first
			if call.DepartmentID == "sales" {
				wanted = second
			}
			Expect(call.ProviderID).To(Equal(wanted), "routing goes by the department that the call is on the account of")
			return call.DepartmentID
		}
		Expect(account(of["support"], named)).To(Equal("support"), "the key comes first")
		Expect(account(claims, named)).To(Equal("unheard-of"), "the issuer is believed")
		Expect(account(open, named)).To(Equal("sales"))
		Expect(account(plain, named)).To(Equal("sales"))
		Expect(account(open)).To(BeEmpty())
		Expect(account(of["sales"])).To(Equal("sales"))

		route := func(token string, department any) reply {
			return s.ask(http.MethodPost, "/api/v1/router/route", token, object{"prompt": "hi", "department_id": department})
		}
		for _, routed := range []struct {
			token, department, account string
		}{{plain, "legal", "legal"}, {claims, "legal", "unheard-of"}, {claims, "nobody", "unheard-of"}} {
			r := route(routed.token, routed.department)
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			recorded := c.calls()
			Expect(recorded[len(recorded)-1].DepartmentID).To(Equal(routed.account))
		}

		By("refusing a request that names what can be none, before anybody is called")
		asked := len(posts(upstream)) + len(posts(other))
		refused := c.chat(GinkgoT().Context(), open, talk("hi"), header{"X-Archon-Department": strings.Repeat("a", 300)})
		Expect(refused.status).To(Equal(http.StatusBadRequest), refused.body)
		Expect(refused.problem()).To(Equal("invalid_value"))
		Expect(len(posts(upstream)) + len(posts(other))).To(Equal(asked))

		By("counting to one that nobody has created")
		Expect(account(open, header{"X-Archon-Department": "fresh"})).To(Equal("fresh"))
		create(object{"id": "fresh", "name": "Fresh"})

		By("showing departments by their names")
		seen := header{"X-Min-Position": last.header.Get("X-Event-Position")}
		by := func(path string) map[any]any {
			GinkgoHelper()
			found := map[any]any{}
			list, _ := s.ask(http.MethodGet, path, viewer, nil, seen).data()["by_department"].([]any)
			for _, row := range list {
				entry, _ := row.(map[string]any)
				found[entry["department"]] = entry["spend"]
			}
			return found
		}
		Expect(by(dashboardPath)).To(And(HaveLen(6), HaveKey("support"), HaveKey("unheard-of"), HaveKey("sales"), HaveKey("unattributed"), HaveKey("legal"), HaveKey("Fresh")))
		before := time.Now().UTC()
		Expect(s.ask(http.MethodPatch, departmentsPath+"/sales", c.admin, object{"name": "Vertrieb"}).status).To(Equal(http.StatusOK))
		Expect(by(dashboardPath)).To(And(HaveLen(6), HaveKey("Vertrieb"), Not(HaveKey("sales"))))
		Expect(by(dashboardPath + "?as_of=" + before.Format(time.RFC3339Nano))).To(And(HaveLen(6), HaveKey("sales"), Not(HaveKey("Vertrieb"))))
		Expect(s.get(breakdownPath+"/department", viewer).list()).To(ContainElements(
			And(HaveKeyWithValue("key", "sales"), HaveKeyWithValue("name", "Vertrieb"), HaveKeyWithValue("requests", 3.0)),
			And(HaveKeyWithValue("key", "unheard-of"), HaveKeyWithValue("name", "unheard-of"), HaveKeyWithValue("requests", 3.0)),
			And(HaveKeyWithValue("key", ""), HaveKeyWithValue("name", "unattributed"), HaveKeyWithValue("requests", 1.0))))
		Expect(s.get(exportPath, viewer).body).To(And(ContainSubstring(",Vertrieb,"), ContainSubstring(",unheard-of,"), Not(ContainSubstring(",sales,"))))
		create(object{"id": "unheard-of", "name": "Heard of"})
		Expect(by(dashboardPath)).To(And(HaveKey("Heard of"), Not(HaveKey("unheard-of"))), "what a claim named has a name once there is one")
	})
}
