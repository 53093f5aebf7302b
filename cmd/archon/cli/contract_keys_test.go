package cli_test

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apikeys "github.com/archonhq/archon/domain/keys"
)

// keysContract is the contract of API keys.
func keysContract(shared func() *surface) {
	var s *surface
	var name, admin string

	BeforeEach(func() {
		s = shared()
		name = "t_" + uuid.NewString()[:8] + "-x"
		admin = s.token(name, "ada", "admin")
	})

	It("creates one, shows its secret once, lists it and revokes it", func() {
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
		made := s.ask(http.MethodPost, keysPath, admin, map[string]any{
			"name": " CI ", "department_id": "research", "models": []string{"gpt-4o", "claude-*"}, "rate_limit_rpm": 60, "budget_usd": 12.5, "expires_at": until,
		})
		Expect(made.status).To(Equal(http.StatusCreated), made.body)
		Expect(made.header.Get("ETag")).To(Equal(`"1"`))
		created := made.data()
		id, _ := created["id"].(string)
		Expect(id).To(MatchRegexp(uuidPattern))
		Expect(made.header.Get("Location")).To(Equal(keysPath + "/" + id))
		token, _ := created["key"].(string)
		Expect(token).To(HavePrefix("ak_" + name + "." + id + "."))
		of, _, secret, ok := apikeys.Parse(token)
		Expect(ok).To(BeTrue())
		Expect(of).To(Equal(name))

		shown := map[string]any{
			"id": id, "name": "CI", "department_id": "research", "models": []any{"gpt-4o", "claude-*"}, "rate_limit_rpm": 60.0, "budget_usd": 12.5,
			"expires_at": until, "status": "active", "hint": secret[len(secret)-4:], "created_by": "ada", "created_at": created["created_at"],
			"revoked_at": nil, "version": 1.0,
		}
		Expect(created["created_at"]).To(beTime())
		viewer := s.token(name, "vic", "viewer")
		Expect(s.get(keysPath+"/"+id, viewer).data()).To(Equal(shown))
		Expect(s.get(keysPath+"/"+id, viewer).header.Get("ETag")).To(Equal(`"1"`))
		Expect(s.get(keysPath, viewer).list()).To(Equal([]map[string]any{shown}))

		Expect(s.ask(http.MethodDelete, keysPath+"/"+id, admin, nil, header{"If-Match": `"7"`}).status).To(Equal(http.StatusPreconditionFailed))
		revoked := s.ask(http.MethodDelete, keysPath+"/"+id, admin, nil)
		Expect(revoked.status).To(Equal(http.StatusNoContent), revoked.body)
		again := s.ask(http.MethodDelete, keysPath+"/"+id, admin, nil)
		Expect(again.status).To(Equal(http.StatusNoContent), again.body)
		Expect(again.eventPosition()).To(BeNumerically(">=", revoked.eventPosition()))
		after := s.get(keysPath+"/"+id, viewer).data()
		Expect(after).To(And(HaveKeyWithValue("status", "revoked"), HaveKeyWithValue("revoked_at", beTime()), HaveKeyWithValue("version", 2.0)))

		By("finding the secret nowhere")
		Expect(s.running.output.String()).NotTo(ContainSubstring(secret))
		Expect(filesHolding(s, secret)).To(BeEmpty())
		entries := s.entries(s.token(name, "audrey", "auditor"), "resource_type=key&resource_id="+id)
		Expect(namesOf(entries, "action")).To(ConsistOf("POST "+keysPath, "DELETE "+keysPath+"/{id}", "DELETE "+keysPath+"/{id}"), "the refused one too")
	})

	It("fills in what may be left out, and says what does not fit", func() {
		made := s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI", "department_id": nil, "rate_limit_rpm": nil, "budget_usd": nil, "expires_at": nil})
		Expect(made.data()).To(And(
			HaveKeyWithValue("department_id", BeNil()), HaveKeyWithValue("models", Equal([]any{})), HaveKeyWithValue("rate_limit_rpm", BeNil()),
			HaveKeyWithValue("budget_usd", BeNil()), HaveKeyWithValue("expires_at", BeNil())))
		same := s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI"})
		Expect(same.status).To(Equal(http.StatusCreated), "names need not be unique")
		for field, values := range map[string][]any{
			"name": {nil, "", " ", 1, canary + "\n"}, "department_id": {"", " ", 1}, "models": {nil, "gpt-4o", []any{""}, []string{"a*b"}, []string{"a", "a"}},
			"rate_limit_rpm": {0, -1, 1.5, "5"}, "budget_usd": {-1, "5", 0.0000001, 1e300, 100_000_001}, "expires_at": {"tomorrow", "2001-01-01T00:00:00Z", 7},
		} {
			for _, value := range values {
				body := map[string]any{"name": "CI"}
				body[field] = value
				r := s.ask(http.MethodPost, keysPath, admin, body)
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), field+r.body)
				_, details := r.failure()
				Expect(details).To(HaveKey(HavePrefix(field)), r.body)
				Expect(r.body).NotTo(ContainSubstring(canary))
			}
		}
	})

	It("gives the first answer again without the secret, and remembers none", func() {
		key := header{"Idempotency-Key": uuid.NewString()}
		first := s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI"}, key)
		again := s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI"}, key)
		Expect(again.status).To(Equal(http.StatusCreated))
		Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"))
		was, is := first.data(), again.data()
		_, _, secret, ok := apikeys.Parse(was["key"].(string))
		Expect(ok).To(BeTrue())
		was["key"] = nil
		Expect(is).To(Equal(was))
		Expect(dump(s.installation)).NotTo(ContainSubstring(secret))
		Expect(s.get(keysPath, admin).list()).To(HaveLen(1))
	})

	It("pages through them, newest first", func() {
		for range 5 {
			s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "CI"})
		}
		all := s.pageThrough(keysPath+"?limit=2", admin, func(int) {
			s.ask(http.MethodPost, keysPath, admin, map[string]any{"name": "meanwhile"})
		})
		Expect(namesOf(all, "name")).To(HaveEach("CI"))
		Expect(all).To(HaveLen(5))
	})
}
