package readapi_test

import (
	"context"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("alerts", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	list := func(ctx context.Context, of string, params api.ListAlertsParams) (api.ListAlerts200JSONResponse, error) {
		response, err := f.alerts.ListAlerts(as(ctx, of), api.ListAlertsRequestObject{Params: params})
		page, _ := response.(api.ListAlerts200JSONResponse)
		return page, err //nolint:wrapcheck // a test
	}
	system := domain.Meta{Actor: domain.Actor{ID: "alerts", Type: domain.System}}
	raise := func(ctx context.Context, of, model string) string {
		GinkgoHelper()
		id, alert := uuid.Must(uuid.NewV7()).String(), alerts.Unpriced("openai", model)
		f.append(ctx, of, alerts.Stream(alert.Kind, alert.Subject), system, alerts.Raised{
			AlertID: id, Kind: alert.Kind, Subject: alert.Subject, Message: alert.Message, Details: alert.Details,
		})
		return id
	}
	resolve := func(ctx context.Context, id, model string) {
		GinkgoHelper()
		subject := alerts.ModelSubject("openai", model)
		f.append(ctx, tenant, alerts.Stream(alerts.UnpricedModel, subject), system, alerts.Resolved{
			AlertID: id, Kind: alerts.UnpricedModel, Subject: subject, Resolution: "It has a price now.",
		})
	}
	open, resolved := api.AlertStatusOpen, api.AlertStatusResolved

	It("are shown newest first, the open ones, the resolved ones, or all", func(ctx context.Context) {
		first, second := raise(ctx, tenant, "a"), raise(ctx, tenant, "b")
		resolve(ctx, first, "a")
		third := raise(ctx, tenant, "a")
		raise(ctx, other, "not ours")
		f.project(ctx, tenant)
		f.project(ctx, other)
		ids := func(status *api.AlertStatus) []string {
			GinkgoHelper()
			page, err := list(ctx, tenant, api.ListAlertsParams{Status: status})
			Expect(err).NotTo(HaveOccurred())
			found := []string{}
			for _, alert := range page.Data {
				found = append(found, alert.ID)
			}
			return found
		}
		Expect(ids(nil)).To(Equal([]string{third, second, first}))
		Expect(ids(&open)).To(Equal([]string{third, second}))
		Expect(ids(&resolved)).To(Equal([]string{first}))

		page, err := list(ctx, tenant, api.ListAlertsParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Data[2]).To(And(
			HaveField("Kind", api.AlertKindUnpricedModel), HaveField("Subject", "openai/a"), HaveField("Status", resolved), HaveField("Message", ContainSubstring("/api/v1/cost/pricing")),
			HaveField("ResolvedAt", Not(BeNil())), HaveField("Resolution", HaveValue(Equal("It has a price now.")))))
		Expect(page.Data[2].Details).To(MatchJSON(`{"provider_type":"openai","model":"a"}`))
		Expect(page.Data[0]).To(And(HaveField("Status", open), HaveField("ResolvedAt", BeNil()), HaveField("Resolution", BeNil())))

		subjects, err := f.alerts.OpenSubjects(ctx, tenant, alerts.UnpricedModel)
		Expect(err).NotTo(HaveOccurred())
		Expect(subjects).To(Equal([]string{"openai/a", "openai/b"}))
		none, err := f.alerts.OpenSubjects(ctx, tenant, "another")
		Expect(err).NotTo(HaveOccurred())
		Expect(none).To(BeEmpty())
	})

	It("come page by page, each once", func(ctx context.Context) {
		var want []string
		for _, model := range []string{"a", "b", "c", "d", "e"} {
			want = append([]string{raise(ctx, tenant, model)}, want...)
		}
		f.project(ctx, tenant)
		for limit := 1; limit <= 6; limit++ {
			var seen []string
			params := api.ListAlertsParams{Limit: &limit, Status: &open}
			for more := true; more; more = params.Cursor != nil {
				page, err := list(ctx, tenant, params)
				Expect(err).NotTo(HaveOccurred())
				Expect(len(page.Data)).To(BeNumerically("<=", limit))
				Expect(len(seen)).To(BeNumerically("<=", len(want)), "the list has no end")
				for _, alert := range page.Data {
					seen = append(seen, alert.ID)
				}
				params.Cursor = page.Meta.Pagination.NextCursor
			}
			Expect(seen).To(Equal(want), "limit %d", limit)
		}
		foreign, err := httpx.EncodeCursor("keys", map[string]int{"b": 1})
		Expect(err).NotTo(HaveOccurred())
		for _, cursor := range []string{foreign, "nonsense"} {
			_, err = list(ctx, tenant, api.ListAlertsParams{Cursor: &cursor})
			Expect(err).To(MatchError(ContainSubstring("cursor")))
		}
	})
})
