package commands_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/httpx"
)

func (f *fixture) createKey(ctx context.Context, sent api.CreateKey) (httpx.Answer, error) {
	done, err := f.keys.CreateKey(ctx, api.CreateKeyRequestObject{Body: &sent})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func (f *fixture) revokeKey(ctx context.Context, id string) (httpx.Answer, error) {
	done, err := f.keys.RevokeKey(ctx, api.RevokeKeyRequestObject{ID: id})
	answer, _ := done.(httpx.Answer)
	return answer, err //nolint:wrapcheck // a test
}

func keyIn(answer httpx.Answer) api.CreatedKey {
	GinkgoHelper()
	var envelope api.CreatedKeyEnvelope
	Expect(json.Unmarshal(answer.Body, &envelope)).To(Succeed())
	return envelope.Data
}

var _ = Describe("Commands on keys", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func() { f = newFixture() })

	It("create one whose secret is in the answer and nowhere else, and which opens what the event says", func() {
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
		answer, err := f.createKey(as(), api.CreateKey{
			Name: " CI ", DepartmentID: new("research"), Models: []string{"gpt-4o", "claude-*"}, RateLimitRPM: new(int64(60)),
			BudgetUsd: new(json.Number("12.500001")), ExpiresAt: &until,
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusCreated))
		made := keyIn(answer)
		Expect(answer.Header).To(And(HaveKeyWithValue("Etag", `"1"`), HaveKeyWithValue("Location", "/api/v1/keys/"+made.ID)))
		Expect(made).To(And(
			HaveField("Name", "CI"), HaveField("DepartmentID", HaveValue(Equal("research"))), HaveField("Models", []string{"gpt-4o", "claude-*"}),
			HaveField("RateLimitRPM", HaveValue(BeEquivalentTo(60))), HaveField("BudgetUsd", HaveValue(Equal(json.Number("12.500001")))),
			HaveField("ExpiresAt", HaveValue(Equal(until))), HaveField("Status", api.KeyStatusActive), HaveField("CreatedBy", "ada"),
			HaveField("RevokedAt", BeNil()), HaveField("Version", BeEquivalentTo(1))))

		of, id, secret, ok := keys.Parse(*made.Key)
		Expect(ok).To(BeTrue(), *made.Key)
		Expect([]string{of, id}).To(Equal([]string{tenant, made.ID}))
		Expect(secret).To(HaveSuffix(made.Hint))
		log := f.log()
		Expect(f.types()).To(Equal([]string{"key.created.v1"}))
		Expect(log[0].Stream).To(Equal("key-" + id))
		Expect(string(log[0].Data) + string(log[0].Meta)).NotTo(ContainSubstring(secret))
		var created keys.Created
		Expect(json.Unmarshal(log[0].Data, &created)).To(Succeed())
		Expect(keys.Decider().Fold(created).Matches(secret)).To(BeTrue())
		Expect(created.BudgetNanoUSD).To(HaveValue(BeEquivalentTo(12_500_001_000)))
	})

	It("create different ones under the same name", func() {
		secrets := map[string]bool{}
		for range 20 {
			answer, err := f.createKey(as(), api.CreateKey{Name: "CI"})
			Expect(err).NotTo(HaveOccurred())
			_, id, secret, _ := keys.Parse(*keyIn(answer).Key)
			secrets[secret], secrets[id] = true, true
		}
		Expect(secrets).To(HaveLen(40))
	})

	It("show the secret once: under the same Idempotency-Key it is null, and it is not remembered", func() {
		create := func(node *fixture) httpx.Answer {
			GinkgoHelper()
			begun, err := node.begin(as(), "once", "body")
			Expect(err).NotTo(HaveOccurred())
			defer begun.Done()
			if begun.Answer != nil {
				return *begun.Answer
			}
			answer, err := f.createKey(begun.Context, api.CreateKey{Name: "CI"})
			Expect(err).NotTo(HaveOccurred())
			return answer
		}
		first := create(f)
		made := keyIn(first)
		Expect(made.Key).NotTo(BeNil())
		for _, node := range []*fixture{f, newNodeOn(f)} {
			second := create(node)
			Expect(second.Replayed).To(BeTrue())
			Expect(string(second.Body)).To(ContainSubstring(`"key":null`))
			again := keyIn(second)
			made.Key = nil
			Expect(again).To(Equal(made), "but for the secret it is the same answer")
			Expect(second.Header).To(Equal(first.Header))
		}
		Expect(f.log()).To(HaveLen(1))
	})

	It("give the secret to one of two twins on two nodes", func() {
		var wg sync.WaitGroup
		made := make([]api.CreatedKey, 2)
		for i, node := range []*fixture{f, newNodeOn(f)} {
			begun, err := node.begin(as(), "twins", "body")
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(begun.Done)
			wg.Go(func() {
				defer GinkgoRecover()
				answer, err := f.createKey(begun.Context, api.CreateKey{Name: "CI"})
				Expect(err).NotTo(HaveOccurred())
				made[i] = keyIn(answer)
			})
		}
		wg.Wait()
		Expect(made[0].ID).To(Equal(made[1].ID))
		Expect(made[0].Key == nil).NotTo(Equal(made[1].Key == nil), "exactly one of them")
		Expect(f.log()).To(HaveLen(1))
	})

	DescribeTable("refuse what makes no sense, by field", func(field string, change func(*api.CreateKey)) {
		sent := api.CreateKey{Name: "CI"}
		change(&sent)
		_, err := f.createKey(as(), sent)
		refused := refusal(err)
		Expect(refused.Kind).To(Equal(domain.Invalid))
		Expect(refused.Details).To(HaveKey(field))
		Expect(f.log()).To(BeEmpty())
	},
		Entry("a blank name", "name", func(k *api.CreateKey) { k.Name = " " }),
		Entry("a past end", "expires_at", func(k *api.CreateKey) { k.ExpiresAt = new(time.Now().Add(-time.Second)) }),
		Entry("a budget finer than money", "budget_usd", func(k *api.CreateKey) { k.BudgetUsd = new(json.Number("0.0000001")) }),
		Entry("a budget beyond counting", "budget_usd", func(k *api.CreateKey) { k.BudgetUsd = new(json.Number("1e20")) }),
		Entry("a budget that is no number", "budget_usd", func(k *api.CreateKey) { k.BudgetUsd = new(json.Number("1e99999999999")) }),
		Entry("a * in the middle", "models", func(k *api.CreateKey) { k.Models = []string{"a*b"} }),
	)

	It("revoke one; to revoke it again is a success that changes nothing", func() {
		answer, err := f.createKey(as(), api.CreateKey{Name: "CI"})
		Expect(err).NotTo(HaveOccurred())
		id := keyIn(answer).ID
		for range 2 {
			answer, err = f.revokeKey(as(), id)
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.Status).To(Equal(http.StatusNoContent))
			Expect(answer.Body).To(BeEmpty())
		}
		Expect(f.types()).To(Equal([]string{"key.created.v1", "key.revoked.v1"}))
	})

	It("revoke at the version that was seen", func() {
		answer, err := f.createKey(as(), api.CreateKey{Name: "CI"})
		Expect(err).NotTo(HaveOccurred())
		_, err = f.revokeKey(as(ifMatch(2)), keyIn(answer).ID)
		Expect(refusal(err).Kind).To(Equal(domain.Stale))
		_, err = f.revokeKey(as(ifMatch(1)), keyIn(answer).ID)
		Expect(err).NotTo(HaveOccurred())
	})

	It("do not find what is not there, is no id, or is another tenant's", func() {
		answer, err := f.createKey(as(), api.CreateKey{Name: "CI"})
		Expect(err).NotTo(HaveOccurred())
		for _, id := range []string{"0190a1b2-0000-7000-8000-000000000009", "../x", ""} {
			_, err := f.revokeKey(as(), id)
			Expect(err).To(MatchError(keys.ErrNotFound), id)
		}
		rival := as(func(r *httpx.Request) { r.Principal.Tenant = "rival" })
		_, err = f.revokeKey(rival, keyIn(answer).ID)
		Expect(err).To(MatchError(keys.ErrNotFound))
	})
})
