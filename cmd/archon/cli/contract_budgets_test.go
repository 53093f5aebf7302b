package cli_test

import (
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	calls "github.com/archonhq/archon/domain/usage"
)

// budgeted is a body that sets a budget, with these fields changed.
func budgeted(change map[string]any) map[string]any {
	sent := map[string]any{"budget_usd": 100, "period": "monthly"}
	maps.Copy(sent, change)
	return sent
}

// budgetsContract is the contract of budgets.
func budgetsContract(shared func() *surface) {
	var s *surface
	var name, admin, viewer string

	BeforeEach(func() {
		s = shared()
		name = "t-" + uuid.NewString()[:8]
		admin, viewer = s.token(name, "ada", "admin", "auditor"), s.token(name, "vic", "viewer")
	})

	It("sets one, shows how it stands, changes and removes it", func() {
		recordCall(s.installation, name, calls.Recorded{ProviderType: "openai", Model: "m", DepartmentID: "research"})
		path := budgetsPath + "/research"
		r := s.ask(http.MethodPut, path, admin, budgeted(map[string]any{"budget_usd": 0.0125, "department": "Research"}))
		Expect(r.status).To(Equal(http.StatusOK), r.body)
		Expect(r.header.Get("ETag")).To(Equal(`"1"`))
		now := time.Now().UTC()
		month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		want := map[string]any{
			"id": r.data()["id"], "level": "department", "subject_id": "research", "department_id": "research", "department": "Research", "budget_usd": 0.0125,
			"period": "monthly", "warn_threshold_pct": 80.0, "block_threshold_pct": 100.0, "current_spend_usd": 0.01, "pct": 80.0,
			"period_start": month.Format(time.RFC3339), "period_end": month.AddDate(0, 1, 0).Format(time.RFC3339), "status": "warn", "version": 1.0,
		}
		Eventually(func() map[string]any { return s.get(path, viewer).data() }).WithTimeout(bound).Should(Equal(want))
		Expect(s.get(path, viewer).header.Get("ETag")).To(Equal(`"1"`))
		Expect(s.get(budgetsPath, viewer).list()).To(Equal([]map[string]any{want}))
		Expect(s.get(budgetsPath+"/department/research", viewer).data()).To(Equal(want), "the same, by its level")

		By("warning of what was spent before, which no call is there to tell of")
		Eventually(func() []map[string]any { return s.get(alertsPath+"?status=open", viewer).list() }).WithTimeout(bound).Should(ConsistOf(And(
			HaveKeyWithValue("kind", "budget_warning"), HaveKeyWithValue("subject", "department/monthly/"+month.Format(time.RFC3339)+"/research"),
			HaveKeyWithValue("details", Equal(map[string]any{
				"level": "department", "subject_id": "research", "period": "monthly", "period_start": want["period_start"], "period_end": want["period_end"],
				"budget_usd": 0.0125, "threshold_usd": 0.01, "spent_usd": 0.01,
			})))))

		By("appending nothing where nothing changes")
		before := s.head(admin)
		same := s.ask(http.MethodPut, path, admin, budgeted(map[string]any{"budget_usd": 0.0125, "warn_threshold_pct": 80.0, "block_threshold_pct": 100}))
		Expect(same.status).To(Equal(http.StatusOK), same.body)
		Expect(same.data()).To(Equal(want))
		Expect(s.head(admin)).To(Equal(before))

		By("guarding it")
		Expect(s.ask(http.MethodPut, path, admin, budgeted(nil), header{"If-Match": `"7"`}).status).To(Equal(http.StatusPreconditionFailed))
		Expect(s.ask(http.MethodDelete, path, admin, nil, header{"If-Match": `"7"`}).status).To(Equal(http.StatusPreconditionFailed))
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			Expect(s.ask(method, path, s.token(name, "oz", "operator"), budgeted(nil)).status).To(Equal(http.StatusForbidden))
		}
		changed := s.ask(http.MethodPut, path, admin, budgeted(map[string]any{"period": "quarterly", "block_threshold_pct": nil, "warn_threshold_pct": 99.5}), header{"If-Match": `"1"`})
		Expect(changed.status).To(Equal(http.StatusOK), changed.body)
		quarter := time.Date(now.Year(), (now.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
		Expect(changed.data()).To(And(
			HaveKeyWithValue("block_threshold_pct", BeNil()), HaveKeyWithValue("warn_threshold_pct", 99.5), HaveKeyWithValue("period_start", quarter.Format(time.RFC3339)),
			HaveKeyWithValue("period_end", quarter.AddDate(0, 3, 0).Format(time.RFC3339)), HaveKeyWithValue("status", "ok"), HaveKeyWithValue("version", 2.0), HaveKeyWithValue("department", "Research")))

		By("removing it")
		key := header{"Idempotency-Key": uuid.NewString()}
		gone := s.ask(http.MethodDelete, path, admin, nil, key)
		Expect(gone.status).To(Equal(http.StatusNoContent), gone.body)
		Expect(s.ask(http.MethodDelete, path, admin, nil, key).header.Get("Idempotent-Replayed")).To(Equal("true"))
		Expect(s.ask(http.MethodDelete, path, admin, nil).status).To(Equal(http.StatusNotFound))
		Expect(s.ask(http.MethodGet, path, viewer, nil).status).To(Equal(http.StatusNotFound))
		Expect(s.get(budgetsPath, viewer).list()).To(BeEmpty())
		Expect(s.get(budgetsPath+"?as_of="+url.QueryEscape(now.Add(-time.Hour).Format(time.RFC3339)), viewer).list()).To(BeEmpty())
		again := s.ask(http.MethodPut, path, admin, budgeted(nil))
		Expect(again.data()).To(And(HaveKeyWithValue("id", want["id"]), HaveKeyWithValue("version", 4.0)))
		entries := s.entries(s.token(name, "audrey", "auditor"), "resource_type=budget&resource_id="+want["id"].(string)+"&outcome=succeeded")
		Expect(namesOf(entries, "action")).To(ConsistOf("PUT "+budgetsPath+"/{department_id}", "PUT "+budgetsPath+"/{department_id}", "DELETE "+budgetsPath+"/{department_id}", "PUT "+budgetsPath+"/{department_id}"))
	})

	It("sets them for the tenant, agents and keys, and for nobody else's", func() {
		made := s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI"})
		id, _ := made.data()["id"].(string)
		for _, at := range []string{"/tenant/" + name, "/agent/scout", "/key/" + id, "/R%26D%2FEurope", "/department/another%20one"} {
			r := s.ask(http.MethodPut, budgetsPath+at, admin, budgeted(nil))
			Expect(r.status).To(Equal(http.StatusOK), at+r.body)
			Expect(s.get(budgetsPath+at, viewer).data()).To(Equal(r.data()), at)
		}
		list := s.get(budgetsPath, viewer).list()
		Expect(namesOf(list, "subject_id")).To(HaveExactElements(name, "R&D/Europe", "another one", "scout", id))
		Expect(list[0]).To(And(HaveKeyWithValue("department_id", BeNil()), HaveKeyWithValue("department", BeNil())))
		Expect(list[1]).To(HaveKeyWithValue("department", "R&D/Europe"))
		Expect(s.pageThrough(budgetsPath+"?limit=2", viewer, func(int) {})).To(Equal(list))
		for _, at := range []string{"/tenant/another", "/key/" + uuid.NewString(), "/key/x", "/user/ada"} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				var body any
				if method == http.MethodPut {
					body = budgeted(nil)
				}
				Expect(s.ask(method, budgetsPath+at, admin, body).status).To(Equal(http.StatusNotFound), method+at)
			}
		}
	})

	It("says what does not fit, by field, and sets nothing then", func() {
		for field, values := range map[string][]any{
			"budget_usd": {nil, "100", -1, 9_007_200, 0.0000001, true}, "period": {nil, "weekly", 1}, "warn_threshold_pct": {nil, 0, -1, 1001, "80", 0.001, 100.5},
			"block_threshold_pct": {0, -5, 1001, "100", 99.999}, "department": {"", " ", 1, canary + "\n"}, canary: {1},
		} {
			for _, value := range values {
				r := s.ask(http.MethodPut, budgetsPath+"/research", admin, budgeted(map[string]any{field: value}))
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), field+r.body)
				Expect(r.body).NotTo(ContainSubstring(canary))
				if field != canary {
					_, details := r.failure()
					Expect(details).To(HaveKey(field), r.body)
				}
			}
		}
		for _, id := range []string{"%00", "%ff", "%0a", "%20"} {
			Expect(s.must(http.MethodPut, budgetsPath+"/"+id, admin, budgeted(nil)).status).To(BeElementOf(http.StatusUnprocessableEntity, http.StatusNotFound), id)
		}
		Expect(s.get(budgetsPath, viewer).list()).To(BeEmpty())
	})
}
