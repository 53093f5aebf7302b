package reactions_test

import (
	"context"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("Alerts about credentials that a provider refuses", func() {
	changed := func(from, to string) eventstore.Typed {
		return providers.BreakerChanged{ProviderID: "p-1", From: from, To: to}
	}

	DescribeTable("are looked at", func(payload eventstore.Typed, jobs int) {
		happened := ninth
		happened.Payload = payload
		out := &projections.Statements{}
		Expect(reactions.CredentialAlerts{}.Project([]projections.Event{happened}, out)).To(Succeed())
		asked := 0
		for _, args := range out.All() {
			Expect(args[0]).To(Equal("acme"))
			Expect(args[2]).To(Equal(reactions.DeadCredentialsTopic))
			encoded, _ := args[3].([]byte)
			Expect(reactions.DeadCredentials(func(_ context.Context, _ reactions.Job, position int64, providerID string) error {
				Expect(position).To(BeEquivalentTo(9))
				Expect(providerID).To(Equal("p-1"))
				asked++
				return nil
			})(context.Background(), reactions.Job{Payload: json.RawMessage(encoded)})).To(Succeed())
		}
		Expect(asked).To(Equal(jobs))
	},
		Entry("when they begin to be refused", changed("closed", "dead"), 1),
		Entry("when they are taken again", changed("dead", "closed"), 1),
		Entry("when the provider is deleted", providers.Deleted{ProviderID: "p-1"}, 1),
		Entry("and not when it fails otherwise", changed("closed", "open"), 0),
	)
})
