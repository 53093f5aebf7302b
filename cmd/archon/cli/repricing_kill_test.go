package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("Archon killed while it prices calls again", Label("e2e"), func() {
	const count, tenant = 6_000, "acme"

	It("books every difference once, however often it is killed", func() {
		place := install()
		running := place.start()
		s := surfaceOf(running)
		admin := s.token(tenant, "ada", "admin")
		asNode(place, func(ctx context.Context, handler *commands.Handler) error {
			for range count / 1000 {
				var events []eventstore.NewEvent
				for i := range 1000 {
					call := calls.Recorded{
						CallID: uuid.NewString(), StartedAt: time.Date(2026, 7, 1+i%31, 12, i%60, 0, 0, time.UTC), Outcome: calls.Succeeded, ProviderType: "custom", Model: "house",
						CostUSD: "0.0000010000", Tokens: domain.Tokens{Input: 1000},
					}
					event, err := handler.Codec.Encode(calls.Stream(call.CallID), call)
					if err != nil {
						return err //nolint:wrapcheck // a test
					}
					events = append(events, event)
				}
				if _, err := handler.Log.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte(`{}`)}); err != nil {
					return err //nolint:wrapcheck // a test
				}
			}
			return nil
		})
		r := s.ask(http.MethodPut, pricingPath, admin, priced(map[string]any{"model": "house", "input_usd_per_1m": 2, "effective_from": "2026-07-01T00:00:00Z"}))
		Expect(r.status).To(Equal(http.StatusOK), r.body)
		r = s.ask(http.MethodPost, repricePath, admin, object{"from": "2026-07-01", "to": "2026-07-31"})
		Expect(r.status).To(Equal(http.StatusAccepted), r.body)
		at := r.header.Get("Location")

		owner := ownerURL(place)
		differences := func() int {
			ctx, conn := connect(owner)
			defer func() { _ = conn.Close(ctx) }()
			return one[int](ctx, conn, `select count(*) from events where type = 'costs.call_repriced.v1'`)
		}
		kills := 0
		for enough := 1; enough < count; enough += count / 2 {
			Eventually(differences).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
			if running.kill(); differences() < count {
				kills++
			}
			running = place.start()
			s = surfaceOf(running)
		}
		Expect(kills).To(BeNumerically(">", 0), "the kills must have hit it")
		Eventually(func() any { return s.get(at, admin).data()["status"] }).WithTimeout(bound).Should(Equal("completed"))
		Expect(s.get(at, admin).data()).To(And(HaveKeyWithValue("examined", float64(count)), HaveKeyWithValue("repriced", float64(count)), HaveKeyWithValue("difference_usd", 11.994)))
		Expect(differences()).To(Equal(count))
		ctx, conn := s.asSuperuser()
		Expect(one[int](ctx, conn, `select count(distinct stream) from events where type = 'costs.call_repriced.v1'`)).To(Equal(count))
		AddReportEntry("kill -9 amid a repricing", fmt.Sprintf("%d kills, %d differences of %d calls", kills, differences(), count))
		place.expectVerified(tenant)
		Expect(s.ask(http.MethodGet, dashboardPath+"?period=2026-07", admin, nil, header{"X-Min-Position": fmt.Sprint(s.head(admin))}).data()).To(HaveKeyWithValue("total_spend", 12.0))
		stdout, stderr, code := s.run("costs", "check")
		Expect(code).To(Equal(good), stdout+stderr)
	})
})
