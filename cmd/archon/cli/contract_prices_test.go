package cli_test

import (
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// priced is a body of PUT /cost/pricing about one model.
func priced(change map[string]any) map[string]any {
	price := map[string]any{"provider_type": "custom", "model": "in-house-7b", "input_usd_per_1m": 0.1, "output_usd_per_1m": 0.3}
	maps.Copy(price, change)
	return map[string]any{"prices": []any{price}}
}

// pricesContract is the contract of prices.
func pricesContract(shared func() *surface) {
	var s *surface
	var name, admin string

	BeforeEach(func() {
		s = shared()
		name = "t-" + uuid.NewString()[:8]
		admin = s.token(name, "ada", "admin")
	})

	It("shows the list, overrides prices of the tenant's, and shows them at once", func() {
		viewer := s.token(name, "vic", "viewer")
		listed := s.get(pricingPath+"?provider_type=openai&model=gpt-4o", viewer).list()
		Expect(listed).To(Equal([]map[string]any{{
			"provider_type": "openai", "model": "gpt-4o", "input_usd_per_1m": 2.5, "output_usd_per_1m": 10.0, "cached_input_usd_per_1m": 1.25,
			"cache_write_usd_per_1m": 2.5, "long_context": []any{}, "source": "list", "effective_from": nil, "is_current": true,
		}}))
		Expect(s.get(pricingPath+"?model=in-house-7b", viewer).list()).To(BeEmpty(), "an unknown model has no price")

		r := s.ask(http.MethodPut, pricingPath, admin, priced(nil))
		Expect(r.status).To(Equal(http.StatusOK), r.body)
		shown := s.get(pricingPath+"?model=in-house-7b", viewer).list()
		Expect(shown).To(HaveLen(1))
		Expect(shown[0]).To(And(
			HaveKeyWithValue("input_usd_per_1m", 0.1), HaveKeyWithValue("output_usd_per_1m", 0.3), HaveKeyWithValue("cached_input_usd_per_1m", 0.1),
			HaveKeyWithValue("source", "override"), HaveKeyWithValue("is_current", true), HaveKeyWithValue("effective_from", beTime())))
		Expect(r.data()["prices"]).To(Equal([]any{shown[0]}))

		later := time.Now().AddDate(0, 0, 7).UTC().Truncate(time.Second).Format(time.RFC3339)
		r = s.ask(http.MethodPut, pricingPath, admin, priced(map[string]any{"input_usd_per_1m": 0.000001, "effective_from": later, "cached_input_usd_per_1m": 0}))
		Expect(r.status).To(Equal(http.StatusOK), r.body)
		shown = s.get(pricingPath+"?model=in-house-7b", viewer).list()
		Expect(shown).To(HaveLen(2))
		Expect(shown[1]).To(And(HaveKeyWithValue("is_current", false), HaveKeyWithValue("effective_from", later), HaveKeyWithValue("input_usd_per_1m", 0.000001), HaveKeyWithValue("cached_input_usd_per_1m", 0.0)))
		Expect(s.get(pricingPath+"?model=in-house-7b", s.token("t-"+uuid.NewString()[:8], "eve", "admin")).list()).To(BeEmpty())
	})

	It("says what does not fit, by field, and overrides nothing then", func() {
		for field, values := range map[string][]any{
			"provider_type": {nil, "skynet", 1}, "model": {nil, "", " ", canary + "\n"}, "input_usd_per_1m": {nil, "1", -0.1, 0.0000001, 1e300, 10_001},
			"output_usd_per_1m": {-1, true}, "cached_input_usd_per_1m": {-1, "x", 1.00000001}, "cache_write_usd_per_1m": {10_001, []int{}},
			"effective_from": {"soon", 1, "1999-01-01T00:00:00Z", "2200-01-01T00:00:00Z"}, canary: {1},
		} {
			for _, value := range values {
				r := s.ask(http.MethodPut, pricingPath, admin, priced(map[string]any{field: value}))
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), field+r.body)
				Expect(r.body).NotTo(ContainSubstring(canary))
				if field != canary {
					_, details := r.failure()
					Expect(details).To(HaveKey("prices.0."+field), r.body)
				}
			}
		}
		for _, body := range []any{map[string]any{}, map[string]any{"prices": []any{}}, map[string]any{"prices": nil}, map[string]any{"prices": make([]int, 201)}} {
			r := s.ask(http.MethodPut, pricingPath, admin, body)
			Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
		}
		Expect(s.get(pricingPath+"?model=in-house-7b", admin).list()).To(BeEmpty())
	})

	It("gives the first answer again under the same Idempotency-Key, and appends nothing", func() {
		key := header{"Idempotency-Key": uuid.NewString()}
		first := s.ask(http.MethodPut, pricingPath, admin, priced(nil), key)
		again := s.ask(http.MethodPut, pricingPath, admin, priced(nil), key)
		Expect(again.body).To(Equal(first.body))
		Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"))
		Expect(s.get(pricingPath+"?model=in-house-7b", admin).list()).To(HaveLen(1))
	})

	It("pages through the list", func() {
		whole := s.get(pricingPath+"?limit=500", admin).list()
		Expect(len(whole)).To(BeNumerically(">", 80))
		Expect(s.pageThrough(pricingPath+"?limit=30", admin, func(int) {})).To(Equal(whole))
	})
}
