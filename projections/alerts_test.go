package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the alerts projection", Label("postgres"), func() {
	It("builds a row each time that an alert was raised, wherever batches end", func(ctx context.Context) {
		b := newBench(ctx)
		random := rand.New(rand.NewPCG(7, 8))
		var log []projections.Event
		versions, ids, open := map[string]int64{}, map[string]string{}, map[string]string{}
		raised := 0
		for i := range 80 {
			alert := alerts.Unpriced("openai", fmt.Sprintf("m'%d", random.IntN(5)))
			stream := alerts.Stream(alert.Kind, alert.Subject)
			var payload eventstore.Typed
			if id, isOpen := open[stream]; isOpen {
				payload = alerts.Resolved{AlertID: id, Kind: alert.Kind, Subject: alert.Subject, Resolution: "priced"}
				delete(open, stream)
			} else {
				raised++
				open[stream] = uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)).String()
				ids[open[stream]] = alert.Subject
				details := alert.Details
				if i%2 == 0 {
					details = nil
				}
				payload = alerts.Raised{AlertID: open[stream], Kind: alert.Kind, Subject: alert.Subject, Message: alert.Message, Details: details}
			}
			versions[stream]++
			log = append(log, recordedAt(int64(i+1), versions[stream], stream, payload))
		}
		whole := b.rowsOf(ctx, projections.Alerts{}, "alerts", log, len(log))
		Expect(whole).To(HaveLen(raised))
		for _, size := range []int{1, 7} {
			Expect(b.rowsOf(ctx, projections.Alerts{}, "alerts", log, size)).To(Equal(whole))
		}
		type row struct {
			ID, Subject string
			IsOpen      bool
		}
		for _, found := range collect[row](ctx, b, `select id::text, subject, resolved_at is null from alerts where tenant_id = 'first-1'`) {
			Expect(found).To(Equal(row{found.ID, ids[found.ID], open[alerts.Stream(alerts.UnpricedModel, found.Subject)] == found.ID}))
		}
	})

	It("takes an id that is no UUID for the event's fault", func() {
		for _, payload := range []eventstore.Typed{alerts.Raised{AlertID: "x"}, alerts.Resolved{AlertID: "x"}} {
			event := recordedAt(9, 1, "alert-x", payload)
			Expect(projections.Alerts{}.Project([]projections.Event{event}, &projections.Statements{})).To(MatchError(ContainSubstring("project position 9: alert id")))
		}
	})
})
