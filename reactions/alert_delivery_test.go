package reactions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/webhook"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("Deliveries of alerts", func() {
	errAway := errors.New("the receiver is away")

	It("are asked for once by each alert that is raised or resolved", func() {
		ids := map[any]bool{}
		for _, payload := range []eventstore.Typed{alerts.Raised{Kind: alerts.UnpricedModel}, alerts.Resolved{Kind: alerts.UnpricedModel}} {
			happened := ninth
			happened.Payload, happened.Stream = payload, "alert-1"
			if _, resolved := payload.(alerts.Resolved); resolved {
				happened.Position = 10
			}
			out := &projections.Statements{}
			Expect(reactions.AlertDelivery{}.Project([]projections.Event{happened}, out)).To(Succeed())
			for _, args := range out.All() {
				Expect(args[2]).To(Equal(reactions.DeliverAlertTopic))
				encoded, _ := args[3].([]byte)
				Expect(encoded).To(MatchJSON(fmt.Sprintf(`{"stream": "alert-1", "position": %d}`, happened.Position)))
				ids[args[1]] = true
			}
		}
		Expect(ids).To(HaveLen(2))
		Expect(reactions.AlertDelivery{}.Handles()).To(ConsistOf("alert.raised.v1", "alert.resolved.v1"))
	})

	It("are tried again after pauses that grow, and fail in the end, or at once where the receiver wants no more", func() {
		job := reactions.Job{Tenant: "acme", ID: uuid.New(), Payload: json.RawMessage(`{"stream": "alert-1", "position": 9}`)}
		failing := reactions.DeliverAlerts(func(_ context.Context, tenant, stream string, position int64, id string) error {
			Expect([]any{tenant, stream, position, id}).To(Equal([]any{"acme", "alert-1", int64(9), job.ID.String()}))
			return errAway
		})
		var before, all time.Duration
		for job.Attempt = 1; ; job.Attempt++ {
			Expect(job.Attempt).To(BeNumerically("<=", 12))
			err := failing(context.Background(), job)
			Expect(err).To(MatchError(errAway))
			if final, is := errors.AsType[*reactions.Final](err); is {
				Expect(final.Error()).To(Equal(errAway.Error()))
				break
			}
			later, is := errors.AsType[*reactions.Later](err)
			Expect(is).To(BeTrue())
			Expect(later.After).To(BeNumerically(">", before))
			before, all = later.After, all+later.After
		}
		Expect(job.Attempt).To(Equal(12))
		Expect(all.Round(time.Hour)).To(Equal(42 * time.Hour))

		job.Attempt = 1
		gone := reactions.DeliverAlerts(func(context.Context, string, string, int64, string) error { return webhook.ErrGone })
		Expect(gone(context.Background(), job)).To(BeAssignableToTypeOf(&reactions.Final{}))
		taken := reactions.DeliverAlerts(func(context.Context, string, string, int64, string) error { return nil })
		Expect(taken(context.Background(), job)).To(Succeed())
		job.Payload = json.RawMessage(`[`)
		Expect(taken(context.Background(), job)).To(BeAssignableToTypeOf(&reactions.Final{}))
	})
})
