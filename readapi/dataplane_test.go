package readapi_test

import (
	"context"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/readapi"
)

var _ = Describe("what a key has spent", Label("postgres"), func() {
	It("is said with the position up to which it is known", func(ctx context.Context) {
		f := newFixture(ctx)
		plane := &readapi.DataPlane{Providers: f.providers, Prices: f.prices}
		key := uuid.NewString()
		spend := func(cost string) int64 {
			call := usage.Recorded{CallID: uuid.NewString(), KeyID: key, CostUSD: cost}
			return f.append(ctx, tenant, usage.Stream(call.CallID), did("POST", "/v1/chat/completions", 200), call).Last
		}
		known := func(of string) (domain.Amount, int64) {
			spent, position, err := plane.SpentBy(ctx, of, key)
			Expect(err).NotTo(HaveOccurred())
			return spent, position
		}
		spent, position := known(tenant)
		Expect(spent).To(BeZero())
		Expect(position).To(BeZero())
		spend("0.0000000012")
		last := spend("1.5000000000")
		f.project(ctx, tenant)
		spend("100.0000000000") // not projected yet
		spent, position = known(tenant)
		Expect(spent.String()).To(Equal("1.5000000012"))
		Expect(position).To(Equal(last))
		spent, position = known("other")
		Expect(spent).To(BeZero())
		Expect(position).To(BeZero())
	})
})
