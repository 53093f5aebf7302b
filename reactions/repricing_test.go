package reactions_test

import (
	"context"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("A repricing that was asked for", func() {
	It("becomes one job, which names it", func() {
		asked, done := ninth, ninth
		asked.Payload, done.Payload = costs.RepricingRequested{RepricingID: "r-1"}, costs.RepricingCompleted{RepricingID: "r-1"}
		ids := map[any]bool{}
		for range 2 {
			out := &projections.Statements{}
			Expect(reactions.Repricing{}.Project([]projections.Event{asked, done}, out)).To(Succeed())
			jobs := 0
			for _, args := range out.All() {
				jobs++
				ids[args[1]] = true
				Expect(args[0]).To(Equal("acme"))
				Expect(args[2]).To(Equal(reactions.RepriceTopic))
				encoded, _ := args[3].([]byte)
				var named string
				handler := reactions.RepriceCalls(func(_ context.Context, _ reactions.Job, id string) error {
					named = id
					return nil
				})
				Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(encoded)})).To(Succeed())
				Expect(named).To(Equal("r-1"))
				Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(`{`)})).NotTo(Succeed())
			}
			Expect(jobs).To(Equal(1))
		}
		Expect(ids).To(HaveLen(1), "asked for twice it is the same job")
		Expect(reactions.Repricing{}.Handles()).To(Equal([]string{"costs.repricing_requested.v1"}))
	})
})
